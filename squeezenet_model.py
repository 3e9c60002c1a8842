"""SqueezeNet from the course chapter "Fire Module", on today's TensorFlow.

The class has section D's two methods with the bodies printed there. Importing this module sets an
environment variable by which TensorFlow 2.16 and later take `tf.layers` from the package tf-keras.
"""

import contextlib
import importlib.util
import os
from collections.abc import Sequence

if importlib.util.find_spec("tf_keras"):  # TensorFlow up to 2.15 has tf.layers without it
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow.compat.v1 as tf

try:
    tf.layers.conv2d  # noqa: B018  (TensorFlow loads Keras here, or fails)
except (AttributeError, ImportError) as error:
    raise ImportError(
        "SqueezeNetModel needs tf.layers: run `pip install tf-keras` (the same minor version as "
        "tensorflow), and import squeezenet_model before anything that uses tf.keras or tf.layers."
    ) from error


@contextlib.contextmanager
def hints():
    """Says what to type if there is no graph, or if the graph already has these variables."""
    stores = tf.get_collection(("__variable_store",))  # tf.make_template has one that works eagerly
    if tf.executing_eagerly() and not any(store._store_eager_variables for store in stores):
        raise RuntimeError(
            "SqueezeNetModel needs a graph: put this code inside `with tf.Graph().as_default():`."
        )
    try:
        yield
    except ValueError as error:
        if "already exists, disallowed" not in str(error):
            raise
        raise ValueError(
            f"{str(error).split(',')[0]} in this graph: to build a new net, type "
            "`tf.reset_default_graph()` or `with tf.Graph().as_default():` above it; to share "
            "weights, `with tf.variable_scope(tf.get_variable_scope(), reuse=True):`."
        ) from None


class SqueezeNetModel:
    """SqueezeNet (arXiv 1602.07360) for small images: 146,570 parameters for 10 classes.

    In training, train.py replaces three parts of it. The random numbers of random_crop_and_flip and
    custom_dropout start over in each session, so an interrupted run could not resume exactly;
    training/batches.py and training/ops.py do the same with numbers that depend on the seed and
    the step. In place of train_op, training/optimizers.py trains faster and better.
    """

    # (squeeze_depth, expand_depth, name) before and after pool2; a subclass may list others.
    FIRE_PARAMS_1 = ((32, 64, "fire1"), (32, 64, "fire2"))
    FIRE_PARAMS_2 = ((32, 128, "fire3"), (32, 128, "fire4"))

    def __init__(self, original_dim: int, resize_dim: int, output_size: int):
        """Takes the side of a stored image in pixels (32 for CIFAR-10), the side of the square
        crop that the net sees (24), and the number of classes (10). Builds no graph."""
        self.original_dim = original_dim
        self.resize_dim = resize_dim
        self.output_size = output_size
        self.global_step = None  # unless you set one, run_model_setup uses the graph's

    def random_crop_and_flip(self, float_image: tf.Tensor) -> tf.Tensor:
        """Crops a random square of side resize_dim, and mirrors half of the crops."""
        cropped_image = tf.random_crop(float_image, [self.resize_dim, self.resize_dim, 3])
        return tf.image.random_flip_left_right(cropped_image)

    def image_preprocessing(self, data: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Crops one image, at random if is_training, else at the center, and standardizes it.
        Numbers 0..255, [3 * original_dim * original_dim], channel-major (all red values row by
        row, then green, then blue) -> float32 [resize_dim, resize_dim, 3], mean 0, variance 1."""
        image, dim = tf.cast(data, tf.float32), self.original_dim
        shape, size = image.shape, 3 * dim**2
        channels_last = bool(shape.rank) and shape[-1] == 3 and dim > 3
        if channels_last or shape.num_elements() not in (None, size):
            raise ValueError(
                f"image_preprocessing needs one image of shape [{size}], not {shape}: "
                "convert an array [height, width, 3] with image.transpose(2, 0, 1).ravel()."
            )
        image = tf.transpose(tf.reshape(image, [3, dim, dim]), [1, 2, 0])
        if is_training:
            image = self.random_crop_and_flip(image)
        else:
            image = tf.image.resize_image_with_crop_or_pad(image, self.resize_dim, self.resize_dim)
        return self.standardize(image)

    def standardize(self, image: tf.Tensor) -> tf.Tensor:
        """Scales the pixels of one image, 0..255, to what the net expects: mean 0, variance 1."""
        return tf.image.per_image_standardization(image)

    # Convolution layer wrapper
    @hints()
    def custom_conv2d(self, inputs, filters, kernel_size, name):
        """Convolution and ReLU, which keep height and width (section D):
        float32 [batch, height, width, channels] -> [batch, height, width, filters]."""
        return tf.layers.conv2d(
            inputs=inputs,
            filters=filters,
            kernel_size=kernel_size,
            activation=tf.nn.relu,
            padding="same",
            name=name,
        )

    # SqueezeNet fire module
    def fire_module(self, inputs, squeeze_depth, expand_depth, name):
        """Squeezes the channels, then expands them along two paths (section D; paper, section 3.1):
        float32 [batch, height, width, channels] -> [batch, height, width, 2 * expand_depth]."""
        with tf.variable_scope(name):
            squeezed_inputs = self.custom_conv2d(inputs, squeeze_depth, [1, 1], "squeeze")
            expand1x1 = self.custom_conv2d(squeezed_inputs, expand_depth, [1, 1], "expand1x1")
            expand3x3 = self.custom_conv2d(squeezed_inputs, expand_depth, [3, 3], "expand3x3")
            return tf.concat([expand1x1, expand3x3], axis=-1)

    def custom_max_pooling2d(self, inputs: tf.Tensor, name: str) -> tf.Tensor:
        """Takes the maximum of each 2x2 block, which halves height and width."""
        return tf.layers.max_pooling2d(inputs=inputs, pool_size=[2, 2], strides=2, name=name)

    def multi_fire_module(self, layer: tf.Tensor, params_list: Sequence) -> tf.Tensor:
        """Stacks one fire module for each (squeeze_depth, expand_depth, name) in params_list."""
        for squeeze_depth, expand_depth, name in params_list:
            layer = self.fire_module(layer, squeeze_depth, expand_depth, name)
        return layer

    def custom_dropout(self, inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Zeroes each value with probability 0.5 and doubles the others, if is_training."""
        return tf.layers.dropout(inputs, rate=0.5, training=is_training, name="dropout")

    def model_layers(self, inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Builds the net (paper, section 3.3), with dropout if is_training: standardized images,
        float32 [batch, resize_dim, resize_dim, 3] -> logits, float32 [batch, output_size].
        No logit is negative: final_conv ends in a ReLU, like the paper's conv10."""
        conv1 = self.custom_conv2d(inputs, 64, [3, 3], "conv1")
        pool1 = self.custom_max_pooling2d(conv1, "pool1")
        fire_stack1 = self.multi_fire_module(pool1, self.FIRE_PARAMS_1)
        pool2 = self.custom_max_pooling2d(fire_stack1, "pool2")
        fire_stack2 = self.multi_fire_module(pool2, self.FIRE_PARAMS_2)
        dropout = self.custom_dropout(fire_stack2, is_training)
        final_conv = self.custom_conv2d(dropout, self.output_size, [1, 1], "final_conv")
        return self.get_logits(final_conv)

    def get_logits(self, conv_layer: tf.Tensor) -> tf.Tensor:
        """Averages each channel over height and width: float32 [batch, output_size]."""
        height, width = conv_layer.shape[1:3]
        pool = tf.layers.average_pooling2d(conv_layer, [height, width], 1, name="average_pool")
        return tf.layers.flatten(pool, name="logits")

    def loss_and_accuracy(self, logits: tf.Tensor, labels: tf.Tensor) -> tuple:
        """Returns two float32 scalars: mean cross-entropy in nats, and the
        fraction of correct answers."""
        with tf.name_scope("loss"):
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
        with tf.name_scope("accuracy"):
            is_correct = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
            return loss, tf.reduce_mean(tf.cast(is_correct, tf.float32))

    def run_model_setup(self, inputs: tf.Tensor, labels: tf.Tensor, is_training: bool) -> None:
        """Builds the net for standardized images and labels (int32 or int64 [batch]). Sets probs
        (float32 [batch, output_size]), predictions (int64 [batch]), loss and accuracy; if
        is_training, also gradients ((gradient, variable) pairs), train_op, which applies them
        (Adam with its defaults), and global_step, unless you have set it."""
        logits = self.model_layers(inputs, is_training)
        self.probs = tf.nn.softmax(logits, name="probs")
        self.predictions = tf.argmax(self.probs, axis=-1, name="predictions")
        self.loss, self.accuracy = self.loss_and_accuracy(logits, labels)
        if is_training:
            if getattr(self.global_step, "graph", None) is not tf.get_default_graph():
                self.global_step = tf.train.get_or_create_global_step()
            optimizer = tf.train.AdamOptimizer()
            self.gradients = optimizer.compute_gradients(self.loss)
            self.train_op = optimizer.apply_gradients(self.gradients, self.global_step)
