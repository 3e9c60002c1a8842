"""settings.json as a whole: what describes a net of bounded size is taken, all else is named."""

import pytest

from base.files import read_json
from command.flags import MIN_DIM
from imagenet import SMALLEST_CROP
from imagenet.nets import NETS, describe, variable_shapes
from saved.run import restore_model
from saved.run_dir import PRETRAINED
from saved.settings import EARLIER, check_settings
from tests.small_nets import SmallNet

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
        *(
            {"net": net, "original_dim": smallest, "resize_dim": smallest}
            for net, smallest in SMALLEST_CROP.items()
        ),
    ],
)
def test_those_of_a_run_are_taken(changes):
    settings = changed(**changes)
    assert check_settings(settings) == EARLIER | settings


NOT_PLAUSIBLE = {
    "original_dim": [10**30, 32.0, "32", None, ...],
    "resize_dim": [1e300, [24], ...],
    "class_names": [
        *([], [1, 2], [["a"]], ["a", "a"], ["a", ""], ["x" * 256], "ab", {}, ...),
        [str(index) for index in range(25_001)],
    ],
    "fire_params_1": [None, {}, ...],
    "net": ["resnet", [], None, {}],
    "dataset": [1, None, ...],
    "data_dir": [7, ["/"]],
    "held_out": ["300", 10**30],
    "num_epochs": ["25", float("nan"), float("inf"), 1e300],
    "unknown": [10**400, float("nan")],
}
NO_FIRE_MODULES = [
    *([module] for module in (1, [1, 2], [1, 2, 3], {}, "abc")),
    *([[32, 64, name]] for name in ("", "a b", "a/b", "_a", "é", "x" * 65)),
    *([[depth, 64, "f"]] for depth in (-32, 0, 1_025, 1.5, "32")),
    *([[32, depth, "f"]] for depth in (0, 10**30)),
    [[32, 64, "fire3"]],  # which fire_params_2 has, too
    [[32, 64, f"f{index}"] for index in range(33)],
]
LARGE = {"original_dim": 640, "resize_dim": 480}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *(({name: value}, name) for name, values in NOT_PLAUSIBLE.items() for value in values),
        *(({"fire_params_1": modules}, "fire module") for modules in NO_FIRE_MODULES),
        # A net that would fill the memory.
        (LARGE | {"fire_params_1": [[1, 1_024, "wide"]]}, "too large for images of 480 pixels"),
        *(
            (
                {"net": net, "original_dim": original_dim, "resize_dim": resize_dim},
                f"{net} cannot see {resize_dim} of {original_dim} pixels",
            )
            for net, smallest in SMALLEST_CROP.items()
            for original_dim, resize_dim in (
                *((smallest, smallest - 1), (smallest, smallest + 1), (641, 32), (-1, -1)),
            )
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_each_that_makes_no_sense_is_named(changes, words):
    with pytest.raises(ValueError, match=words) as raised:
        check_settings(changed(**changes))
    assert len(str(raised.value)) < 300


def test_the_smallest_photos_have_the_smallest_crop():
    assert round(0.75 * MIN_DIM) == SMALLEST_CROP["squeezenet"] > round(0.75 * (MIN_DIM - 1))


@pytest.mark.parametrize(
    ("net", "name"), [*((net, name) for name, net in NETS.items()), (SmallNet, "squeezenet")]
)
def test_a_net_that_is_described_is_restored(net, name):
    model = restore_model(check_settings(changed(**describe(net(256, 224, 10)))))
    assert type(model) is NETS[name]
    assert (model.original_dim, model.resize_dim, model.output_size) == (256, 224, 10)
    assert variable_shapes(lambda *dims: model, 10) == variable_shapes(net, 10)
