"""The operations of the training graph: gradients of 1x1 convolutions, label smoothing."""

import contextlib

import numpy as np
import pytest

from squeezenet_model import SqueezeNetModel, tf
from training.ops import pointwise_as_matrix_products, smoothed_loss, weighted_loss


def gradients(conv, *, faster: bool) -> list[np.ndarray]:
    """Of inputs, kernel and bias, for a random loss; conv is a layer as a function of inputs."""
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.set_random_seed(0)
        inputs = tf.constant(rng.standard_normal([3, 6, 5, 8]), tf.float32)
        if faster:
            with pointwise_as_matrix_products():
                outputs = conv(inputs)
        else:
            outputs = conv(inputs)
        weights = tf.constant(rng.standard_normal(outputs.shape), tf.float32)
        found = tf.gradients(outputs * weights, [inputs, *tf.trainable_variables()])
        names = {op.type for op in graph.get_operations()}
        session.run(tf.global_variables_initializer())
        return session.run(found), names


def layer(kernel_size, **others):
    def conv(inputs):
        kernel = tf.glorot_uniform_initializer(seed=1)
        return tf.layers.conv2d(
            inputs, 4, kernel_size, padding="same", kernel_initializer=kernel, name="c", **others
        )

    return conv


@pytest.mark.parametrize(
    ("kernel_size", "others"),
    [
        ([1, 1], {}),
        ([1, 1], {"activation": tf.nn.relu}),
        ([1, 1], {"strides": 2}),
        ([3, 3], {}),
        ([1, 3], {}),
    ],
)
def test_is_that_of_tensorflow(kernel_size, others):
    conv = layer(kernel_size, **others)
    (ours, _), (theirs, _) = (gradients(conv, faster=faster) for faster in (True, False))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_uses_matrix_products_only_for_1x1():
    _, pointwise = gradients(layer([1, 1]), faster=True)
    assert "MatMul" in pointwise
    assert "Conv2DBackpropFilter" not in pointwise
    for kernel_size, others in (([3, 3], {}), ([1, 1], {"strides": 2})):
        _, names = gradients(layer(kernel_size, **others), faster=True)
        assert "Conv2DBackpropFilter" in names
        assert "MatMul" not in names


def test_does_not_change_the_forward_pass():
    def nodes(context):
        with tf.Graph().as_default() as graph, context():
            SqueezeNetModel(8, 8, 3).model_layers(tf.zeros([1, 8, 8, 3]), is_training=False)
            return [
                (op.name, op.type, [i.name for i in op.inputs]) for op in graph.get_operations()
            ]

    assert nodes(pointwise_as_matrix_products) == nodes(contextlib.nullcontext)


class TestLabelSmoothing:
    def test_spreads_a_share_of_each_label_over_all_classes(self):
        rng = np.random.default_rng(0)
        logits = rng.standard_normal([6, 4]).astype(np.float32)
        labels = np.arange(6) % 4
        with tf.Graph().as_default(), tf.Session() as session:
            one_hot = tf.one_hot(labels, 4)
            loss = tf.losses.softmax_cross_entropy(one_hot, logits)
            expected = tf.losses.softmax_cross_entropy(one_hot, logits, label_smoothing=0.1)
            ours = smoothed_loss(loss, tf.constant(logits), 0.1)
            ours, expected = session.run([ours, expected])
        np.testing.assert_allclose(ours, expected, rtol=1e-5)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_weights_count_an_image_as_if_it_were_there_so_many_times(self, smoothing):
        rng = np.random.default_rng(0)
        logits, labels = rng.standard_normal([4, 3]).astype(np.float32), [0, 1, 1, 2]
        repeats = [3, 1, 1, 0]
        with tf.Graph().as_default(), tf.Session() as session:
            weights = np.float32([3, 1, 0])
            weighted = weighted_loss(tf.constant(logits), tf.constant(labels), weights, smoothing)
            expected = tf.losses.softmax_cross_entropy(
                tf.one_hot(np.repeat(labels, repeats), 3),
                np.repeat(logits, repeats, axis=0),
                label_smoothing=smoothing,
            )
            weighted, expected = session.run([weighted, expected])
        np.testing.assert_allclose(4 * weighted, 5 * expected, rtol=1e-5)

    def test_of_nothing_adds_nothing_to_the_graph(self):
        loss = object()
        assert smoothed_loss(loss, None, 0.0) is loss
