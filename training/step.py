"""One training step: towers, their mean gradient, one step of the optimizers.

Each tower is the whole net on its part of the batch. On a CPU the towers run in parallel, each on
one core, and small towers keep their values in the core's cache. On GPUs, each gets one tower. The
result is that of a single tower with the whole batch. TF1's CIFAR-10 tutorial for several GPUs
builds its graph in the same way (tensorflow/models, tutorials/image/cifar10).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import tensorflow.compat.v1 as tf

import data
from base.runtime import tower_device
from training.initial_weights import model_scope
from training.input_pipeline import Batch, standardized
from training.ops import (
    pointwise_as_matrix_products,
    reproducible_dropout,
    smoothed_loss,
    weighted_loss,
    with_dropout,
)
from training.optimizers import apply_gradients, learning_rate
from training.plan import Plan
from training.recipe import WHOLE_BATCH, BatchPart
from training.scope_scalars import SUMMARY_STEPS, scope_scalars


class TrainingStep(NamedTuple):
    """The tensors of one training step; session.run returns their values under the same names.

    Attributes:
      step: int64 scalar, number of steps taken, including this one; fetching it takes the step.
      loss: float32 scalar, mean cross-entropy of the batch in nats, before the step.
      accuracy: float32 scalar 0..1, fraction of correct predictions in the batch, with dropout on.
      learning_rate: float32 scalar, the rate of this step.
      gradient_norm: float32 scalar, the global norm of this step's gradients.
      scope_scalars: float32 [kernels, 3], what `scope_scalars` returns; no rows except at summary
        steps: every SUMMARY_STEPS-th and the last.
    """

    step: tf.Tensor
    loss: tf.Tensor
    accuracy: tf.Tensor
    learning_rate: tf.Tensor
    gradient_norm: tf.Tensor
    scope_scalars: tf.Tensor


class BatchResult(NamedTuple):
    """The gradients, loss and accuracy of a batch, or of a task's part of it.

    Attributes:
      gradients: one float32 tensor for each trainable variable.
      loss, accuracy: as in TrainingStep.
    """

    gradients: list[tf.Tensor]
    loss: tf.Tensor
    accuracy: tf.Tensor


def build_training_step(
    plan: Plan,
    batch: Batch,
    part: BatchPart = WHOLE_BATCH,
    all_reduce: Callable[[BatchResult], BatchResult] | None = None,
) -> TrainingStep:
    """Builds the graph of one step: batch -> towers -> mean gradient -> optimizers.

    Args:
      plan: the net to train, whose variables are named after its own scopes, and how.
      batch: this task's part of the batch, of a static size that the number of towers divides.
      part: which part of the batch that is.
      all_reduce: averages over the tasks of a cluster; None for a single process.
    """
    schedule = plan.schedule
    global_step = tf.train.get_or_create_global_step()
    rate = learning_rate(global_step, schedule)
    mean = build_towers(plan, batch, part.of(schedule.batch_size).start)
    if all_reduce is not None:
        mean = all_reduce(mean)
    train_op = apply_gradients(
        mean.gradients, tf.trainable_variables(), rate, schedule.recipe, global_step
    )
    with tf.control_dependencies([train_op]):
        step = global_step.read_value()
    next_step = batch.step + 1
    is_due = tf.equal(next_step % SUMMARY_STEPS, 0) | (next_step >= schedule.total_steps)
    return TrainingStep(
        step,
        mean.loss,
        mean.accuracy,
        rate,
        tf.linalg.global_norm(mean.gradients),
        scope_scalars(mean.gradients, train_op, is_due),
    )


def build_towers(plan: Plan, batch: Batch, first_image: int) -> BatchResult:
    """Builds the towers, one for each part of the batch, and the means over them.

    The gradients of frozen layers are zero, so Adam does not change them. Class weights weight the
    gradients, but neither the loss nor the accuracy that is reported.

    Args:
      first_image: index of the batch's first image in the batch of all tasks.
    """
    model, schedule = plan.model, plan.schedule
    num_towers, recipe = schedule.num_towers, schedule.recipe
    class_weights = data.class_weights(plan.dataset) if schedule.class_weights else None
    towers = []
    inputs = zip(tf.split(batch.crops, num_towers), tf.split(batch.labels, num_towers), strict=True)
    for index, (crops, labels) in enumerate(inputs):
        dropout = partial(
            reproducible_dropout,
            seed=schedule.seed,
            step=batch.step,
            first_image=first_image + index * crops.shape[0],
        )
        tower = with_dropout(model, dropout)
        with (
            tf.name_scope(f"tower_{index}"),
            tower_device(index, schedule.num_gpus),
            model_scope(recipe),
            pointwise_as_matrix_products(),
        ):
            logits = tower.model_layers(standardized(crops, model), is_training=True)
            loss, accuracy = tower.loss_and_accuracy(logits, labels)
            if class_weights is None:
                objective = smoothed_loss(loss, logits, recipe.label_smoothing)
            else:
                objective = weighted_loss(logits, labels, class_weights, recipe.label_smoothing)
            variables = tf.trainable_variables()
            num_frozen = round(recipe.frozen * len(variables))
            gradients = [tf.zeros(variable.shape) for variable in variables[:num_frozen]]
            gradients += tf.gradients(objective, variables[num_frozen:])
            towers.append(BatchResult(gradients, loss, accuracy))
    with tf.name_scope("average_gradients"):
        all_gradients, losses, accuracies = zip(*towers, strict=True)
        means = [tf.add_n(parts) / num_towers for parts in zip(*all_gradients, strict=True)]
    return BatchResult(means, tf.add_n(losses) / num_towers, tf.add_n(accuracies) / num_towers)
