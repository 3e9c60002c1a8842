"""bfloat16 for the layers, float32 for everything that is kept.

bfloat16 has float32's range, so no loss scaling is needed, and 8 bits of precision instead of 24.
Processors that can multiply it do so at twice float32's rate. Variables, their updates, the loss,
checkpoints and exports stay float32. P. Micikevicius et al., "Mixed Precision Training" (arXiv
1710.03740), and D. Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training" (1905.12322).
"""

import tensorflow.compat.v1 as tf

from squeezenet_model import SqueezeNetModel
from training.ops import with_method


def with_precision(model: SqueezeNetModel, precision: str) -> SqueezeNetModel:
    """The model, or a copy whose layers compute in that precision: inputs and logits stay float32,
    and so do the variables, of which the layers get a copy that is cast."""
    if precision == "float32":
        return model

    def model_layers(inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        with tf.variable_scope(tf.get_variable_scope(), custom_getter=cast_variable):
            logits = model.model_layers(tf.cast(inputs, tf.bfloat16), is_training)
        return tf.cast(logits, tf.float32)

    return with_method(model, "model_layers", model_layers)


def cast_variable(getter, name, *args, dtype=tf.float32, **kwargs):
    """A custom getter (tf.variable_scope): a float32 variable, cast to the type that is asked for.

    All towers get the same cast, which is computed once per step.
    """
    variable = getter(name, *args, dtype=tf.float32, **kwargs)
    casts = tf.get_collection_ref("casts")
    found = [cast for cast in casts if cast.op.inputs[0].op.inputs[0] is variable.handle]
    if not found:
        with tf.control_dependencies(None), tf.colocate_with(variable.handle):
            found = [tf.cast(variable, dtype)]
        casts += found
    return found[0]
