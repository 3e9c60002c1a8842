"""Muon: orthogonal steps."""

import numpy as np
import pytest

from squeezenet_model import tf
from training.optimizers import ITERATIONS, MOMENTUM, POLYNOMIAL, MuonOptimizer, orthogonalized


def run(tensor):
    with tf.Session() as session:
        return session.run(tensor)


@pytest.mark.parametrize("shape", [(288, 128), (27, 64), (32, 32), (1, 5), (5, 1)])
class TestOrthogonalization:
    def test_makes_all_singular_values_nearly_equal(self, shape):
        matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        with tf.Graph().as_default():
            values = np.linalg.svd(run(orthogonalized(tf.constant(matrix))), compute_uv=False)
        assert values.min() > 0.6
        assert values.max() < 1.3

    def test_keeps_the_singular_vectors(self, shape):
        matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        with tf.Graph().as_default():
            turned = left.T @ run(orthogonalized(tf.constant(matrix))) @ right.T
        np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-3)

    def test_does_not_depend_on_the_norm(self, shape):
        matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        with tf.Graph().as_default():
            one, tenth = (run(orthogonalized(tf.constant(s * matrix))) for s in (1, 0.1))
        np.testing.assert_allclose(one, tenth, atol=1e-4)

    def test_is_the_iteration_of_jordan(self, shape):
        matrix = np.random.default_rng(0).standard_normal(shape)
        x = matrix / np.linalg.norm(matrix)
        a, b, c = POLYNOMIAL
        for _ in range(ITERATIONS):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        with tf.Graph().as_default():
            ours = run(orthogonalized(tf.constant(matrix, tf.float32)))
        np.testing.assert_allclose(ours, x, atol=1e-4)

    def test_of_zero_is_zero(self, shape):
        with tf.Graph().as_default():
            assert not run(orthogonalized(tf.zeros(shape))).any()


class TestTheOptimizer:
    @pytest.mark.parametrize("shape", [(3, 3, 4, 8), (1, 1, 4, 16)])
    def test_moves_a_kernel_by_its_orthogonalized_momentum(self, shape):
        rng = np.random.default_rng(0)
        gradients = rng.standard_normal([2, *shape]).astype(np.float32)
        with tf.Graph().as_default(), tf.Session() as session:
            kernel = tf.get_variable("kernel", shape, initializer=tf.zeros_initializer())
            gradient = tf.placeholder(tf.float32, shape)
            step = MuonOptimizer(0.1).apply_gradients([(gradient, kernel)])
            session.run(tf.global_variables_initializer())
            expected, momentum = 0.0, 0.0
            for value in gradients:
                session.run(step, {gradient: value})
                momentum = MOMENTUM * momentum + value
                ahead = MOMENTUM * momentum + value
                matrix = tf.constant(ahead.reshape(-1, shape[-1]), tf.float32)
                length = 0.1 * max(1, shape[-1] / np.prod(shape[:-1])) ** 0.5
                expected -= length * session.run(orthogonalized(matrix)).reshape(shape)
            np.testing.assert_allclose(session.run(kernel), expected, atol=1e-4)

    def test_keeps_its_momentum_in_a_slot_that_checkpoints_hold(self):
        with tf.Graph().as_default():
            kernel = tf.get_variable("fire1/squeeze/kernel", [1, 1, 4, 8])
            MuonOptimizer(0.1).apply_gradients([(tf.ones(kernel.shape), kernel)])
            names = [variable.op.name for variable in tf.global_variables()]
        assert names == ["fire1/squeeze/kernel", "fire1/squeeze/kernel/Muon"]
