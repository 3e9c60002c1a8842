"""settings.json, checked as a whole: the file may come from anyone, with any content.

Whatever else uses the settings may rely on them: numbers are finite, text is short, and the net
that they describe can be built in a few hundred megabytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Side of a stored image in pixels, and of the crop of it that the net sees, three quarters. The
# smallest are those that the net can halve twice; with the largest, classifying several images at
# once stays below 1 GB.
LEAST_DIM, MOST_DIM = 5, 640
LEAST_CROP, MOST_CROP = 4, 480
MOST_CLASSES = 25_000  # the largest data set in wide use, ImageNet-21k, has 21,841
MOST_LETTERS = 255  # of a class's name: what a folder's name may have
MOST_PATH_LETTERS = 4_096
MOST_FIRE_MODULES = 32  # in either stack; the paper's nets have 8 in all
MOST_DEPTH = 1_024  # filters of a layer; the paper's nets have 256 and the sweep of ratios 1,024
# Values that a fire module puts out for one image, 64 MB: enough for the chapter's depths and crops
# of MOST_CROP, or for MOST_DEPTH and smaller ones, but not for both.
MOST_OUTPUTS = 16_000_000
MOST_NUMBER = 2.0**53  # above, JSON's numbers are no longer exact
# The nets, the chapter's first, with the smallest crop that each can halve as often as it does.
NETS = {"squeezenet": LEAST_CROP, "squeezenet1_0": 21, "squeezenet1_1": 17}
DEFAULT_NET = "squeezenet"
FIRE_STACKS = ("fire_params_1", "fire_params_2")
REQUIRED = ("dataset", "class_names", "original_dim", "resize_dim")
# What TensorFlow takes as the name of a scope, without the slashes that would nest it.
SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.-]{0,63}")


def validated(settings: object) -> dict:
    """The settings of a run, as parsed from JSON, if they make sense.

    Settings that a run can be read without may be missing, and others may be there, as another
    version of the program may have written the file; but not with values of any size.

    Raises:
      ValueError: says what is wrong with which setting, to follow the file's name.
    """
    if not isinstance(settings, dict):
        raise ValueError("it is not a JSON object")
    for name, (is_valid, expected) in CHECKS.items():
        if name in settings and not is_valid(settings[name]):
            raise ValueError(f"{name} is not {expected}")
    required = REQUIRED
    if settings.get("net", DEFAULT_NET) == DEFAULT_NET:
        required += FIRE_STACKS  # in the others, they are fixed
    for name in required:
        if name not in settings:
            raise ValueError(f"{name} is missing")
    for name in settings.keys() - CHECKS.keys():
        if not (is_text(name) and is_short(settings[name])):
            raise ValueError(f"{name[:MOST_LETTERS]!a} is not a setting that a run can have")
    check_sizes(settings)
    return settings


def check_sizes(settings: dict) -> None:
    """Raises ValueError for valid settings that do not describe a net together."""
    resize_dim = settings["resize_dim"]
    if resize_dim > settings["original_dim"]:
        raise ValueError("resize_dim is larger than original_dim")
    if resize_dim < NETS[settings.get("net", DEFAULT_NET)]:
        raise ValueError("resize_dim is too small for the net")
    modules = [module for stack in FIRE_STACKS for module in settings.get(stack, ())]
    names = [name for _, _, name in modules]
    if len(set(names)) < len(names):
        raise ValueError("fire_params_1 and fire_params_2 name a module twice")
    outputs = max([2 * depth for _, depth, _ in modules], default=0) * (resize_dim // 2) ** 2
    if outputs > MOST_OUTPUTS:
        raise ValueError("fire_params_1 and fire_params_2 are too large for images of resize_dim")


def is_whole(least: int, most: int) -> Callable[[object], bool]:
    """A check: whether a value is a whole number from least to most."""
    return lambda value: type(value) is int and least <= value <= most


def is_number(value: object) -> bool:
    """Whether a value is a finite number that JSON keeps exactly."""
    return type(value) in (int, float) and abs(value) <= MOST_NUMBER


def is_positive(value: object) -> bool:
    """Whether a value is such a number above 0."""
    return is_number(value) and value > 0


def is_text(value: object, most: int = MOST_LETTERS) -> bool:
    """Whether a value is text of a bounded length, but not empty, that UTF-8 can encode."""
    try:
        return isinstance(value, str) and 0 < len(value) <= most and bool(value.encode())
    except UnicodeEncodeError:
        return False


def is_path(value: object) -> bool:
    """Whether a value may be the path of a file, whose name need not be in UTF-8."""
    return isinstance(value, str) and 0 < len(value) <= MOST_PATH_LETTERS and "\0" not in value


def is_class_names(value: object) -> bool:
    """Whether a value lists the names of classes."""
    return (
        isinstance(value, list)
        and 1 <= len(value) <= MOST_CLASSES
        and all(map(is_text, value))
        and len(set(value)) == len(value)
    )


def is_fire_params(value: object) -> bool:
    """Whether a value lists fire modules: (squeeze_depth, expand_depth, name)."""
    is_depth = is_whole(1, MOST_DEPTH)
    return (
        isinstance(value, list)
        and len(value) <= MOST_FIRE_MODULES
        and all(isinstance(module, list) and len(module) == 3 for module in value)
        and all(is_depth(squeeze) and is_depth(expand) for squeeze, expand, _ in value)
        and all(isinstance(name, str) and SCOPE.fullmatch(name) for _, _, name in value)
    )


def is_short(value: object) -> bool:
    """Whether a value, of an unknown setting, is a number, a short text, or a list of a few."""
    if isinstance(value, list):
        return len(value) <= MOST_FIRE_MODULES and all(map(is_short_item, value))
    return is_short_item(value)


def is_short_item(value: object) -> bool:
    """Whether a value is null, true, false, a number, or a short text."""
    is_empty = value is None or value == ""
    return is_empty or isinstance(value, bool) or is_number(value) or is_path(value)


def or_null(is_valid: Callable[[object], bool]) -> Callable[[object], bool]:
    """The same check, but null passes it."""
    return lambda value: value is None or is_valid(value)


COUNT = (is_whole(1, 2**53), "a whole number above 0")
FLAG = (lambda value: isinstance(value, bool), "true or false")
PATH = (or_null(is_path), f"a path of up to {MOST_PATH_LETTERS:,} letters")
FIRE_PARAMS = (
    is_fire_params,
    f"a list of up to {MOST_FIRE_MODULES} fire modules, each [squeeze_depth, expand_depth, name] "
    f"with depths of 1 to {MOST_DEPTH:,} and the name of a variable scope",
)
# Each setting's check, and what to call a valid value.
CHECKS = {
    "dataset": (is_path, "the name of a data set"),
    "class_names": (
        is_class_names,
        f"a list of 1 to {MOST_CLASSES:,} different names of up to {MOST_LETTERS} letters",
    ),
    "net": (lambda value: value in list(NETS), f"one of {', '.join(NETS)}"),
    "original_dim": (
        is_whole(LEAST_DIM, MOST_DIM),
        f"a whole number from {LEAST_DIM} to {MOST_DIM:,}",
    ),
    "resize_dim": (
        is_whole(LEAST_CROP, MOST_CROP),
        f"a whole number from {LEAST_CROP} to {MOST_CROP:,}",
    ),
    **dict.fromkeys(FIRE_STACKS, FIRE_PARAMS),
    **dict.fromkeys(
        ("batch_size", "total_steps", "eval_every", "num_towers", "num_workers", "num_tasks"), COUNT
    ),
    "held_out": (or_null(COUNT[0]), COUNT[1]),
    "seed": (is_whole(0, 2**31 - 1), "a whole number from 0 to 2,147,483,647"),
    **dict.fromkeys(("warm_up_steps", "num_gpus"), (is_whole(0, 2**53), "a whole number")),
    **dict.fromkeys(
        ("num_epochs", "learning_rate", "squeeze_ratio"), (is_positive, "a number above 0")
    ),
    "recipe": (is_text, "the name of a recipe"),
    **dict.fromkeys(("summarize_layers", "profile"), FLAG),
    **dict.fromkeys(("class_weights", "skip_damaged"), FLAG),
    **dict.fromkeys(("data_dir", "init_from", "run_dir"), PATH),
}
