"""How the weights begin, and how they move."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from training import RunError
from training.recipe import RECIPES, Recipe
from training.saved_run import Run

LAST_LAYER = "final_conv"  # the only one whose filters stand for the classes


def model_scope(recipe: Recipe) -> tf.variable_scope:
    """The variable scope around the net: adds nothing to its names, and says how it begins.

    The initializer is the one that tf.layers would take by itself, but drawn as
    `tf.set_random_seed` says: tf.layers' own asks Python's random numbers as well. A variable's
    constraint is applied by every tf.train.Optimizer after each of its steps, so the net that is
    saved is the chapter's, whatever its training asks of the weights.
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


def warm_start(run: Run, class_names: Sequence[str], recipe: Recipe) -> list[str]:
    """Initializes the trainable variables from a run's checkpoint, as far as their shapes fit.

    The last layer is left out if its classes are others: what it knows would be wrong here, not
    only useless.

    Args:
      run: what `load_run` found.
      class_names: of the net in the default graph.
      recipe: by which it is to be trained.

    Returns:
      Names of the variables that begin at random all the same.

    Raises:
      RunError: none of them fits, or the recipe would change them all at its first step.
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
    """Whether variables, by name, are those of the last layer and no others."""
    return sorted(names) == [f"{LAST_LAYER}/bias", f"{LAST_LAYER}/kernel"]


def initialize_with(values: dict[str, np.ndarray]) -> None:
    """Makes variables of the default graph, by name, start with these values."""
    for variable in tf.trainable_variables():
        if variable.op.name in values:  # as tf.train.init_from_checkpoint does it
            variable._initializer_op = variable.assign(values[variable.op.name]).op
