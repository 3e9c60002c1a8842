"""The last layer of a net with pretrained weights, fitted before the others are trained."""

import numpy as np
import pytest

from data import Dataset, Split
from evaluation.evaluator import Evaluator
from saved.run import Run
from squeezenet_model import SqueezeNetModel
from tests.conftest import short_schedule
from tests.small_nets import save_net
from training import last_layer
from training.last_layer import fit_last_layer
from training.plan import Plan


def noise(num_classes=3):
    """48 images of noise in which the values of one color are higher; its index is the label. Only
    the last image is of the last class, if there are four."""
    labels = np.arange(48, dtype=np.int32) % min(num_classes, 3)
    images = np.random.default_rng(0).integers(0, 128, [48, 3, 8, 8], np.uint8)
    images[np.arange(48), labels] += 96
    labels[-1] = num_classes - 1
    split, names = Split(images.reshape(48, -1), labels), "abcd"[:num_classes]
    return Dataset("noise", split, split, tuple(names), 8, 8, mirrored=True)


def plan_for(dataset, **changes):
    """How a net for 8 x 8 images is trained on a data set, with these changes of the schedule."""
    model = SqueezeNetModel(8, 8, len(dataset.class_names))
    return Plan(model, dataset, short_schedule(**changes), None)


@pytest.fixture
def pretrained(tmp_path, monkeypatch) -> Run:
    """A net for seven other classes."""
    # Random weights give much smaller features than pretrained ones.
    monkeypatch.setattr(last_layer, "C", 10.0)
    return save_net(tmp_path, SqueezeNetModel(8, 8, 7))


def predictions(fitted, plan, folder):
    """Of the net with this last layer, for all images; `save_net` gives it the same others."""
    with Evaluator(plan.model, plan.dataset.test) as evaluator:
        return evaluator.evaluate(save_net(folder, plan.model, fitted).checkpoint).predictions


@pytest.mark.parametrize("num_classes", [2, 3])
def test_tells_the_classes_apart(pretrained, tmp_path, num_classes):
    plan = plan_for(noise(num_classes))
    fitted = fit_last_layer(plan, pretrained.checkpoint)
    shapes = {name: (value.shape, value.dtype) for name, value in fitted.items()}
    assert shapes == {
        "final_conv/kernel": ((1, 1, 256, num_classes), np.float32),
        "final_conv/bias": ((num_classes,), np.float32),
    }
    assert np.mean(predictions(fitted, plan, tmp_path) == plan.dataset.test.labels) > 0.9


def test_a_class_of_few_images_has_as_much_of_a_say(pretrained, monkeypatch):
    monkeypatch.setattr(last_layer, "C", 1e-9)  # so that nothing but their numbers can count
    fitted = fit_last_layer(plan_for(noise(num_classes=4)), pretrained.checkpoint)
    np.testing.assert_allclose(fitted["final_conv/bias"], last_layer.BIAS, atol=0.01)


def test_a_random_subset_has_an_image_of_each_class(pretrained, monkeypatch):
    monkeypatch.setattr(last_layer, "MAX_IMAGES", 8)
    dataset = noise(num_classes=4)
    same, again, other = (
        fit_last_layer(plan_for(dataset, seed=seed), pretrained.checkpoint) for seed in (0, 0, 1)
    )
    for name, value in same.items():
        assert value.shape[-1] == 4
        assert value.tobytes() == again[name].tobytes(), name
        assert value.tobytes() != other[name].tobytes(), name
