"""settings.json, checked for what could hurt: the file may come from anyone, with any content.

Whatever else uses the settings may rely on them: values have their types, and the net that they
describe can be built in a few hundred megabytes.
"""

import re
from typing import Any

from imagenet import DEFAULT_NET, SMALLEST_CROP

MAX_DIM = 640  # side of a stored image, in pixels
MAX_CLASSES = 25_000  # the largest data set in wide use, ImageNet-21k, has 21,841
MAX_FIRE_MODULES = 32  # the paper's nets have 8
MAX_DEPTH = 1_024  # filters of a layer; the paper's nets have 256 and the sweep of ratios 1,024
# Values that a fire module puts out for one image, 64 MB: enough for the chapter's depths and the
# largest images, or for MAX_DEPTH and smaller ones, but not for both.
MAX_OUTPUTS = 16_000_000
FIRE_STACKS = ("fire_params_1", "fire_params_2")
# What TensorFlow takes as the name of a scope, without the slashes that would nest it.
SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.-]{0,63}")
# The types of the settings that are used when a saved run is read.
TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("dataset", "images", "net", "recipe", "precision"), str),
    **dict.fromkeys(("data_dir", "init_from", "source"), (str, type(None))),
    **dict.fromkeys(("class_names", *FIRE_STACKS), list),
    **dict.fromkeys(("original_dim", "resize_dim", "total_steps", "batch_size", "seed"), int),
    "held_out": (int, type(None)),
    **dict.fromkeys(("learning_rate", "num_epochs"), (int, float)),
    **dict.fromkeys(("class_weights", "no_flip"), bool),
}

# What was so in all runs of earlier versions, which did not record it.
EARLIER: dict[str, Any] = {
    **{"net": DEFAULT_NET, "precision": "float32"},
    **{"class_weights": False, "no_flip": False},
}


def check_settings(settings: object) -> dict:
    """The settings of a run, as parsed from JSON, if they describe a net of bounded size; with
    those that an earlier version did not record.

    Raises ValueError, which says what is wrong with which setting.
    """
    if not isinstance(settings, dict):
        raise ValueError("it is not a JSON object")
    settings = EARLIER | settings
    net = settings["net"]
    stacks = FIRE_STACKS if net == DEFAULT_NET else ()
    required = {"dataset", "class_names", "original_dim", "resize_dim", *stacks}
    for name, types in TYPES.items():
        if name in required.union(settings) and not isinstance(settings.get(name), types):
            raise ValueError(f"{name} is {settings.get(name)!r:.80}")
    for name, value in settings.items():
        if type(value) in (int, float) and not abs(value) <= 2.0**53:  # above, they are inexact
            raise ValueError(f"{name[:80]!r} is not a plausible number")
    if net not in SMALLEST_CROP:
        raise ValueError(f"net is {net[:80]!r}, not one of {', '.join(SMALLEST_CROP)}")
    original_dim, resize_dim = settings["original_dim"], settings["resize_dim"]
    if not SMALLEST_CROP[net] <= resize_dim <= original_dim <= MAX_DIM:
        raise ValueError(f"{net} cannot see {resize_dim} of {original_dim} pixels")
    names = settings["class_names"]
    is_name = [isinstance(name, str) and 0 < len(name) <= 255 for name in names]  # as of a folder
    if not (0 < len(names) <= MAX_CLASSES and all(is_name) and len(set(names)) == len(names)):
        raise ValueError(f"class_names are not 1 to {MAX_CLASSES:,} different names")
    "".join(names).encode()  # raises UnicodeEncodeError, which is a ValueError
    modules = [module for stack in FIRE_STACKS for module in settings.get(stack, [])]
    check_fire_modules(modules, resize_dim)
    return settings


def check_fire_modules(modules: list, resize_dim: int) -> None:
    """Raises ValueError unless they are modules that fit into memory for crops of resize_dim."""
    for module in modules:
        if not is_fire_module(module):
            raise ValueError(f"{str(module)[:80]} is not a fire module")
        if 2 * module[1] * (resize_dim // 2) ** 2 > MAX_OUTPUTS:
            raise ValueError(f"{module} is too large for images of {resize_dim} pixels")
    if not len({name for *_, name in modules}) == len(modules) <= MAX_FIRE_MODULES:
        raise ValueError(f"there are more than {MAX_FIRE_MODULES} fire modules, or two of a name")


def is_fire_module(module: object) -> bool:
    """Whether it is [squeeze_depth, expand_depth, name], as far as these make sense."""
    return (
        isinstance(module, list)
        and list(map(type, module)) == [int, int, str]
        and all(0 < depth <= MAX_DEPTH for depth in module[:2])
        and SCOPE.fullmatch(module[2]) is not None
    )
