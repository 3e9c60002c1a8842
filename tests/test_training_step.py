"""The towers: the results of one net, the names of one net, reproducible dropout masks."""

import dataclasses

import numpy as np
import pytest

from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import short_schedule
from training.input_pipeline import Batch
from training.ops import reproducible_dropout, with_reproducible_dropout
from training.recipe import CHAPTER, FINE_TUNED, RECIPES, towers_for
from training.runtime import session_config
from training.step import build_training_step


class SmallNet(SqueezeNetModel):
    FIRE_PARAMS_1 = ((4, 8, "fire1"),)
    FIRE_PARAMS_2 = ((4, 8, "fire2"),)


def train_two_steps(
    towers: int, class_weights: list[float] | None = None, **changes
) -> tuple[dict[str, np.ndarray], list]:
    """Weights by name after two steps on a batch of 8, and each step's values."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, [8, 3 * 8 * 8]).astype(np.float32)
    labels = rng.integers(0, 3, 8).astype(np.int32)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        global_step = tf.train.get_or_create_global_step().read_value()
        batch = Batch(global_step, tf.constant(crops), tf.constant(labels))
        schedule = short_schedule(num_towers=towers, batch_size=8, **changes)
        if class_weights is not None:
            class_weights = np.float32(class_weights)
        step = build_training_step(SmallNet(8, 8, 3), batch, schedule, class_weights=class_weights)
        session.run(tf.global_variables_initializer())
        values = [session.run(step) for _ in range(2)]
        names = [variable.op.name for variable in tf.trainable_variables()]
        weights = session.run(tf.trainable_variables())
    return dict(zip(names, weights, strict=True)), values


@pytest.fixture(scope="module")
def one_tower():
    return train_two_steps(1)


@pytest.mark.parametrize("towers", [2, 4, 8])
def test_several_towers_take_the_same_steps_as_one(one_tower, towers):
    weights, values = train_two_steps(towers)
    assert list(weights) == list(one_tower[0])
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, one_tower[0][name], atol=1e-5, err_msg=name)
    for numbers, same in zip(values, one_tower[1], strict=True):
        np.testing.assert_allclose(numbers[:5], same[:5], rtol=1e-5)


class TestClassWeights:
    """For each recipe, the chapter's own step and its label smoothing included."""

    @pytest.fixture(params=RECIPES.values(), ids=RECIPES)
    def recipe(self, request):
        rate = request.param.learning_rate
        return {"recipe": request.param, "learning_rate": rate, "warm_up_steps": 0}

    def test_of_1_change_nothing(self, recipe):
        weights, values = train_two_steps(1, [1, 1, 1], **recipe)
        others, same = train_two_steps(1, **recipe)
        for name, weight in weights.items():
            np.testing.assert_allclose(weight, others[name], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(values[1][:5], same[1][:5], rtol=1e-4)

    def test_change_the_gradients_but_not_what_is_reported(self, recipe):
        (_, plain), (_, doubled) = (train_two_steps(1, w, **recipe) for w in (None, [2, 2, 2]))
        assert doubled[0][:4] == pytest.approx(plain[0][:4], rel=1e-5)
        assert doubled[0].gradient_norm == pytest.approx(2 * plain[0].gradient_norm, rel=1e-4)

    def test_act_on_several_towers_as_on_one(self, recipe):
        (one, values), (four, others) = (train_two_steps(n, [3, 0.5, 0], **recipe) for n in (1, 4))
        for name, weight in one.items():
            np.testing.assert_allclose(weight, four[name], atol=1e-4, err_msg=name)
        np.testing.assert_allclose(values[0][:5], others[0][:5], rtol=1e-4)


@pytest.mark.parametrize("towers", [1, 4])
def test_a_repeated_run_is_identical_bit_for_bit(towers):
    (first, _), (second, _) = train_two_steps(towers), train_two_steps(towers)
    for name, weight in first.items():
        assert weight.tobytes() == second[name].tobytes(), name


def test_the_variables_keep_the_chapters_names(one_tower):
    assert "fire1/expand3x3/kernel" in one_tower[0]
    assert not any("tower" in name for name in one_tower[0])


def test_steps_are_counted_from_1(one_tower):
    assert [values.step for values in one_tower[1]] == [1, 2]


@pytest.mark.parametrize(
    ("batch_size", "cores", "towers"),
    [
        *((128, 2, 4), (64, 2, 2), (100, 2, 2), (256, 2, 8), (65_536, 2, 16)),  # of 32 or more
        *((128, 8, 8), (128, 6, 4), (32, 2, 2), (32, 8, 4), (128, 64, 16)),  # one a core
        *((1, 8, 1), (15, 8, 1), (97, 8, 1)),  # no way to share them
    ],
)
def test_the_default_number_of_towers(batch_size, cores, towers):
    assert towers_for(batch_size, cores) == towers


@pytest.mark.parametrize(
    ("batch_size", "num_gpus", "towers"), [(128, 1, 1), (128, 8, 8), (100, 3, 2), (1, 2, 1)]
)
def test_gpus_get_one_each(batch_size, num_gpus, towers):
    assert towers_for(batch_size, cores=64, num_gpus=num_gpus) == towers


class TestOnSeveralGpus:
    """The placement of the graph, tested without GPUs."""

    @pytest.fixture
    def graph(self):
        with tf.Graph().as_default() as graph:
            batch = Batch(
                tf.constant(0, tf.int64), tf.zeros([8, 3 * 8 * 8]), tf.zeros([8], tf.int32)
            )
            schedule = short_schedule(num_towers=4, num_gpus=2, batch_size=8)
            self.step = build_training_step(SmallNet(8, 8, 3), batch, schedule)
            yield graph

    def test_towers_go_to_the_gpus_in_turn(self, graph):
        for tower in range(4):
            for name in (
                "fire1/squeeze/Conv2D",
                "gradients/tower_*/fire1/squeeze/Conv2D_grad/MatMul",
            ):
                name = f"tower_{tower}/{name}".replace("*", str(tower))
                device = graph.get_operation_by_name(name).device
                assert device == f"/device:GPU:{tower % 2}", name

    def test_variables_stay_on_the_cpu(self, graph):
        devices = {variable.device for variable in tf.global_variables()}
        assert devices <= {"", "/device:CPU:0"}
        assert tf.trainable_variables()[0].device == "/device:CPU:0"

    def test_they_also_run_on_a_machine_without_gpus(self, graph):
        with tf.Session(config=session_config()) as session:
            session.run(tf.global_variables_initializer())
            assert session.run(self.step).step == 1


class TestDropout:
    def mask(self, *, seed=0, step=0, first_image=0, shape=(6, 3, 3, 40)):
        with tf.Graph().as_default(), tf.Session() as session:
            return session.run(
                reproducible_dropout(tf.ones(shape), seed, tf.constant(step, tf.int64), first_image)
            )

    def test_doubles_one_half_and_zeroes_the_other(self):
        mask = self.mask(shape=(50, 6, 6, 256))
        assert set(np.unique(mask)) == {0, 2}
        assert mask.mean() == pytest.approx(1, abs=0.01)
        np.testing.assert_allclose(mask.mean(axis=0), 1, atol=0.8)  # no place is always dropped

    def test_is_a_function_of_seed_and_step(self):
        np.testing.assert_array_equal(self.mask(step=5), self.mask(step=5))
        assert (self.mask(step=5) != self.mask(step=6)).any()
        assert (self.mask(seed=1) != self.mask(seed=2)).any()

    def test_gives_a_tower_the_masks_of_its_own_images(self):
        np.testing.assert_array_equal(
            self.mask()[2:], self.mask(first_image=2, shape=(4, 3, 3, 40))
        )

    def test_gives_each_image_a_mask_of_its_own(self):
        assert len({image.tobytes() for image in self.mask()}) == 6

    def test_does_nothing_outside_training(self):
        net = with_reproducible_dropout(SmallNet(8, 8, 3), 0, tf.constant(0), 0)
        inputs = tf.constant(1.0)
        assert net.custom_dropout(inputs, is_training=False) is inputs


class TestTheChaptersRecipeInOneTower:
    """The class's own step trains, as run_model_setup builds it; only dropout differs."""

    @staticmethod
    def nodes(graph) -> dict[str, tuple]:
        """Type and inputs of each operation by name; without inputs, dropout and initializers."""

        def is_compared(name):
            others = ("input", "loop_body", "labels", "dropout/", "gradients/dropout/")
            return not name.startswith(others) and "Initializer" not in name

        return {
            op.name: (op.type, [i.op.name for i in op.inputs if is_compared(i.op.name)])
            for op in graph.get_operations()
            if is_compared(op.name)
        }

    def test_has_every_node_of_the_chapters_graph_under_its_name(self):
        with tf.Graph().as_default() as chapter:
            inputs = tf.placeholder(tf.float32, [8, 8, 8, 3], "input")
            labels = tf.placeholder(tf.int32, [8], "labels")
            SmallNet(8, 8, 3).run_model_setup(inputs, labels, is_training=True)
        with tf.Graph().as_default() as trained:
            with tf.name_scope("input"):
                crops, step = tf.zeros([8, 3 * 8 * 8]), tf.zeros([], tf.int64)
            batch = Batch(step, crops, tf.placeholder(tf.int32, [8], "labels"))
            schedule = short_schedule(recipe=CHAPTER, learning_rate=1e-3, batch_size=8)
            build_training_step(SmallNet(8, 8, 3), batch, schedule)
        ours, theirs = self.nodes(trained), self.nodes(chapter)
        assert "fire1/expand3x3/Conv2D" in theirs
        assert "Adam/update_fire1/squeeze/kernel/ResourceApplyAdam" in theirs
        for name, node in theirs.items():
            assert ours.get(name) == node, name


def test_frozen_layers_keep_their_weights_to_the_bit():
    recipe = dataclasses.replace(FINE_TUNED, frozen=0.5)
    crops = np.random.default_rng(0).integers(0, 256, [8, 3 * 8 * 8]).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        global_step = tf.train.get_or_create_global_step().read_value()
        batch = Batch(global_step, tf.constant(crops), tf.constant([0, 1, 2, 0, 1, 2, 0, 1]))
        schedule = short_schedule(num_towers=2, batch_size=8, recipe=recipe)
        step = build_training_step(SmallNet(8, 8, 3), batch, schedule)
        session.run(tf.global_variables_initializer())
        before = session.run(tf.trainable_variables())
        session.run(step)
        after = session.run(tf.trainable_variables())
    changed = [old.tobytes() != new.tobytes() for old, new in zip(before, after, strict=True)]
    assert changed == [False] * 8 + [True] * 8
