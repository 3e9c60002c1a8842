"""Operations of the training graph: reproducible dropout, losses, fast 1x1 gradients."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.ops import nn_grad

from squeezenet_model import SqueezeNetModel

PHILOX = 1  # TensorFlow's number for the counter-based generator (tf.random.Algorithm)
WORDS_PER_COUNT = 4  # Philox 4x32 gives four 32-bit words for each value of its counter
# The mask that a random byte gives for eight values: a bit doubles a value (1) or zeroes it (0).
# Looking it up is one operation; unpacking the bits would take four.
DROPOUT_MASKS = 2 * np.unpackbits(
    np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"
).astype(np.float32)


def with_method(model: SqueezeNetModel, name: str, method: Callable) -> SqueezeNetModel:
    """A copy of the model with a function in the place of one of its methods."""
    changed = copy.copy(model)
    vars(changed)[name] = method  # its own attribute goes before the method of its class
    return changed


def reproducible_dropout(
    inputs: tf.Tensor, is_training: bool, *, seed: int, step: tf.Tensor, first_image: int
) -> tf.Tensor:
    """`custom_dropout` in training; the mask is a function of (seed, step, place in the batch).

    `tf.layers.dropout` draws from a stream that starts over in each session, so a resumed run would
    differ from one that was never stopped. Here one random bit decides each value. The generator is
    counter-based, so each tower starts at the bits of its own first image, and the masks do not
    depend on the number of towers.

    Args:
      inputs: float32 or bfloat16 [batch, ...], with a static shape; the result has the same.
      step: int64 scalar, the number of the batch.
      first_image: index of inputs[0] in the whole batch.
    """
    with tf.name_scope("dropout"):
        batch, *shape = inputs.shape.as_list()
        counts = -(-np.prod(shape) // (32 * WORDS_PER_COUNT))  # per image, rounded up
        words = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[batch, counts * WORDS_PER_COUNT],
            key=tf.constant([seed], tf.uint64),
            counter=tf.stack(
                [tf.constant(first_image * counts, tf.uint64), tf.cast(step, tf.uint64)]
            ),
            alg=PHILOX,
            dtype=tf.int32,
        )
        table = tf.constant(DROPOUT_MASKS, inputs.dtype)
        masks = tf.gather(table, tf.cast(tf.bitcast(words, tf.uint8), tf.int32))
        mask = tf.reshape(masks, [batch, -1])[:, : np.prod(shape)]
        return inputs * tf.reshape(mask, inputs.shape)


def training_loss(
    loss: tf.Tensor,
    logits: tf.Tensor,
    labels: tf.Tensor,
    smoothing: float = 0.0,
    class_weights: np.ndarray | None = None,
) -> tf.Tensor:
    """What the gradients are of: the mean cross-entropy (loss, as it is if there is nothing to
    change), with label smoothing, and each image's part multiplied by the weight of its class.

    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (arXiv
    1512.00567, section 7): a fraction of each label (smoothing) is spread evenly over all classes.
    The weights (`data.class_weights`, float32 [classes]) are 1 on average over all images. A batch
    is not brought to that average, so the mean over the towers is that of one tower with all of it.
    """
    if class_weights is not None:
        return tf.losses.softmax_cross_entropy(
            tf.one_hot(labels, len(class_weights)),
            logits,
            weights=tf.gather(class_weights, labels),
            label_smoothing=smoothing,
            reduction=tf.losses.Reduction.SUM_OVER_BATCH_SIZE,
        )
    if smoothing == 0:
        return loss
    with tf.name_scope("label_smoothing"):
        return (1 - smoothing) * loss - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits))


POINTWISE = "PointwiseConv2D"


def pointwise_as_matrix_products() -> AbstractContextManager:
    """In this context, tf.gradients computes the gradients of 1x1 convolutions as matrix products.

    To a 1x1 convolution, a batch is one matrix, pixels x channels, and its gradients are products
    of such matrices. oneDNN's convolution kernel for the filters' gradient runs at a quarter of the
    speed of its matrix product. The forward convolutions do not change.
    """
    return tf.get_default_graph().gradient_override_map({"Conv2D": POINTWISE})


@tf.RegisterGradient(POINTWISE)
def conv2d_gradient(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of a Conv2D operation's inputs, float32 [batch, height, width, channels], and
    of its kernel; those of TensorFlow unless it is 1x1 with stride 1."""
    inputs, kernel = op.inputs
    height, width, channels, filters = kernel.shape.as_list()
    if (height, width) != (1, 1) or set(op.get_attr("strides")) != {1}:
        return nn_grad._Conv2DGrad(op, grad)
    grad_rows = tf.reshape(grad, [-1, filters])
    inputs_grad = tf.matmul(grad_rows, tf.reshape(kernel, [channels, filters]), transpose_b=True)
    kernel_grad = tf.matmul(tf.reshape(inputs, [-1, channels]), grad_rows, transpose_a=True)
    return tf.reshape(inputs_grad, tf.shape(inputs)), tf.reshape(kernel_grad, kernel.shape)


def standardized(crops: tf.Tensor, model: SqueezeNetModel) -> tf.Tensor:
    """The rest of `image_preprocessing` after the crop, for a whole batch at once: float32
    [batch, 3 * resize_dim * resize_dim], 0..255 -> [batch, resize_dim, resize_dim, 3].

    It uses the model's own evaluation branch, in which an image of the crop's size stays uncropped.
    """
    cropped_model = copy.copy(model)
    cropped_model.original_dim = model.resize_dim
    return preprocessed(crops, cropped_model)


def preprocessed(records: tf.Tensor, model: SqueezeNetModel) -> tf.Tensor:
    """`image_preprocessing` for evaluation, for a whole batch at once: float32
    [batch, 3 * original_dim * original_dim], 0..255 -> [batch, resize_dim, resize_dim, 3]."""
    return tf.vectorized_map(
        lambda record: model.image_preprocessing(record, is_training=False), records
    )
