"""How the weights begin, and how fast they move."""

from __future__ import annotations

import math

import tensorflow.compat.v1 as tf

from training import recipe


def model_scope() -> tf.variable_scope:
    """The variable scope around the net: adds nothing to its names, and says how it begins.

    Kernels are drawn by He's initializer, which keeps the variance of the values from ReLU layer
    to ReLU layer (K. He et al., "Delving Deep into Rectifiers", arXiv 1502.01852). Biases are
    zero as the chapter has them, but for final_conv's: see `recipe.FINAL_BIAS`.
    `tf.set_random_seed` fixes what is drawn.
    """

    def get_variable(getter, name, *args, **kwargs):
        if name == "final_conv/bias":
            kwargs["initializer"] = tf.constant_initializer(recipe.FINAL_BIAS)
        return getter(name, *args, **kwargs)

    return tf.variable_scope(
        "",
        initializer=tf.initializers.variance_scaling(
            2.0, mode="fan_in", distribution="truncated_normal"
        ),
        custom_getter=get_variable,
        reuse=tf.AUTO_REUSE,
    )


def learning_rate(
    global_step: tf.Tensor, peak: float, warm_up_steps: int, total_steps: int
) -> tf.Tensor:
    """Rises linearly to the peak over the warm-up, then falls along half a cosine to zero.

    I. Loshchilov and F. Hutter, "SGDR" (arXiv 1608.03983), without its restarts.

    Args:
      global_step: int64 scalar, number of steps taken so far.
      peak: highest learning rate.
      warm_up_steps: steps until the peak is reached, less than total_steps.
      total_steps: steps of the whole run; the rate is zero after them.

    Returns:
      float32 scalar, 0..peak.
    """
    step = tf.cast(global_step, tf.float32)
    warm_up = (step + 1) / (warm_up_steps + 1)
    progress = (step - warm_up_steps) / (total_steps - warm_up_steps)
    cosine = (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0))) / 2
    return tf.multiply(peak, tf.minimum(warm_up, cosine), name="learning_rate")
