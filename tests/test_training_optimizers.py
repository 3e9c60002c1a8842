"""The optimizers: Muon's orthogonal steps, and the learning rate."""

import numpy as np
import pytest

from squeezenet_model import tf
from tests.conftest import short_schedule
from training.optimizers import (
    MOMENTUM,
    MuonOptimizer,
    learning_rate,
    orthogonalized,
)
from training.recipe import CHAPTER


def jordans(matrix: np.ndarray) -> np.ndarray:
    """The iteration as K. Jordan has published it."""
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize("scale", [0, 0.1, 10])
@pytest.mark.parametrize("shape", [(288, 128), (27, 64), (32, 32), (1, 5), (5, 1)])
def test_a_matrix_is_orthogonalized_by_jordans_iteration(shape, scale):
    matrix = scale * np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(
        orthogonalized(tf.constant(matrix, tf.float32)), jordans(matrix), atol=1e-4
    )


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (1, 1, 4, 16)])
def test_muon_moves_a_kernel_by_its_orthogonalized_momentum(shape):
    gradients = np.random.default_rng(0).standard_normal([2, *shape])
    expected, momentum = 0.0, 0.0
    with tf.Graph().as_default(), tf.Session() as session:
        kernel = tf.get_variable("conv1/kernel", shape, initializer=tf.zeros_initializer())
        gradient = tf.placeholder(tf.float32, shape)
        step = MuonOptimizer(0.1).apply_gradients([(gradient, kernel)])
        assert [variable.op.name for variable in tf.global_variables()] == [
            *("conv1/kernel", "conv1/kernel/Muon")
        ]
        session.run(tf.global_variables_initializer())
        for value in gradients:
            session.run(step, {gradient: value})
            momentum = MOMENTUM * momentum + value
            ahead = (MOMENTUM * momentum + value).reshape(-1, shape[-1])
            length = 0.1 * max(1, shape[-1] / len(ahead)) ** 0.5
            expected -= length * jordans(ahead).reshape(shape)
        np.testing.assert_allclose(session.run(kernel), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            short_schedule(learning_rate=0.8, warm_up_steps=3, total_steps=8),
            [0.2, 0.4, 0.6, 0.8, 0.64, 0.48, 0.32, 0.16],
        ),
        (short_schedule(recipe=CHAPTER, warm_up_steps=0, total_steps=3), [0.01] * 3),
    ],
    ids=["rises and falls linearly", "is constant in the chapter's recipe"],
)
def test_the_learning_rate(schedule, expected):
    np.testing.assert_allclose(
        learning_rate(tf.range(schedule.total_steps), schedule), expected, rtol=1e-6
    )
