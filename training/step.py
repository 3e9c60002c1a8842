"""One training step as TF1's multi-tower graph: shared variables, averaged gradients.

Each tower is the whole net on its part of the batch. On a CPU the towers run side by side, one
core each, and small ones keep their values in the core's cache; GPUs get one each. The mathematics
is that of one tower with the whole batch. The pattern is the one of TensorFlow's own CIFAR-10
tutorial for several GPUs (tutorials/image/cifar10).
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from squeezenet_model import SqueezeNetModel
from training import initial_weights, optimizers
from training.input_pipeline import standardized
from training.ops import pointwise_as_matrix_products
from training.recipe import Schedule
from training.runtime import tower_device

if TYPE_CHECKING:
    from training.replicas import Replica

PHILOX = 1  # TensorFlow's number for the counter-based generator (tf.random.Algorithm)
WORDS_PER_COUNT = 4  # Philox 4x32 gives four 32-bit words for each value of its counter
# What a random byte makes of eight values: each bit doubles one (1) or zeroes it (0). Looked up,
# as that is one operation, where taking the bits apart are four.
DROPOUT_MASKS = 2 * np.unpackbits(
    np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"
).astype(np.float32)


class TrainingStep(NamedTuple):
    """Tensors of one training step.

    Attributes:
      step: int64 scalar, number of steps taken after this one; fetching it takes the step.
      loss: float32 scalar, mean cross-entropy of the batch in nats, before the step.
      accuracy: float32 scalar 0..1, share of the batch predicted right, with dropout on.
      learning_rate: float32 scalar, the rate of this step.
      gradient_norm: float32 scalar, the norm of all gradients of this step together.
    """

    step: tf.Tensor
    loss: tf.Tensor
    accuracy: tf.Tensor
    learning_rate: tf.Tensor
    gradient_norm: tf.Tensor


def reproducible_dropout(
    inputs: tf.Tensor, is_training: bool, seed: int, step: tf.Tensor, first_image: int
) -> tf.Tensor:
    """Dropout of rate 0.5 whose mask is a function of (seed, step, place in the batch).

    It takes the place of the model's `custom_dropout` in training: `tf.layers.dropout` draws from
    a stream that begins anew in each session, so a resumed run would not repeat the run that was
    never stopped. One random bit decides over one value, and as the generator counts, a tower
    starts at the bits of its own first image: the masks do not depend on the number of towers.

    Args:
      inputs: float32 [batch, ...], with a static shape.
      is_training: False returns the inputs as they are.
      seed: 0 or more.
      step: int64 scalar, the number of the batch.
      first_image: place of inputs[0] in the whole batch.

    Returns:
      float32, the shape of the inputs: each value either doubled or zero.
    """
    if not is_training:
        return inputs
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
        random_bytes = tf.reshape(tf.bitcast(words, tf.uint8), [batch, -1])
        mask = tf.reshape(tf.gather(DROPOUT_MASKS, tf.cast(random_bytes, tf.int32)), [batch, -1])
        return inputs * tf.reshape(mask[:, : np.prod(shape)], inputs.shape)


def build_training_step(
    model: SqueezeNetModel,
    batch_step: tf.Tensor,
    crops: tf.Tensor,
    labels: tf.Tensor,
    schedule: Schedule,
    replica: Replica | None = None,
) -> TrainingStep:
    """Builds the towers, the average of their gradients, and one step of the recipe on it.

    Args:
      model: the net to train; its variables get their names from its own scopes.
      batch_step: int64 scalar, the number of the batch, from 0 on.
      crops: float32 [batch, 3 * resize_dim * resize_dim], 0..255, channel-major, with a static
        batch.
      labels: int32 [batch].
      schedule: its num_towers divides batch.
      replica: this process's part in a cluster; None for a process on its own.
    """
    global_step = tf.train.get_or_create_global_step()
    rate = optimizers.learning_rate(global_step, schedule)
    gradients, loss, accuracy = build_towers(model, batch_step, crops, labels, schedule, replica)
    if replica and not replica.asynchronous:
        with tf.control_dependencies(replica.push(gradients, [loss, accuracy], batch_step)):
            if not replica.is_chief:
                norm = tf.linalg.global_norm(gradients)
                return TrainingStep(replica.next_step(), loss, accuracy, rate, norm)
            gradients, (loss, accuracy) = replica.take_means()
    apply_gradients = optimizers.apply_gradients(
        gradients, tf.trainable_variables(), rate, schedule.recipe, global_step
    )
    with tf.control_dependencies([apply_gradients]):
        step = global_step.read_value()
    if replica:
        step = replica.tell_others(step)
    return TrainingStep(step, loss, accuracy, rate, tf.linalg.global_norm(gradients))


def build_towers(
    model: SqueezeNetModel,
    batch_step: tf.Tensor,
    crops: tf.Tensor,
    labels: tf.Tensor,
    schedule: Schedule,
    replica: Replica | None,
) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """The mean gradients of the trainable variables, and the mean loss and accuracy of a batch."""
    num_towers = schedule.num_towers
    tower_batch = crops.shape[0] // num_towers
    first_image = replica.share.part(schedule.batch_size).start if replica else 0
    losses, hits, gradients = [], [], []
    tower_inputs = zip(tf.split(crops, num_towers), tf.split(labels, num_towers), strict=True)
    for index, (tower_crops, tower_labels) in enumerate(tower_inputs):
        tower = copy.copy(model)
        tower.custom_dropout = functools.partial(
            reproducible_dropout,
            seed=schedule.seed,
            step=batch_step,
            first_image=first_image + index * tower_batch,
        )
        with (
            tf.name_scope(f"tower_{index}"),
            tower_device(index, schedule.num_gpus),
            initial_weights.model_scope(schedule.recipe, replica and replica.device),
            pointwise_as_matrix_products(),
        ):
            logits = tower.model_layers(standardized(tower_crops, model), is_training=True)
            loss, accuracy = loss_and_accuracy(logits, tower_labels)
            losses.append(loss)
            hits.append(accuracy)
            gradients.append(tf.gradients(loss, tf.trainable_variables()))
    with tf.name_scope("average_gradients"):
        averages = [tf.add_n(parts) / num_towers for parts in zip(*gradients, strict=True)]
    return averages, tf.add_n(losses) / num_towers, tf.add_n(hits) / num_towers


def loss_and_accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean cross-entropy in nats, and share predicted right (0..1), of logits [batch, classes]."""
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    right = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels)
    return loss, tf.reduce_mean(tf.cast(right, tf.float32))
