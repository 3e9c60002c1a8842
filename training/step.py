"""One training step: towers, their mean gradient, one step of the optimizers.

Each tower is the whole net on its part of the batch. On a CPU the towers run in parallel, each on
one core, and small towers keep their values in the core's cache. By default, each GPU gets one.
Up to rounding, a single tower with the whole batch would compute the same. TF1's CIFAR-10 tutorial
for several GPUs builds its graph in the same way (tensorflow/models, tutorials/image/cifar10).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from training.frozen import starting_after
from training.initial_weights import model_scope
from training.input_pipeline import Batch
from training.ops import (
    pointwise_as_matrix_products,
    reproducible_dropout,
    standardized,
    training_loss,
    with_method,
)
from training.optimizers import apply_gradients, initial_copies, interpolate, learning_rate
from training.plan import Plan
from training.precision import with_precision
from training.recipe import WHOLE_BATCH, BatchPart
from training.scope_scalars import SUMMARY_STEPS, scope_scalars


class TrainingStep(NamedTuple):
    """The tensors of one training step; session.run returns their values under the same names."""

    step: tf.Tensor  # int64, number of steps taken, including this one; fetching it takes the step
    loss: tf.Tensor  # float32, mean cross-entropy of the batch in nats, before the step
    accuracy: tf.Tensor  # float32, fraction of correct predictions, 0..1, with dropout on
    learning_rate: tf.Tensor  # float32, the rate of this step
    gradient_norm: tf.Tensor  # float32, the global norm of this step's gradients
    # float32 [kernels, 3], what `scope_scalars` returns; [0, 3] except at summary steps: every
    # SUMMARY_STEPS-th and the last.
    scope_scalars: tf.Tensor


class BatchResult(NamedTuple):
    """The gradients, loss and accuracy of a batch, or of a task's part of it."""

    gradients: list[tf.Tensor]  # one float32 tensor for each trainable variable
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
      plan: the net, whose variables are named after its own scopes, and how to train it.
      batch: this task's part of the batch, of a static size that the number of towers divides.
      part: which part of the batch that is.
      all_reduce: averages over the tasks of a cluster; None for a single process.
    """
    schedule, global_step = plan.schedule, tf.train.get_or_create_global_step()
    interpolation = schedule.recipe.interpolation
    rate = learning_rate(global_step, schedule)
    mean = build_towers(plan, batch, part.of(schedule.batch_size).start)
    if all_reduce is not None:
        mean = all_reduce(mean)
    variables, next_step = tf.trainable_variables(), batch.step + 1
    is_first, is_last = tf.equal(next_step, 1), next_step >= schedule.total_steps
    start = end = tf.no_op()
    if interpolation:
        copies, start = initial_copies(variables, is_first)
    with tf.control_dependencies([start]):
        train_op = apply_gradients(mean.gradients, variables, rate, schedule)
    is_due = tf.equal(next_step % SUMMARY_STEPS, 0) | is_last
    scalars = scope_scalars(mean.gradients, train_op, is_due)
    with tf.control_dependencies([train_op, scalars]):
        if interpolation:
            end = interpolate(variables, copies, interpolation, is_last)
    with tf.control_dependencies([train_op, scalars, end]):
        step = global_step.assign_add(1)
    return TrainingStep(
        step,
        mean.loss,
        mean.accuracy,
        rate,
        tf.linalg.global_norm(mean.gradients),
        scalars,
    )


def build_towers(plan: Plan, batch: Batch, first_image: int) -> BatchResult:
    """Builds the towers, one for each part of the batch, and the means over them.

    The gradients of frozen layers are zero, so Adam does not change them. The loss and accuracy
    that are reported ignore class weights and label smoothing.

    Args:
      first_image: index of the batch's first image in the batch of all tasks.
    """
    schedule, recipe = plan.schedule, plan.schedule.recipe
    num_towers, layer = schedule.num_towers, batch.layer
    towers = []
    inputs = zip(tf.split(batch.crops, num_towers), tf.split(batch.labels, num_towers), strict=True)
    for index, (crops, labels) in enumerate(inputs):
        dropout = partial(
            reproducible_dropout,
            seed=schedule.seed,
            step=batch.step,
            first_image=first_image + index * crops.shape[0],
        )
        model = starting_after(plan.model, layer, crops) if layer else plan.model
        net = with_precision(with_method(model, "custom_dropout", dropout), schedule.precision)
        with (
            tf.name_scope(f"tower_{index}"),
            tower_device(index, schedule.num_gpus),
            model_scope(recipe),
            pointwise_as_matrix_products(),
        ):
            shape = [crops.shape[0], model.resize_dim, model.resize_dim, 3]
            # Behind a frozen layer, whatever depends on the images is never computed.
            images = tf.zeros(shape) if layer else standardized(crops, model)
            logits = net.model_layers(images, is_training=True)
            loss, accuracy = net.loss_and_accuracy(logits, labels)
            objective = training_loss(
                loss, logits, labels, recipe.label_smoothing, plan.class_weights
            )
            variables = tf.trainable_variables()
            num_frozen = round(recipe.frozen * len(variables))
            zeros = [tf.zeros(variable.shape) for variable in variables[:num_frozen]]
            gradients = tf.gradients(objective, variables[num_frozen:])
            towers.append(BatchResult(zeros + gradients, loss, accuracy))
    with tf.name_scope("average_gradients"):
        all_gradients, losses, accuracies = zip(*towers, strict=True)
        means = [tf.add_n(parts) / num_towers for parts in zip(*all_gradients, strict=True)]
    return BatchResult(means, tf.add_n(losses) / num_towers, tf.add_n(accuracies) / num_towers)


def tower_device(index: int, num_gpus: int) -> AbstractContextManager:
    """Places a tower, by its index: its variables on the CPU, everything else on one of the GPUs.
    With 0 GPUs, TensorFlow places it."""
    gpu = f"/gpu:{index % max(1, num_gpus)}"
    setter = tf.train.replica_device_setter(ps_tasks=1, ps_device="/cpu:0", worker_device=gpu)
    return tf.device(setter) if num_gpus else nullcontext()
