"""settings.json as a whole: what describes a net of bounded size is taken, all else is named."""

import pytest

from base.files import read_json
from command.flags import MIN_DIM
from imagenet import SMALLEST_CROP
from imagenet.nets import NETS, describe
from saved.run import restore_model
from saved.run_dir import PRETRAINED
from saved.settings import EARLIER, check_settings
from squeezenet_model import tf

VALID = read_json(PRETRAINED / "settings.json")


def changed(**changes):
    """Valid settings with some changed; `...` stands for one that is missing."""
    return {name: value for name, value in (VALID | changes).items() if value is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_names": ["only"]},
        {"class_names": [f"class {i}" for i in range(21_841)]},
        {"class_names": ["猫", "a\nb", "😀", " "]},
        {"original_dim": 5, "resize_dim": 4},
        {"original_dim": 640, "resize_dim": 480},
        {"fire_params_1": [], "fire_params_2": []},
        {"fire_params_2": [[1_024, 128, "fire.3-a"]]},
        {"held_out": ..., "recipe": ..., "total_steps": ..., "seed": ...},
        {"net": "squeezenet1_1", "original_dim": 256, "resize_dim": 224, "fire_params_1": ...},
        {"dataset": "/home/someone/\udcff", "data_dir": "/etc", "held_out": 1},
        {"of_another_version": [1, 2.5, "text", None, True]},
    ],
)
def test_those_of_a_run_are_taken(changes):
    settings = changed(**changes)
    assert check_settings(settings) == EARLIER | settings


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("original_dim", [10**30, 32.0, "32", None, ...]),
        ("resize_dim", [1e300, [24], ...]),
        ("class_names", [[], [1, 2], [["a"]], ["a", "a"], ["a", ""], ["x" * 256], "ab", {}, ...]),
        ("class_names", [[str(index) for index in range(25_001)]]),
        ("fire_params_1", [None, {}, ...]),
        ("net", ["resnet", [], None, {}]),
        ("dataset", [1, None, ...]),
        ("data_dir", [7, ["/"]]),
        ("held_out", ["300", 10**30]),
        ("num_epochs", ["25", float("nan"), float("inf"), 1e300]),
        ("unknown", [10**400, float("nan")]),
    ],
)
def test_each_that_makes_no_sense_is_named(name, values):
    for value in values:
        with pytest.raises(ValueError, match=name) as raised:
            check_settings(changed(**{name: value}))
        assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "modules",
    [
        *([module] for module in (1, [1, 2], [1, 2, 3], {}, "abc")),
        *([[32, 64, name]] for name in ("", "a b", "a/b", "_a", "é", "x" * 65)),
        *([[depth, 64, "f"]] for depth in (-32, 0, 1_025, 1.5, "32")),
        *([[32, depth, "f"]] for depth in (0, 10**30)),
        [[32, 64, "fire3"]],  # which fire_params_2 has, too
        [[32, 64, f"f{index}"] for index in range(33)],
    ],
)
def test_fire_modules_that_make_no_sense_are_refused(modules):
    with pytest.raises(ValueError, match="fire module") as raised:
        check_settings(changed(fire_params_1=modules))
    assert len(str(raised.value)) < 300


def test_a_net_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match="too large for images of 480 pixels"):
        check_settings(
            changed(original_dim=640, resize_dim=480, fire_params_1=[[1, 1_024, "wide"]])
        )


@pytest.mark.parametrize("net", NETS)
def test_crops_are_at_least_as_large_as_the_net_needs(net):
    def build(dim):
        with tf.Graph().as_default():
            NETS[net](dim, dim, 10).model_layers(tf.zeros([1, dim, dim, 3]), is_training=False)

    smallest = SMALLEST_CROP[net]
    build(smallest)
    with pytest.raises(ValueError, match=r"[Nn]egative dimension"):
        build(smallest - 1)
    check_settings(changed(net=net, original_dim=smallest, resize_dim=smallest))
    for dims in ((smallest, smallest - 1), (smallest, smallest + 1), (641, 32), (-1, -1)):
        with pytest.raises(ValueError, match=f"{net} cannot see {dims[1]} of {dims[0]} pixels"):
            check_settings(changed(net=net, original_dim=dims[0], resize_dim=dims[1]))


def test_the_smallest_photos_have_the_smallest_crop():
    assert round(0.75 * MIN_DIM) == SMALLEST_CROP["squeezenet"] > round(0.75 * (MIN_DIM - 1))


@pytest.mark.parametrize("net", NETS)
def test_a_net_that_is_described_is_restored(net):
    settings = changed(**describe(NETS[net](256, 224, 10)))
    model = restore_model(check_settings(settings))
    assert type(model) is NETS[net]
    assert (model.original_dim, model.resize_dim, model.output_size) == (256, 224, 10)


def test_fire_modules_are_those_of_the_settings():
    model = restore_model(check_settings(changed(net=..., fire_params_2=[[8, 16, "last"]])))
    with tf.Graph().as_default():
        model.model_layers(tf.placeholder(tf.float32, [None, 24, 24, 3]), is_training=False)
        shapes = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
    assert shapes["last/squeeze/kernel"] == [1, 1, 128, 8]
    assert "fire3/squeeze/kernel" not in shapes
