"""The operations of the training graph: gradients of 1x1 convolutions, losses, dropout."""

import contextlib

import numpy as np
import pytest

from squeezenet_model import tf
from training.ops import (
    pointwise_as_matrix_products,
    reproducible_dropout,
    training_loss,
)


def gradients(context, kernel_size, **options):
    """Of inputs, kernel and bias of a convolution for a random loss; then the nodes of its forward
    pass, and the types of all operations."""
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        inputs = tf.constant(rng.standard_normal([3, 6, 5, 8]), tf.float32)
        with context():
            outputs = tf.layers.conv2d(
                *(inputs, 4, kernel_size),
                padding="same",
                kernel_initializer=tf.glorot_uniform_initializer(seed=1),
                **options,
            )
        nodes = [(op.name, op.type, [i.name for i in op.inputs]) for op in graph.get_operations()]
        weights = tf.constant(rng.standard_normal(outputs.shape), tf.float32)
        session.run(tf.global_variables_initializer())
        return (
            session.run(tf.gradients(outputs * weights, [inputs, *tf.trainable_variables()])),
            nodes,
            {op.type for op in graph.get_operations()},
        )


@pytest.mark.parametrize(
    ("kernel_size", "options", "is_pointwise"),
    [
        ([1, 1], {}, True),
        ([1, 1], {"activation": tf.nn.relu}, True),
        ([1, 1], {"strides": 2}, False),
        ([3, 3], {}, False),
        ([1, 3], {}, False),
    ],
)
def test_gradients_of_1x1_convolutions_are_tensorflows_by_matrix_products(
    kernel_size, options, is_pointwise
):
    ours, nodes, types = gradients(pointwise_as_matrix_products, kernel_size, **options)
    theirs, same_nodes, _ = gradients(contextlib.nullcontext, kernel_size, **options)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
    assert nodes == same_nodes
    assert ("MatMul" in types, "Conv2DBackpropFilter" in types) == (is_pointwise, not is_pointwise)


LOGITS = np.random.default_rng(0).standard_normal([4, 3]).astype(np.float32)
LABELS = np.array([0, 1, 1, 2])


def tensorflows_loss(smoothing, repeats=1):
    """TensorFlow's, of images that are there so many times."""
    labels, logits = (np.repeat(array, repeats, 0) for array in (LABELS, LOGITS))
    return tf.losses.softmax_cross_entropy(np.eye(3)[labels], logits, 1.0, smoothing).numpy()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_with_label_smoothing_is_tensorflows(smoothing):
    loss = training_loss(tensorflows_loss(0), LOGITS, LABELS, smoothing)
    assert float(loss) == pytest.approx(tensorflows_loss(smoothing), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_with_class_weights_counts_an_image_as_if_it_were_there_so_often(smoothing):
    loss = training_loss(0.0, LOGITS, LABELS, smoothing, np.float32([3, 1, 0]))
    assert 4 * float(loss) == pytest.approx(5 * tensorflows_loss(smoothing, [3, 1, 1, 0]), rel=1e-5)


def dropout(*, seed=0, step=0, first_image=0, shape=(6, 3, 3, 40)):
    place = {"step": tf.constant(step, tf.int64), "first_image": first_image}
    return reproducible_dropout(tf.ones(shape), True, seed=seed, **place).numpy()


def test_dropout_doubles_one_half_of_the_values_and_zeroes_the_other():
    mask = dropout(shape=(50, 6, 6, 256))
    assert set(np.unique(mask)) == {0, 2}
    assert mask.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(mask.mean(axis=0), 1, atol=0.8)  # no place is always dropped


def test_dropout_is_a_function_of_seed_step_and_image():
    masks = [dropout(seed=seed, step=step) for seed in (0, 1) for step in (0, 1, 2**40)]
    assert len({image.tobytes() for mask in masks for image in mask}) == 6 * 6
    np.testing.assert_array_equal(dropout(seed=1, step=2**40), masks[-1])


def test_dropout_gives_a_tower_the_masks_of_its_own_images():
    np.testing.assert_array_equal(dropout(first_image=2, shape=(4, 3, 3, 40)), dropout()[2:])
