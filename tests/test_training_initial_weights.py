"""How the net's weights are initialized: at random, or from a saved run."""

import dataclasses

import numpy as np
import pytest

from base import UserError
from imagenet.nets import variable_shapes
from squeezenet_model import tf
from tests.conftest import short_schedule
from tests.small_nets import SmallNet, save_net
from training.initial_weights import initialize, model_scope
from training.last_layer import fit_last_layer
from training.plan import Plan
from training.recipe import CHAPTER, TUNED, WISE_FT

LAST_LAYER = {"final_conv/kernel", "final_conv/bias"}


def weights_of(recipe, seed=0, plan=None):
    """The net's initial weights by name, for the plan if there is one."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        with model_scope(recipe):
            SmallNet(8, 6, 3).model_layers(tf.zeros([1, 6, 6, 3]), is_training=False)
        if plan:
            initialize(plan)
        session.run(tf.global_variables_initializer())
        return session.run({v.op.name: v for v in tf.trainable_variables()})


@pytest.mark.parametrize("recipe", [TUNED, CHAPTER], ids=["standardized", "plain"])
def test_random_weights_are_a_function_of_the_seed_under_the_chapters_names(recipe):
    first, same, other = (weights_of(recipe, seed) for seed in (0, 0, 1))
    assert list(first) == list(variable_shapes(SmallNet, 3))
    for name, weight in first.items():
        assert weight.tobytes() == same[name].tobytes(), name
        assert name.endswith("bias") or (weight != other[name]).all(), name


class TestFromASavedRun:
    @pytest.fixture
    def plan(self, tiny_dataset, tmp_path):
        """A plan to train its net with the chapter's recipe, from the weights of a saved one."""
        run, schedule = save_net(tmp_path, SmallNet(8, 6, 3)), short_schedule(recipe=CHAPTER)
        return Plan(run.model, tiny_dataset, schedule, tmp_path / "new", run)

    def saved(self, plan):
        """The saved weights by name."""
        reader = tf.train.load_checkpoint(plan.init_from.checkpoint)
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

    def test_all_that_fits_is_taken(self, plan, capsys):
        saved = self.saved(plan)
        for name, weight in weights_of(CHAPTER, plan=plan).items():
            np.testing.assert_array_equal(weight, saved[name])
        assert capsys.readouterr().out == f"initial weights from {plan.init_from.checkpoint}\n"

    def test_a_last_layer_of_other_classes_is_not_taken_even_if_its_shape_fits(self, plan, capsys):
        plan.init_from.settings["class_names"] = ["x", "y", "z"]
        saved = self.saved(plan)
        weights = weights_of(CHAPTER, plan=plan)
        assert {n for n, weight in weights.items() if (weight != saved[n]).any()} == LAST_LAYER
        assert ", except for final_conv/kernel, final_conv/bias\n" in capsys.readouterr().out

    def test_fine_tuning_fits_a_new_last_layer_to_the_others(self, plan):
        plan.init_from.settings["class_names"] = ["x", "y", "z"]
        plan = dataclasses.replace(plan, schedule=short_schedule(recipe=WISE_FT))
        fitted = fit_last_layer(plan, plan.init_from.checkpoint)
        weights = weights_of(WISE_FT, plan=plan)
        assert fitted.keys() == LAST_LAYER
        for name, weight in fitted.items():
            np.testing.assert_array_equal(weights[name], weight)

    @pytest.mark.parametrize("recipe", ["chapter", "unknown"])
    def test_a_recipe_that_would_undo_the_weights_is_refused(self, plan, recipe):
        plan = dataclasses.replace(plan, schedule=short_schedule(recipe=TUNED))
        plan.init_from.settings["recipe"] = recipe
        with pytest.raises(
            UserError, match=r"undoes .*; give --recipe chapter or wise_ft or fine_tuned"
        ):
            weights_of(TUNED, plan=plan)
        plan.init_from.settings["recipe"] = "tuned"
        weights_of(TUNED, plan=plan)
