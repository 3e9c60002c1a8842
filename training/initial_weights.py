"""How the weights begin, and how they move."""

from __future__ import annotations

import math

import tensorflow.compat.v1 as tf

from training.recipe import Recipe


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
