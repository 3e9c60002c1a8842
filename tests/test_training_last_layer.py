"""The last layer of a net with pretrained weights, fitted before the others are trained."""

import numpy as np
import pytest

import data
from data import Dataset, Split
from evaluation.evaluator import Evaluator
from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import short_schedule
from tests.small_nets import save_net
from training import last_layer
from training.batches import batch_indices, crop_and_flip, random_offsets
from training.last_layer import compute_features, fit_last_layer
from training.plan import Plan

MODEL = SqueezeNetModel(original_dim=8, resize_dim=6, output_size=3)


@pytest.fixture(scope="module")
def dataset():
    """Noise in which the values of one color are higher; its index is the label."""
    labels = np.arange(48, dtype=np.int32) % 3
    images = np.random.default_rng(0).integers(0, 128, [48, 3, 8, 8], np.uint8)
    images[np.arange(48), labels] += 96
    split = Split(images.reshape(48, -1), labels)
    return Dataset("noise", split, split, ("red", "green", "blue"), 8, 6, mirrored=True)


class TestTheFittedLayer:
    @pytest.fixture
    def fit(self, dataset, tmp_path, monkeypatch):
        """A function that fits, with these changes of the schedule, the last layer of MODEL to the
        others of a net for seven other classes."""
        # Random weights give much smaller features than pretrained ones.
        monkeypatch.setattr(last_layer, "FIT_LEARNING_RATE", 0.05)
        others = save_net(tmp_path, SqueezeNetModel(8, 6, 7)).checkpoint

        def function(**changes):
            return fit_last_layer(Plan(MODEL, dataset, short_schedule(**changes), None), others)

        return function

    def predictions(self, fitted, dataset, folder):
        """Of MODEL with this last layer, for all images; `save_net` gives it the same others."""
        with Evaluator(MODEL, dataset.test) as evaluator:
            return evaluator.evaluate(save_net(folder, MODEL, fitted).checkpoint).predictions

    def test_tells_the_classes_apart(self, fit, dataset, tmp_path):
        predictions = self.predictions(fit(), dataset, tmp_path)
        assert np.mean(predictions == dataset.test.labels) > 0.9

    def test_answers_with_the_class_that_alone_has_a_weight(
        self, fit, dataset, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(data, "class_weights", lambda dataset: np.float32([0, 3, 0]))
        fitted = fit(class_weights=True)
        assert set(self.predictions(fitted, dataset, tmp_path)) == {1}

    def test_is_a_function_of_the_seed(self, fit):
        first, same, other = (fit(seed=seed) for seed in (0, 0, 1))
        shapes = {name: value.shape for name, value in first.items()}
        assert shapes == {"final_conv/kernel": (1, 1, 256, 3), "final_conv/bias": (3,)}
        for name, value in first.items():
            assert value.tobytes() == same[name].tobytes(), name
            assert value.tobytes() != other[name].tobytes(), name


@pytest.mark.parametrize(("max_crops", "expected"), [(2_048, 2 * 48), (64, 64)])
def test_features_are_those_of_each_image_and_its_mirror_image(
    dataset, monkeypatch, max_crops, expected
):
    """In the order of training, as far as memory allows."""
    monkeypatch.setattr(last_layer, "CROPS_PER_RUN", 32)
    monkeypatch.setattr(last_layer, "MAX_CROPS", max_crops)
    with tf.Graph().as_default(), tf.Session() as session:
        crops = tf.placeholder(tf.float32, [None, 3 * 6 * 6])
        features = tf.reshape(crops, [-1, 3, 6, 6])  # of a net that leaves the crops as they are
        values, labels = compute_features(session, crops, features, dataset, seed=5)
    assert (len(values), len(labels), values.dtype) == (expected, expected, np.float16)
    for step, mirrored in ((0, [False] * 32), (1, [False] * 16 + [True] * 16)):
        indices = batch_indices(48, 32, 5, step)
        top, left, _ = random_offsets(32, 3, False, 5, step)
        crops = crop_and_flip(dataset.train.records[indices], 8, 6, top, left, np.array(mirrored))
        part = slice(32 * step, 32 * (step + 1))
        np.testing.assert_array_equal(values[part].reshape(32, -1), crops)
        np.testing.assert_array_equal(labels[part], dataset.train.labels[indices])
