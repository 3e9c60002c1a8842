"""A faster gradient for the net's 1x1 convolutions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import nn_grad

POINTWISE = "PointwiseConv2D"


@contextlib.contextmanager
def pointwise_as_matrix_products() -> Iterator[None]:
    """Inside of it, 1x1 convolutions are built that tf.gradients differentiates by products.

    To a 1x1 convolution a batch is one matrix, pixels x channels, and its gradients are products
    of such matrices. oneDNN's own kernel for the filters' gradient reaches a quarter of the speed
    at which it multiplies matrices. The convolutions themselves stay what they are.
    """
    with tf.get_default_graph().gradient_override_map({"Conv2D": POINTWISE}):
        yield


@tf.RegisterGradient(POINTWISE)
def conv2d_gradient(op: tf.Operation, grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of a Conv2D operation: TensorFlow's own, unless it is 1x1 with stride 1.

    Args:
      op: takes inputs, float32 [batch, height, width, channels], and a kernel.
      grad: of its output, float32 [batch, height, width, filters].

    Returns:
      The gradients of the inputs and of the kernel.
    """
    inputs, kernel = op.inputs
    height, width, channels, filters = kernel.shape.as_list()
    if (height, width) != (1, 1) or set(op.get_attr("strides")) != {1}:
        return nn_grad._Conv2DGrad(op, grad)
    grad_rows = tf.reshape(grad, [-1, filters])
    kernel_matrix = tf.reshape(kernel, [channels, filters])
    inputs_grad = tf.matmul(grad_rows, kernel_matrix, transpose_b=True)
    kernel_grad = tf.matmul(tf.reshape(inputs, [-1, channels]), grad_rows, transpose_a=True)
    return (
        tf.reshape(inputs_grad, tf.shape(inputs)),
        tf.reshape(kernel_grad, kernel.shape),
    )
