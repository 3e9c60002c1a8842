"""The optimizers: Muon (momentum with an orthogonalized update) for TF1, Adam, learning rate."""

import math
from collections.abc import Callable

import tensorflow.compat.v1 as tf

from training.recipe import Schedule
from training.scope_scalars import is_kernel

MOMENTUM = 0.9  # better for short runs than Jordan's own 0.95 (docs/experiments.md)
# Coefficients of an odd polynomial that, applied repeatedly, takes every singular value in (0, 1]
# to about 1; Jordan chose them for a steep slope at zero.
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class MuonOptimizer(tf.train.Optimizer):
    """Nesterov momentum with orthogonalized steps, for kernels.

    A few directions dominate a kernel's gradient, and hence the steps of momentum and Adam. Muon
    replaces each step by the nearest matrix with equal singular values, so that all directions are
    learned at once. K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks"
    (2024, kellerjordan.github.io/posts/muon). The learning rate, a float32 scalar, is roughly the
    norm of each filter's step. dtype is that of the matrix products, bfloat16 in Jordan's own code.
    """

    def __init__(self, learning_rate: tf.Tensor | float, dtype: tf.DType = tf.float32):
        super().__init__(use_locking=False, name="Muon")
        self._learning_rate, self._dtype = learning_rate, dtype

    def _create_slots(self, var_list):
        for variable in var_list:
            self._zeros_slot(variable, "momentum", self._name)

    def _resource_apply_dense(self, grad, var):
        momentum = self.get_slot(var, "momentum")
        total = momentum.assign(MOMENTUM * momentum + grad)
        ahead = MOMENTUM * total + grad  # its norm makes no difference
        *window, filters = var.shape.as_list()
        rows = math.prod(window)
        step = orthogonalized(tf.reshape(ahead, [rows, filters]), self._dtype)
        # A wide matrix has more filters than directions; a longer step moves each filter as far.
        length = self._learning_rate * math.sqrt(max(1.0, filters / rows))
        return var.assign_sub(length * tf.reshape(step, var.shape))


def orthogonalized(matrix: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Approximates the nearest matrix with orthonormal rows or columns, whichever are fewer:
    float32 [rows, columns] -> the same, with singular values between about 0.7 and 1.2, or zero.
    The products are computed in dtype.

    A Newton-Schulz iteration: only matrix products, no decomposition. Each iteration multiplies x
    by the polynomial a + b gram + c gram^2 of gram = x x'. Here x is scaled by the fourth root of
    c, which turns this into (gram + shift)^2 + rest: two thirds of the operations. They are so
    small that their number matters.
    """
    a, b, c = POLYNOMIAL
    rows, columns = matrix.shape.as_list()
    wide = rows <= columns  # then gram is x x', otherwise x' x, whichever is smaller
    identity = tf.eye(min(rows, columns), dtype=dtype)
    shift, rest = b / (2 * math.sqrt(c)) * identity, (a - b**2 / (4 * c)) * identity
    x = tf.cast(matrix * (c**0.25 / (tf.norm(matrix) + 1e-7)), dtype)
    for _ in range(ITERATIONS):
        shifted = tf.matmul(x, x, transpose_a=not wide, transpose_b=wide) + shift
        factor = tf.matmul(shifted, shifted) + rest
        x = tf.matmul(factor, x) if wide else tf.matmul(x, factor)
    return tf.cast(x, tf.float32) / c**0.25


def learning_rate(global_step: tf.Tensor, schedule: Schedule) -> tf.Tensor:
    """Rises linearly over the warm-up; then, if annealed, decays linearly to zero.

    A. Defazio et al., "Optimal Linear Decay Learning Rate Schedules and Further Refinements" (arXiv
    2310.07831), find this better than half a cosine. From the steps taken so far, an int64 scalar,
    to a float32 scalar.
    """
    step = tf.cast(global_step, tf.float32)
    fraction = tf.minimum(1.0, (step + 1) / (schedule.warm_up_steps + 1))
    if schedule.recipe.annealed:
        left = (schedule.total_steps - step) / (schedule.total_steps - schedule.warm_up_steps)
        fraction = tf.clip_by_value(left, 0.0, fraction)
    return tf.multiply(schedule.learning_rate, fraction, name="learning_rate")


def apply_gradients(
    gradients: list[tf.Tensor],
    variables: list[tf.Variable],
    rate: tf.Tensor,
    schedule: Schedule,
    global_step: tf.Tensor,
) -> tf.Operation:
    """One step of Muon on the kernels and Adam on the biases, or Adam on all; counts the step. The
    last one may also interpolate: see `interpolated`."""
    pairs = list(zip(gradients, variables, strict=True))
    kernels = [pair for pair in pairs if is_kernel(pair[1])]
    biases = [pair for pair in pairs if not is_kernel(pair[1])]
    muon = MuonOptimizer(rate, tf.as_dtype(schedule.precision))
    kernel_optimizer = muon if schedule.recipe.muon else tf.train.AdamOptimizer(rate)

    def take_step() -> list[tf.Operation]:
        return [
            kernel_optimizer.apply_gradients(kernels),
            tf.train.AdamOptimizer(schedule.recipe.bias_rate * rate).apply_gradients(biases),
        ]

    if schedule.interpolation:
        steps = interpolated(take_step, variables, schedule, global_step.read_value())
    else:
        steps = take_step()
    with tf.control_dependencies(steps):
        return global_step.assign_add(1, read_value=False)


def interpolated(
    take_step: Callable[[], list[tf.Operation]],
    variables: list[tf.Variable],
    schedule: Schedule,
    steps_taken: tf.Tensor,
) -> list[tf.Operation]:
    """A step that keeps a copy of the variables before the first one, and after the last one
    replaces each by a mean of what it was then and what it is now.

    M. Wortsman et al., "Robust fine-tuning of zero-shot models" (arXiv 2109.01903). The copies are
    variables, too (start/fire6/squeeze/kernel), so that checkpoints have them.
    """
    copies = [
        tf.get_variable(f"start/{each.op.name}", each.shape, initializer=tf.zeros, trainable=False)
        for each in variables
    ]
    pairs, part = list(zip(copies, variables, strict=True)), schedule.interpolation
    is_first, is_last = steps_taken < 1, steps_taken + 1 >= schedule.total_steps

    def copy_all() -> tf.Operation:
        return tf.group(*[start.assign(variable.read_value()) for start, variable in pairs])

    def mix_all() -> tf.Operation:
        return tf.group(*[each.assign(part * start + (1 - part) * each) for start, each in pairs])

    with tf.control_dependencies([tf.cond(is_first, copy_all, tf.no_op)]):
        steps = take_step()
    with tf.control_dependencies(steps):
        return [tf.cond(is_last, mix_all, tf.no_op)]
