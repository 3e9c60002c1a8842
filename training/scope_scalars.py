"""Three measures of what a training step does to each kernel, computed only at summary steps."""

import tensorflow.compat.v1 as tf

SUMMARY_STEPS = 20  # steps between them; TensorBoard draws at most 1,000 points per curve
# norm: of the kernel after the step. update_ratio: norm of the step's change, divided by the norm
# before it; the rule of thumb is 1e-3. gradient_norm: of the gradient passed to the optimizer.
MEASURES = ("norm", "update_ratio", "gradient_norm")


def kernel_scopes() -> list[str]:
    """The scopes of the kernels in the default graph, in the order of the net."""
    return [
        variable.op.name.removesuffix("/kernel")
        for variable in tf.trainable_variables()
        if is_kernel(variable)
    ]


def scope_scalars(
    gradients: list[tf.Tensor], train_op: tf.Operation, is_due: tf.Tensor
) -> tf.Tensor:
    """The MEASURES of each kernel in one step: float32 [kernels, len(MEASURES)], in the order of
    `kernel_scopes`; no rows unless is_due.

    Args:
      gradients: one for each trainable variable of the default graph, which train_op updates.
      is_due: bool scalar that does not depend on anything the step changes.
    """
    # The kernels before the step are those that the convolutions (of the first tower, whose reads
    # overwrite the others' below) have read anyway: the gradients need them. So the step's own
    # operations, and its results bit for bit, stay the same.
    operations = reversed(tf.get_default_graph().get_operations())
    kernels = [operation.inputs[1] for operation in operations if operation.type == "Conv2D"]
    reads = [kernel.op.inputs[0] if kernel.op.type == "Cast" else kernel for kernel in kernels]
    # A read's own input is the variable's handle.
    before = {read.op.inputs[0].op.name: read for read in reads}

    def measured() -> tf.Tensor:
        rows = []
        for gradient, variable in zip(gradients, tf.trainable_variables(), strict=True):
            if is_kernel(variable):
                old, new = before[variable.op.name], variable.read_value()
                ratio = tf.math.divide_no_nan(tf.norm(new - old), tf.norm(old))
                rows.append([tf.norm(new), ratio, tf.norm(gradient)])
        return tf.stack(rows)

    with tf.name_scope("scope_scalars"), tf.control_dependencies([train_op]):
        return tf.cond(is_due, measured, lambda: tf.zeros([0, len(MEASURES)]))


def is_kernel(variable: tf.Variable) -> bool:
    """Whether a variable holds the filters of a convolution."""
    return variable.shape.rank == 4
