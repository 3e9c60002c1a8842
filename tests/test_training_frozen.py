"""What the frozen layers put out is computed once, and changes nothing but the time it takes."""

import dataclasses

import numpy as np
import pytest

from base.runtime import session_config
from evaluation.inference import load_net
from squeezenet_model import tf
from tests.conftest import short_schedule
from tests.small_nets import SmallNet, save_net
from training import frozen
from training.batches import batch_at, records_to_images
from training.frozen import FrozenFeatures, Layer, last_frozen_layer
from training.initial_weights import model_scope
from training.input_pipeline import TrainingBatches
from training.last_layer import fit_last_layer
from training.plan import Plan
from training.recipe import WHOLE_BATCH, WISE_FT, BatchPart
from training.step import build_training_step

POOL2 = Layer("pool2", (2, 2, 16))


@pytest.fixture
def plan(tiny_dataset):
    """Fine-tunes the later half of a small net, which sees all of an image."""
    dataset = dataclasses.replace(tiny_dataset, resize_dim=8)
    schedule = short_schedule(recipe=dataclasses.replace(WISE_FT, frozen=0.5), num_towers=2)
    return Plan(SmallNet(8, 8, 3), dataset, schedule, None)


def replaced(plan, dataset=None, **recipe):
    """A plan with some changes of its data set and its recipe."""
    recipe = dataclasses.replace(plan.schedule.recipe, **recipe)
    return dataclasses.replace(
        plan,
        dataset=dataclasses.replace(plan.dataset, **(dataset or {})),
        schedule=dataclasses.replace(plan.schedule, recipe=recipe),
    )


def test_the_last_pooling_before_what_is_trained_is_found(plan, monkeypatch):
    assert last_frozen_layer(plan) == POOL2
    assert last_frozen_layer(replaced(plan, frozen=0.2)) == Layer("pool1", (4, 4, 64))
    assert last_frozen_layer(replaced(plan, frozen=0.0)) is None
    assert last_frozen_layer(replaced(plan, {"resize_dim": 6})) is None  # crops differ
    needed = 2 * 2 * 7 * 64  # both sides of each image, in 16 bits
    monkeypatch.setattr(frozen, "MAX_BYTES", needed)
    assert last_frozen_layer(plan) == POOL2
    monkeypatch.setattr(frozen, "MAX_BYTES", needed - 1)
    assert last_frozen_layer(plan) is None
    assert last_frozen_layer(replaced(plan, {"mirrored": False})) == POOL2


def test_batches_are_the_layers_output_for_the_crops_of_any_step(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "IMAGES_PER_RUN", 3)
    features, run = FrozenFeatures(plan, POOL2), save_net(tmp_path, plan.model)
    of_a_new_run = FrozenFeatures(plan, POOL2)
    fit_last_layer(plan, run.checkpoint, of_a_new_run)
    with tf.Graph().as_default(), tf.Session() as session:
        with model_scope(WISE_FT):
            plan.model.model_layers(tf.zeros([1, 8, 8, 3]), is_training=True)
        tf.train.Saver().restore(session, run.checkpoint)
        features.compute(session)
        assert len(tf.trainable_variables()) == 16
    np.testing.assert_array_equal(features.values, of_a_new_run.values)
    for step, part in ((0, WHOLE_BATCH), (3, WHOLE_BATCH), (3, BatchPart(1, 2))):
        ours, labels = features.batch_at(step, part)
        crops, expected_labels = batch_at(plan.dataset, 4, 0, step, part)
        with load_net(run) as net:
            output = net.session.graph.get_tensor_by_name("pool2/MaxPool:0")
            expected = net.run(output, records_to_images(crops, 8))
        np.testing.assert_array_equal(labels, expected_labels)
        np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=1e-4)


def test_a_run_takes_the_same_steps_as_without(plan, tmp_path, monkeypatch):
    """But for the rounding of the output to 16 bits."""
    run, results = save_net(tmp_path, plan.model), []
    for max_bytes in (1 << 30, 0):
        monkeypatch.setattr(frozen, "MAX_BYTES", max_bytes)
        with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
            batches = TrainingBatches(plan)
            step = build_training_step(plan, batches.next_batch)
            weights = {variable.op.name: variable for variable in tf.trainable_variables()}
            session.run(tf.global_variables_initializer())
            tf.train.Saver(weights).restore(session, run.checkpoint)
            batches.start_at(session, 0)
            losses = [session.run(step).loss for _ in range(3)]
            results.append((batches.next_batch.layer, losses, session.run(weights)))
    (layer, losses, weights), (none, expected_losses, expected) = results
    assert (layer, none) == (POOL2, None)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-3)
    for name, values in weights.items():
        np.testing.assert_allclose(values, expected[name], atol=3e-3, err_msg=name)
