"""The measures of each kernel in a step: correct, only at summary steps, without side effects."""

import numpy as np
import pytest

from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import short_schedule
from training import step as step_module
from training.input_pipeline import Batch
from training.recipe import CHAPTER, TUNED
from training.scope_scalars import kernel_scopes, scope_scalars

RATE = 0.5


class SmallNet(SqueezeNetModel):
    FIRE_PARAMS_1 = ((4, 8, "fire1"),)
    FIRE_PARAMS_2 = ((4, 8, "fire2"),)


SCOPES = [
    "conv1",
    *(f"fire{i}/{layer}" for i in (1, 2) for layer in ("squeeze", "expand1x1", "expand3x3")),
    "final_conv",
]


@pytest.fixture(scope="module")
def step():
    """A step of plain gradient descent, whose gradient can be computed from the weights.

    Returns:
      The kernels before and after it, and what scope_scalars gives when it is due and when not.
    """
    images = np.random.default_rng(0).normal(size=[4, 8, 8, 3]).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        net = SmallNet(8, 8, 3)
        with tf.variable_scope("", initializer=tf.glorot_uniform_initializer()):
            logits = net.model_layers(tf.constant(images), is_training=False)
        loss, _ = net.loss_and_accuracy(logits, tf.constant([0, 1, 2, 0]))
        variables = tf.trainable_variables()
        gradients = tf.gradients(loss, variables)
        optimizer = tf.train.GradientDescentOptimizer(RATE)
        train_op = optimizer.apply_gradients(zip(gradients, variables, strict=True))
        is_due = tf.placeholder(tf.bool, [])
        scalars = scope_scalars(gradients, train_op, is_due)
        assert kernel_scopes() == SCOPES
        kernels = [variable for variable in variables if variable.shape.rank == 4]
        session.run(tf.global_variables_initializer())
        before = session.run(kernels)
        due = session.run(scalars, {is_due: True})
        after = session.run(kernels)
        return before, after, due, session.run(scalars, {is_due: False})


class TestOneStep:
    def test_has_a_row_of_three_numbers_for_each_kernel(self, step):
        _, _, due, _ = step
        assert due.shape == (len(SCOPES), 3)

    def test_has_no_rows_when_it_is_not_due(self, step):
        _, _, _, not_due = step
        assert not_due.shape == (0, 3)

    def test_measures_the_norm_after_it(self, step):
        _, after, due, _ = step
        np.testing.assert_allclose(due[:, 0], list(map(np.linalg.norm, after)), rtol=1e-5)

    def test_measures_its_change_against_the_norm_before_it(self, step):
        before, after, due, _ = step
        ratios = [
            np.linalg.norm(new - old) / np.linalg.norm(old)
            for old, new in zip(before, after, strict=True)
        ]
        assert max(ratios) > 1e-3
        np.testing.assert_allclose(due[:, 1], ratios, rtol=1e-3)

    def test_measures_the_gradient(self, step):
        before, after, due, _ = step
        norms = [np.linalg.norm(new - old) for old, new in zip(before, after, strict=True)]
        np.testing.assert_allclose(RATE * due[:, 2], norms, rtol=1e-3)


def train(towers: int, recipe, steps: int = 5) -> tuple[list, list]:
    """The kernels' scalars at each of a run's steps, and the weights after the last one."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, [8, 3 * 8 * 8]).astype(np.float32)
    labels = rng.integers(0, 3, 8).astype(np.int32)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        step = tf.train.get_or_create_global_step().read_value()
        batch = Batch(step, tf.constant(crops), tf.constant(labels))
        schedule = short_schedule(
            num_towers=towers, recipe=recipe, total_steps=steps, learning_rate=recipe.learning_rate
        )
        train_op = step_module.build_training_step(SmallNet(8, 8, 3), batch, schedule)
        session.run(tf.global_variables_initializer())
        scalars = [session.run(train_op).scope_scalars for _ in range(steps)]
        return scalars, session.run(tf.trainable_variables())


@pytest.mark.parametrize(("towers", "recipe"), [(2, TUNED), (1, CHAPTER)], ids=["tuned", "chapter"])
def test_a_run_has_them_at_summary_steps_and_the_last(towers, recipe, monkeypatch):
    monkeypatch.setattr(step_module, "SUMMARY_STEPS", 2)
    scalars, weights = train(towers, recipe)
    assert [len(rows) for rows in scalars] == [0, len(SCOPES), 0, len(SCOPES), len(SCOPES)]
    norms = [np.linalg.norm(weight) for weight in weights if weight.ndim == 4]
    np.testing.assert_allclose(scalars[-1][:, 0], norms, rtol=1e-5)

    monkeypatch.setattr(step_module, "scope_scalars", lambda *_: tf.zeros([0, 3]))
    _, weights_without = train(towers, recipe)
    for weight, same in zip(weights, weights_without, strict=True):
        assert weight.tobytes() == same.tobytes()
