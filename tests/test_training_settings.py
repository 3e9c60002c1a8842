"""settings.json as a whole: what makes sense is taken, all else is named."""

import copy

import pytest

from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import short_schedule
from training.run_dir import PRETRAINED, read_json
from training.saved_run import restore_model, settings_of
from training.settings import CHECKS, LEAST_DIM, validated

VALID = read_json(PRETRAINED / "settings.json")


def changed(**changes):
    """Valid settings with some changed; `...` stands for one that is missing."""
    settings = copy.deepcopy(VALID) | changes
    return {name: value for name, value in settings.items() if value is not ...}


def test_those_of_the_included_model_are_valid():
    assert validated(VALID) is VALID


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": ["only"]},
        {"class_names": [f"class {i}" for i in range(21_841)]},
        {"class_names": ["猫", "a\nb", "😀", " "]},
        {"original_dim": 5, "resize_dim": 4},
        {"original_dim": 640, "resize_dim": 480},
        {"fire_params_1": [], "fire_params_2": []},
        {"fire_params_2": [[1_024, 128, "fire.3-a"]]},
        {"held_out": ..., "recipe": ..., "total_steps": ..., "seed": ...},
        {"net": "squeezenet"},
        {"net": "squeezenet1_1", "original_dim": 256, "resize_dim": 224, "fire_params_1": ...},
        {"dataset": "/home/someone/\udcff", "data_dir": "/etc", "held_out": 1},
        {"of_another_version": [1, 2.5, "text", None, True]},
    ],
)
def test_those_of_other_runs_are_valid(changes):
    validated(changed(**changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("original_dim", value) for value in (10**30, 641, 4, 0, -1, 32.0, "32", True, None)],
        *[("resize_dim", value) for value in (33, 481, 3, 0, 1e300, [24], ...)],
        *[("class_names", value) for value in ([], [1, 2], ["a", "a"], ["a", ""], "ab", {}, None)],
        *[("class_names", value) for value in (["a"] * 2, ["x" * 256], ["\ud800"], [["a"]], ...)],
        ("class_names", [str(i) for i in range(25_001)]),
        *[("fire_params_1", value) for value in (None, {}, [[1, 2]], [[1, 2, 3]], [1], ...)],
        *[("fire_params_1", [[32, 64, name]]) for name in ("", "a b", "a/b", "_a", "é", "x" * 65)],
        *[("fire_params_2", [[depth, 64, "f"]]) for depth in (-32, 0, 1_025, 1.5, "32", True)],
        *[("fire_params_2", [[32, depth, "f"]]) for depth in (-32, 0, 1_025, 10**30)],
        ("fire_params_2", [[32, 64, "fire1"]]),  # the name of a module in fire_params_1
        ("fire_params_2", [[32, 64, f"fire{i}"] for i in range(3, 36)]),
        *[("net", value) for value in ("resnet", [], None, {})],
        *[("dataset", value) for value in ("", 1, None, "x" * 5_000, "a\0b", ...)],
        *[("data_dir", value) for value in ("", 7, ["/"], "a\0b")],
        *[("batch_size", value) for value in (0, -1, 1.5, "128", 2**60, True)],
        *[("seed", value) for value in (-1, 2**31, "0", None)],
        *[("held_out", value) for value in (0, -5, "300", False)],
        *[("num_epochs", value) for value in (0, -1, float("nan"), float("inf"), 1e300, "25")],
        *[("recipe", value) for value in (3, None, "", "x" * 300)],
        *[("summarize_layers", value) for value in (0, "no", None)],
        *[("unknown", value) for value in ({}, [[]], "x" * 5_000, 10**400, float("nan"), [1] * 99)],
    ],
)
def test_each_that_makes_no_sense_is_named(name, value):
    with pytest.raises(ValueError, match=name) as raised:
        validated(changed(**{name: value}))
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("settings", [None, [], "", 7, {}])
def test_something_else_is_not_taken_for_settings(settings):
    with pytest.raises(ValueError, match=r"not a JSON object|missing"):
        validated(settings)


def test_a_net_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match="too large for images of resize_dim"):
        validated(changed(original_dim=640, resize_dim=480, fire_params_1=[[1, 1_024, "wide"]]))


@pytest.mark.parametrize("net", ["squeezenet1_0", "squeezenet1_1"])
def test_a_crop_that_the_papers_nets_cannot_halve_is_refused(net):
    with pytest.raises(ValueError, match="resize_dim is too small for the net"):
        validated(changed(net=net, original_dim=16, resize_dim=16))


class TestTheSmallestImages:
    def build(self, original_dim):
        model = SqueezeNetModel(original_dim, round(0.75 * original_dim), 10)
        with tf.Graph().as_default():
            images = tf.placeholder(tf.float32, [None, model.resize_dim, model.resize_dim, 3])
            return model.model_layers(images, is_training=False)

    def test_are_the_smallest_that_the_net_can_be_built_for(self):
        assert self.build(LEAST_DIM).shape.as_list() == [None, 10]
        with pytest.raises(ValueError, match=r"[Nn]egative dimension"):
            self.build(LEAST_DIM - 1)


def test_the_net_that_they_describe_has_the_same_variables():
    model = restore_model(validated(changed(fire_params_2=[[8, 16, "last"]])))
    with tf.Graph().as_default():
        model.model_layers(tf.placeholder(tf.float32, [None, 24, 24, 3]), is_training=False)
        shapes = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
    assert shapes["last/squeeze/kernel"] == [1, 1, 128, 8]
    assert "fire3/squeeze/kernel" not in shapes


def test_every_setting_that_a_run_writes_is_checked(tiny_dataset, tmp_path):
    model = SqueezeNetModel(tiny_dataset.original_dim, tiny_dataset.resize_dim, 3)
    settings = settings_of("digits", tiny_dataset, model, short_schedule(), tmp_path)
    assert set(settings) <= set(CHECKS)
    validated(settings)
