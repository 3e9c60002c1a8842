"""How weights are initialized, warm-started and constrained."""

import math

import tensorflow.compat.v1 as tf

from base import UserError, printable
from training.frozen import FrozenFeatures
from training.last_layer import fit_last_layer
from training.plan import Plan
from training.recipe import CHAPTER, RECIPES, Recipe

LAST_LAYER = ["final_conv/kernel", "final_conv/bias"]  # alone, it has one filter per class


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
    weights themselves, float32 [height, width, channels, filters], stay standardized.
    """
    centered = kernel - tf.reduce_mean(kernel, [0, 1, 2], keepdims=True)
    return math.sqrt(2) * tf.math.l2_normalize(centered, [0, 1, 2])


def initialize(plan: Plan, frozen: FrozenFeatures | None = None) -> None:
    """Sets the initial values of the default graph's variables, if the run starts from another's.

    Variables whose shapes fit are taken over. The last layer is left out if its classes differ: its
    weights would be wrong, not just useless. Fine-tuning fits a new one to the other layers.
    Raises UserError if the first step of the recipe would rescale the weights.
    """
    run, recipe = plan.init_from, plan.schedule.recipe
    if run is None:
        return
    trained_with = RECIPES.get(run.settings.get("recipe", ""), CHAPTER)
    if recipe.standardized and not trained_with.standardized:
        others = [name for name, other in RECIPES.items() if not other.standardized]
        raise UserError(
            f"--init_from {run.path}: --recipe {recipe.name} would rescale its filters, which "
            f"undoes what they have learned; give --recipe {' or '.join(others)}."
        )
    same_classes = run.settings["class_names"] == list(plan.dataset.class_names)
    shapes = dict(tf.train.list_variables(run.checkpoint))
    variables = {variable.op.name: variable for variable in tf.trainable_variables()}
    left_out = [
        name
        for name, variable in variables.items()
        if shapes.get(name) != variable.shape.as_list() or (name in LAST_LAYER and not same_classes)
    ]
    tf.train.init_from_checkpoint(
        run.checkpoint, {name: variables[name] for name in variables if name not in left_out}
    )
    source = run.settings.get("source", run.checkpoint)  # of imported weights
    exceptions = f", except for {', '.join(left_out)}" if left_out else ""
    print(printable(f"initial weights from {source}{exceptions}"), flush=True)
    if recipe.frozen and left_out == LAST_LAYER:
        for name, value in fit_last_layer(plan, run.checkpoint, frozen).items():
            # The way tf.train.init_from_checkpoint does it.
            variables[name]._initializer_op = variables[name].assign(value).op
