"""How weights are initialized, warm-started and constrained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from training import RunError
from training.recipe import RECIPES, Recipe
from training.saved_run import Run

LAST_LAYER = "final_conv"  # the only layer with one filter per class


def model_scope(recipe: Recipe) -> tf.variable_scope:
    """The variable scope around the net: sets initializer and constraints, adds nothing to names.

    The initializer is tf.layers' default, but seeded by `tf.set_random_seed` alone; the default
    also draws from Python's random numbers. Every tf.train.Optimizer applies the variables'
    constraints after each step, so the saved net is the chapter's, whatever the recipe requires of
    the weights.
    """

    def get_variable(getter, name, *args, **kwargs):
        if recipe.standardized and name.endswith("/kernel"):
            # Not the scope's own `constraint`, which inner scopes do not inherit.
            kwargs["constraint"] = lambda kernel: standardized_filters(kernel.read_value())
        return getter(name, *args, **kwargs)

    return tf.variable_scope(
        "",
        initializer=tf.glorot_uniform_initializer(),
        custom_getter=get_variable,
        reuse=tf.AUTO_REUSE,
    )


def standardized_filters(kernel: tf.Tensor) -> tf.Tensor:
    """Sets each filter of a kernel to mean 0 and norm sqrt(2), which preserves the variance.

    S. Qiao et al., "Weight Standardization" (arXiv 1903.10520), with the gain for ReLU of A. Brock
    et al. (arXiv 2101.08692). They standardize a copy of the weights in each forward pass; here the
    weights themselves stay standardized.

    Args:
      kernel: float32 [height, width, channels, filters].
    """
    centered = kernel - tf.reduce_mean(kernel, [0, 1, 2], keepdims=True)
    return math.sqrt(2) * tf.math.l2_normalize(centered, [0, 1, 2])


def warm_start(run: Run, class_names: Sequence[str], recipe: Recipe) -> list[str]:
    """Initializes the trainable variables whose shapes fit from a run's checkpoint.

    The last layer is left out if its classes differ: its weights would be wrong, not just useless.

    Args:
      run: what `load_run` returned.
      class_names: of the net in the default graph.
      recipe: the one that will train it.

    Returns:
      Names of the variables that keep their random initialization.

    Raises:
      RunError: none of them fits, or the first step of the recipe would rescale them all.
    """
    trained_with = RECIPES.get(run.settings.get("recipe"))
    if recipe.standardized and not (trained_with and trained_with.standardized):
        others = [name for name, other in RECIPES.items() if not other.standardized]
        raise RunError(
            f"--init_from {run.path}: --recipe {recipe.name} would rescale its filters, which "
            f"undoes what they have learned; give --recipe {' or '.join(others)}."
        )
    same_classes = run.settings["class_names"] == list(class_names)
    shapes = dict(tf.train.list_variables(run.checkpoint))
    variables = {variable.op.name: variable for variable in tf.trainable_variables()}
    fitting = {
        name: variable
        for name, variable in variables.items()
        if shapes.get(name) == variable.shape.as_list()
        and (same_classes or not name.startswith(f"{LAST_LAYER}/"))
    }
    if not fitting:
        raise RunError(
            f"--init_from {run.path}: none of its variables fits this net; leave the flag out."
        )
    tf.train.init_from_checkpoint(run.checkpoint, fitting)
    return [name for name in variables if name not in fitting]


def is_last_layer(names: Sequence[str]) -> bool:
    """Whether these are the names of exactly the last layer's variables."""
    return sorted(names) == [f"{LAST_LAYER}/bias", f"{LAST_LAYER}/kernel"]


def initialize_with(values: dict[str, np.ndarray]) -> None:
    """Sets the initial values of variables of the default graph, by name."""
    for variable in tf.trainable_variables():
        if variable.op.name in values:  # the way tf.train.init_from_checkpoint does
            variable._initializer_op = variable.assign(values[variable.op.name]).op
