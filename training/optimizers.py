"""The optimizers: Muon (momentum with an orthogonalized update) for TF1, Adam, learning rate."""

import math

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
        ahead = MOMENTUM * total + grad  # Nesterov; its norm makes no difference
        *window, filters = var.shape.as_list()
        rows = math.prod(window)
        step = orthogonalized(tf.reshape(ahead, [rows, filters]), self._dtype)
        # A wide matrix has more filters than directions; a longer step moves each filter as far.
        length = self._learning_rate * math.sqrt(max(1.0, filters / rows))
        return var.assign_sub(length * tf.reshape(step, var.shape))


def orthogonalized(matrix: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Approximates the nearest matrix with orthonormal rows or columns, whichever are fewer:
    float32 [rows, columns] -> the same, with singular values mostly between 0.7 and 1.2.
    The products are computed in dtype.

    A Newton-Schulz iteration: only matrix products, no decomposition. Each iteration multiplies x
    by the polynomial a + b gram + c gram^2 of gram = x x'. Here x is scaled by the fourth root of
    c, which turns this into (gram + shift)^2 + rest: two thirds of the operations, and
    for small matrices their number counts.
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
) -> tf.Operation:
    """One step of Muon on the kernels and Adam on the biases, or Adam on all."""
    pairs = list(zip(gradients, variables, strict=True))
    kernels = [pair for pair in pairs if is_kernel(pair[1])]
    biases = [pair for pair in pairs if not is_kernel(pair[1])]
    muon = MuonOptimizer(rate, tf.as_dtype(schedule.precision))
    kernel_optimizer = muon if schedule.recipe.muon else tf.train.AdamOptimizer(rate)
    return tf.group(
        kernel_optimizer.apply_gradients(kernels),
        tf.train.AdamOptimizer(schedule.recipe.bias_rate * rate).apply_gradients(biases),
    )


def initial_copies(
    variables: list[tf.Variable], is_first: tf.Tensor
) -> tuple[list[tf.Variable], tf.Operation]:
    """Copies of the variables, and an operation to run before each step: at the first it fills
    them. They are variables, too, so that checkpoints have them (start/fire6/squeeze/kernel)."""
    copies = [
        tf.get_variable(f"start/{each.op.name}", each.shape, initializer=tf.zeros, trainable=False)
        for each in variables
    ]
    pairs = list(zip(copies, variables, strict=True))
    return copies, tf.cond(
        is_first,
        lambda: tf.group(*[copy.assign(variable.read_value()) for copy, variable in pairs]),
        tf.no_op,
    )


def interpolate(
    variables: list[tf.Variable], copies: list[tf.Variable], part: float, is_last: tf.Tensor
) -> tf.Operation:
    """After the last step, replaces each variable by part * its initial copy + (1 - part) * itself.
    M. Wortsman et al., "Robust fine-tuning of zero-shot models" (arXiv 2109.01903)."""
    pairs = list(zip(copies, variables, strict=True))
    return tf.cond(
        is_last,
        lambda: tf.group(*[each.assign(part * copy + (1 - part) * each) for copy, each in pairs]),
        tf.no_op,
    )
