"""One training step: the result of one net, whatever the number of towers."""

import dataclasses
import functools

import numpy as np
import pytest

import data
from base.runtime import session_config
from imagenet.nets import variable_shapes
from squeezenet_model import tf
from tests.conftest import short_schedule
from tests.small_nets import SmallNet
from training.input_pipeline import TrainingBatches
from training.ops import reproducible_dropout, standardized, with_method
from training.plan import Plan
from training.recipe import CHAPTER, PRECISIONS, TUNED, WISE_FT
from training.scope_scalars import kernel_scopes
from training.step import build_training_step


@pytest.fixture
def train(tiny_dataset):
    """A function that takes some steps; returns their values, and the weights by name before and
    after them."""

    def function(steps=2, build=build_training_step, **changes):
        plan = Plan(SmallNet(8, 6, 3), tiny_dataset, short_schedule(batch_size=8, **changes), None)
        rng = np.random.default_rng(0)
        with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
            batches = TrainingBatches(plan)
            step = build(plan, batches.next_batch)
            session.run(tf.global_variables_initializer())
            weights = {variable.op.name: variable for variable in tf.trainable_variables()}
            for variable in weights.values():
                variable.load(rng.normal(scale=0.3, size=variable.shape), session)
            batches.start_at(session, 0)
            before = session.run(weights)
            return [session.run(step) for _ in range(steps)], before, session.run(weights)

    return function


def assert_close(weights, others, tolerance=1e-5):
    """Compares weights, and their names in order."""
    assert list(weights) == list(others)
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, others[name], 0, tolerance, err_msg=name)


def test_several_towers_take_the_same_steps_as_one(train):
    (values, _, weights), (same_values, _, same_weights) = train(num_towers=4), train()
    assert [step.step for step in values] == [1, 2]
    for step, same in zip(values, same_values, strict=True):
        np.testing.assert_allclose(step[:5], same[:5], rtol=1e-4)
    assert_close(weights, same_weights)
    assert list(weights) == list(variable_shapes(SmallNet, 3))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_repeated_run_is_identical_bit_for_bit(train, precision):
    flags = {"num_towers": 4, "precision": precision}
    assert_close(train(**flags)[2], train(**flags)[2], tolerance=0)


def test_in_bfloat16_the_layers_compute_but_nothing_is_kept(train):
    """8 bits of precision; each of the towers reads the same copy of a variable."""

    def build(plan, batch):
        step = build_training_step(plan, batch)
        operations = tf.get_default_graph().get_operations()
        convolutions = [each for each in operations if each.type == "Conv2D"]
        assert {each.outputs[0].dtype for each in convolutions} == {tf.bfloat16}
        assert len({each.inputs[1].name for each in convolutions}) == len(convolutions) / 2
        kept = [*tf.global_variables(), *step[1:]]
        assert {each.dtype.base_dtype for each in kept} == {tf.float32, tf.int64}
        return step

    (values, _, weights), (expected, _, exact) = (
        train(build=build, num_towers=2, precision="bfloat16"),
        train(num_towers=2),
    )
    assert [step.loss for step in values] == pytest.approx([s.loss for s in expected], rel=0.02)
    assert 0 < max(abs(weights[name] - exact[name]).max() for name in weights) < 0.05


def test_the_chapters_recipe_trains_as_the_class_itself_does(train):
    """With the class's own train_op; only dropout is replaced by the reproducible one."""

    def build(plan, batch):
        dropout = functools.partial(reproducible_dropout, seed=0, step=batch.step, first_image=0)
        net = with_method(plan.model, "custom_dropout", dropout)
        net.run_model_setup(standardized(batch.crops, net), batch.labels, is_training=True)
        return net.train_op

    _, before, weights = train(3, recipe=CHAPTER, learning_rate=1e-3, warm_up_steps=0)
    assert all((weights[name] != before[name]).any() for name in weights)
    assert_close(weights, train(3, build)[2], 1e-6)


def test_the_tuned_recipe_keeps_every_filter_at_mean_0_and_norm_sqrt_2(train):
    for name, weight in train(recipe=TUNED)[2].items():
        if name.endswith("kernel"):
            np.testing.assert_allclose(weight.sum((0, 1, 2)), 0, atol=1e-4, err_msg=name)
            np.testing.assert_allclose((weight**2).sum((0, 1, 2)), 2, rtol=1e-4, err_msg=name)


def test_frozen_layers_keep_their_weights_to_the_bit(train):
    _, before, after = train(num_towers=2, recipe=WISE_FT)
    changed = [weight.tobytes() != before[name].tobytes() for name, weight in after.items()]
    assert changed == [False] * 8 + [True] * 8


def test_class_weights_act_on_the_gradients_alone_in_towers_of_any_size(train, monkeypatch):
    monkeypatch.setattr(data, "class_weights", lambda dataset: np.float32([3, 0.5, 0]))
    flags = {"recipe": WISE_FT, "learning_rate": 1e-3}
    (plain, _), _, _ = train(**flags)
    (one, _), _, weights = train(class_weights=True, **flags)
    (four, _), _, same_weights = train(class_weights=True, num_towers=4, **flags)
    assert (one.loss, one.accuracy) == pytest.approx((plain.loss, plain.accuracy), rel=1e-5)
    assert abs(one.gradient_norm / plain.gradient_norm - 1) > 0.1
    np.testing.assert_allclose(four[:5], one[:5], rtol=1e-4)
    assert_close(weights, same_weights, 1e-4)


def test_norm_change_and_gradient_of_kernels_are_measured_at_summary_steps(train, monkeypatch):
    """And at the last step; the results stay the same, bit for bit."""

    def build(plan, batch):
        means = []
        step = build_training_step(plan, batch, all_reduce=lambda mean: means.append(mean) or mean)
        assert kernel_scopes() == [v.op.name[:-7] for v in tf.trainable_variables()[::2]]
        return step, means[0].gradients[::2]

    monkeypatch.setattr("training.step.SUMMARY_STEPS", 2)
    ((values, gradients),), before, after = train(1, build, total_steps=1, warm_up_steps=0)
    norm, kernels = np.linalg.norm, [*after][::2]
    expected = [
        (norm(after[name]), norm(after[name] - before[name]) / norm(before[name]), norm(gradient))
        for name, gradient in zip(kernels, gradients, strict=True)
    ]
    np.testing.assert_allclose(values.scope_scalars, expected, rtol=1e-4)
    values, _, weights = train(5, total_steps=5, num_towers=2)
    assert [len(step.scope_scalars) for step in values] == [0, 8, 0, 8, 8]
    monkeypatch.setattr("training.step.scope_scalars", lambda *_: tf.zeros([0, 3]))
    assert_close(weights, train(5, total_steps=5, num_towers=2)[2], tolerance=0)


def test_towers_go_to_the_gpus_in_turn_and_variables_to_the_cpu(train):
    def build(plan, batch):
        step = build_training_step(plan, batch)
        layer = "fire1/squeeze/Conv2D"
        for tower in range(4):
            for name in (layer, f"gradients/tower_{tower}/{layer}_grad/MatMul"):
                operation = step.loss.graph.get_operation_by_name(f"tower_{tower}/{name}")
                assert operation.device == f"/device:GPU:{tower % 2}", operation.name
        assert {variable.device for variable in tf.trainable_variables()} == {"/device:CPU:0"}
        return step

    # Without GPUs it runs, too.
    (value,), _, _ = train(1, build, recipe=CHAPTER, num_towers=4, num_gpus=2)
    assert value.step == 1


def test_the_last_step_may_interpolate_between_the_initial_and_the_final_weights(train):
    """The measures of the scopes are those of the step itself."""
    recipe = dataclasses.replace(TUNED, interpolation=0.25)
    values, before, after = train(total_steps=2, recipe=recipe)
    expected, _, last = train(total_steps=2)
    assert_close(after, {name: 0.25 * before[name] + 0.75 * last[name] for name in last}, 1e-6)
    np.testing.assert_allclose(values[-1].scope_scalars, expected[-1].scope_scalars, rtol=1e-5)
