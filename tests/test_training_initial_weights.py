"""How the net's weights are initialized and trained, in either recipe."""

import numpy as np
import pytest

from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import short_schedule
from training.initial_weights import model_scope, standardized_filters
from training.optimizers import apply_gradients, learning_rate
from training.recipe import CHAPTER, RECIPES, TUNED


def rates(schedule) -> list[float]:
    """The learning rate of each step."""
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.placeholder(tf.int64, [])
        rate = learning_rate(step, schedule)
        return [session.run(rate, {step: taken}) for taken in range(schedule.total_steps)]


class TestTheLearningRate:
    def test_of_the_tuned_recipe_rises_and_then_falls_linearly_to_zero(self):
        values = rates(short_schedule(learning_rate=0.8, warm_up_steps=3, total_steps=11))
        np.testing.assert_allclose(values[:4], [0.2, 0.4, 0.6, 0.8], rtol=1e-6)
        np.testing.assert_allclose(values[3:], 0.8 * np.arange(8, 0, -1) / 8, rtol=1e-6)

    def test_of_the_chapters_recipe_is_constant(self):
        schedule = short_schedule(recipe=CHAPTER, learning_rate=1e-3, warm_up_steps=0)
        np.testing.assert_allclose(rates(schedule), 1e-3)


def test_standardized_filters_have_mean_0_and_norm_sqrt_2():
    kernel = np.random.default_rng(0).standard_normal([3, 3, 4, 8]).astype(np.float32) + 1
    with tf.Graph().as_default(), tf.Session() as session:
        filters = session.run(standardized_filters(tf.constant(kernel)))
    np.testing.assert_allclose(filters.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose((filters**2).sum((0, 1, 2)), 2, rtol=1e-5)


def weights_after(schedule, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The net's weights by name after some steps along made-up gradients."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        global_step = tf.train.get_or_create_global_step()
        with model_scope(schedule.recipe):
            SqueezeNetModel(8, 8, 3).model_layers(tf.zeros([1, 8, 8, 3]), is_training=False)
        variables = tf.trainable_variables()
        rng = np.random.default_rng(0)
        gradients = [
            tf.constant(rng.standard_normal(variable.shape), tf.float32) for variable in variables
        ]
        rate = learning_rate(global_step, schedule)
        step = apply_gradients(gradients, variables, rate, schedule.recipe, global_step)
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            session.run(step)
        assert session.run(global_step) == steps
        return {variable.op.name: session.run(variable) for variable in variables}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
class TestEitherRecipe:
    def test_is_determined_by_the_seed(self, recipe):
        first, second = (weights_after(short_schedule(recipe=recipe), 2) for _ in range(2))
        other = weights_after(short_schedule(recipe=recipe), 2, seed=1)
        for name, weight in first.items():
            assert weight.tobytes() == second[name].tobytes(), name
        assert (first["conv1/kernel"] != other["conv1/kernel"]).any()

    def test_keeps_the_chapters_names(self, recipe):
        names = set(weights_after(short_schedule(recipe=recipe), 0))
        assert {"conv1/kernel", "fire2/expand3x3/bias", "final_conv/bias"} < names
        assert len(names) == 28


def test_the_tuned_recipe_keeps_every_filter_standardized():
    for name, weight in weights_after(short_schedule(recipe=TUNED), 2).items():
        if name.endswith("kernel"):
            np.testing.assert_allclose((weight**2).sum((0, 1, 2)), 2, rtol=1e-4, err_msg=name)
        else:
            assert weight.any(), name


def test_the_chapters_recipe_is_adam_at_its_defaults():
    schedule = short_schedule(recipe=CHAPTER, learning_rate=1e-3, warm_up_steps=0)
    shapes = {"kernel": [1, 1, 2, 3], "bias": [3]}
    with tf.Graph().as_default(), tf.Session() as session:
        ours, adams = (
            [
                tf.get_variable(f"{owner}/{name}", shape, initializer=tf.ones_initializer())
                for name, shape in shapes.items()
            ]
            for owner in ("ours", "adams")
        )
        gradients = [tf.random.normal(shape, seed=0) for shape in shapes.values()]
        global_step = tf.train.get_or_create_global_step()
        rate = learning_rate(global_step, schedule)
        steps = [
            apply_gradients(gradients, ours, rate, CHAPTER, global_step),
            tf.train.AdamOptimizer().apply_gradients(zip(gradients, adams, strict=True)),
        ]
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(steps)
        for our, adam in session.run(list(zip(ours, adams, strict=True))):
            np.testing.assert_array_equal(our, adam)
            assert (our != 1).all()
