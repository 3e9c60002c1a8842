"""Evaluation: every image once, the last partial batch included."""

import numpy as np
import pytest

from data import Split
from evaluation.evaluator import Evaluator
from imagenet.nets import variable_shapes
from squeezenet_model import tf
from tests.small_nets import SmallNet, save_net
from training.batches import records_to_images


@pytest.fixture
def run(tmp_path):
    return save_net(tmp_path, SmallNet(8, 6, 3))


@pytest.mark.parametrize("batch_size", [5, 2])
def test_measures_each_image_once_in_batches_of_any_size(
    run, tiny_dataset, monkeypatch, batch_size
):
    monkeypatch.setattr("evaluation.evaluator.BATCH_SIZE", batch_size)
    labels = tiny_dataset.test.labels
    with Evaluator(run.model, tiny_dataset.test) as evaluator:
        evaluation, weights = evaluator.evaluate(run.checkpoint), evaluator.weights()
        probs = evaluator.net.probabilities(records_to_images(tiny_dataset.test.records, 8))
    assert (evaluation.checkpoint, evaluation.step) == (run.checkpoint, 7)
    assert len({image.tobytes() for image in probs}) == 5
    np.testing.assert_allclose(evaluation.probs, probs, rtol=1e-5)
    np.testing.assert_array_equal(evaluation.predictions, probs.argmax(axis=1))
    assert evaluation.accuracy == np.mean(evaluation.predictions == labels)
    assert evaluation.loss == pytest.approx(-np.log(probs[range(5), labels]).mean(), rel=1e-5)
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, tf.train.load_variable(run.checkpoint, name))


def test_measures_layers_on_images_from_all_over_the_split(run, tiny_dataset, monkeypatch):
    """Its first images may all be of one class."""

    def measured(split):
        with Evaluator(run.model, split) as evaluator:
            evaluator.net.restore(run.checkpoint)
            return evaluator.activations(), evaluator.zero_fractions(), evaluator.gradients()

    test = tiny_dataset.test
    spread = measured(Split(test.records[::3], test.labels[::3]))
    for name in ("BATCH_SIZE", "FEW_IMAGES"):
        monkeypatch.setattr(f"evaluation.evaluator.{name}", 2)
    for ours, theirs in zip(measured(test), spread, strict=True):
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name], err_msg=name)
    activations, zeros, gradients = spread
    assert 0 < zeros["conv1"] < 1
    assert zeros == pytest.approx({name: np.mean(a == 0) for name, a in activations.items()})
    assert [*gradients] == [*variable_shapes(SmallNet, 3)]
