"""How the weights begin, and how they move."""

from __future__ import annotations

import math

import tensorflow.compat.v1 as tf

from training.muon import MuonOptimizer
from training.recipe import Recipe, Schedule


def model_scope(recipe: Recipe, caching_device: str | None = None) -> tf.variable_scope:
    """The variable scope around the net: adds nothing to its names, and says how it begins.

    The initializer is the one that tf.layers would take by itself, but drawn as
    `tf.set_random_seed` says: tf.layers' own asks Python's random numbers as well. A variable's
    constraint is applied by every tf.train.Optimizer after each of its steps, so the net that is
    saved is the chapter's, whatever its training asks of the weights.

    Args:
      recipe: says how the net begins, and what its filters have to keep to.
      caching_device: where a step keeps a copy of the variables, if they are on another machine:
        so they are fetched once, not by each tower.
    """

    def get_variable(getter, name, *args, **kwargs):
        if recipe.standardized and name.endswith("/kernel"):
            # Not the scope's own `constraint`: the scopes inside would not inherit that.
            kwargs["constraint"] = lambda kernel: standardized_filters(kernel.read_value())
        return getter(name, *args, **kwargs)

    return tf.variable_scope(
        "",
        initializer=tf.glorot_uniform_initializer(),
        custom_getter=get_variable,
        caching_device=caching_device,
        reuse=tf.AUTO_REUSE,
    )


def standardized_filters(kernel: tf.Tensor) -> tf.Tensor:
    """Moves each filter of a kernel to mean 0, and to the length at which values keep their size.

    S. Qiao et al., "Weight Standardization" (arXiv 1903.10520), with the gain for ReLU of A. Brock
    et al. (arXiv 2101.08692). They compute the standardized weights from others in each forward
    pass; here the weights themselves stay standardized.

    Args:
      kernel: float32 [height, width, channels, filters].
    """
    centered = kernel - tf.reduce_mean(kernel, [0, 1, 2], keepdims=True)
    return math.sqrt(2) * tf.math.l2_normalize(centered, [0, 1, 2])


def learning_rate(global_step: tf.Tensor, schedule: Schedule) -> tf.Tensor:
    """Rises linearly over the warm-up; if annealed, then falls along half a cosine to zero.

    I. Loshchilov and F. Hutter, "SGDR" (arXiv 1608.03983), without its restarts.

    Args:
      global_step: int64 scalar, number of steps taken so far.
      schedule: its learning_rate is the highest.

    Returns:
      float32 scalar.
    """
    step = tf.cast(global_step, tf.float32)
    share = tf.minimum(1.0, (step + 1) / (schedule.warm_up_steps + 1))
    if schedule.recipe.annealed:
        rest = schedule.total_steps - schedule.warm_up_steps
        progress = tf.clip_by_value((step - schedule.warm_up_steps) / rest, 0.0, 1.0)
        share = tf.minimum(share, (1 + tf.cos(math.pi * progress)) / 2)
    return tf.multiply(schedule.learning_rate, share, name="learning_rate")


def apply_gradients(
    gradients: list[tf.Tensor],
    variables: list[tf.Variable],
    rate: tf.Tensor,
    recipe: Recipe,
    global_step: tf.Tensor,
) -> tf.Operation:
    """One step: Muon on the kernels and Adam on the biases, or Adam on all; counts the step."""
    kernels, biases = [], []
    for pair in zip(gradients, variables, strict=True):
        (kernels if pair[1].shape.rank == 4 else biases).append(pair)
    kernel_optimizer = MuonOptimizer(rate) if recipe.muon else tf.train.AdamOptimizer(rate)
    bias_optimizer = tf.train.AdamOptimizer(recipe.bias_rate * rate)
    steps = [kernel_optimizer.apply_gradients(kernels), bias_optimizer.apply_gradients(biases)]
    with tf.control_dependencies(steps):
        return global_step.assign_add(1, read_value=False)
