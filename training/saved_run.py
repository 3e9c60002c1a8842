"""From a data set, or from what a run has saved of itself, to its net and its checkpoint."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import data
from data import DataError, Dataset, Split
from imagenet import PUBLISHED
from imagenet.nets import NETS, describe
from squeezenet_model import SqueezeNetModel
from training import RunError
from training.checkpoints import find_damage, newest_checkpoint, without_ending
from training.imported_run import bare_checkpoint, published_run, temporary_run
from training.recipe import Schedule
from training.run_dir import check_name, is_own, output_dir, read_settings
from training.settings import DEFAULT_NET, FIRE_STACKS

MOST_LISTED = 12  # classes in a message
CIFAR10_CROP = 24  # side of what the net sees of an image of CIFAR-10, in pixels


def build_model(dataset: Dataset, net: str = DEFAULT_NET) -> SqueezeNetModel:
    """A net for the images and classes of a data set.

    Args:
      net: its name in `imagenet.nets.NETS`; by default the chapter's.
    """
    return NETS[net](dataset.original_dim, dataset.resize_dim, len(dataset.class_names))


def settings_of(
    dataset_name: str,
    dataset: Dataset,
    model: SqueezeNetModel,
    schedule: Schedule,
    run_dir: Path,
    **others,
) -> dict:
    """What settings.json holds: the net and the classes a checkpoint fits, and the schedule.

    Args:
      others: what else the run depends on, in values that JSON has.
    """
    return {
        **describe(model),
        "dataset": dataset_name,
        "class_names": list(dataset.class_names),
        **dataclasses.asdict(schedule),
        "recipe": schedule.recipe.name,
        "run_dir": str(run_dir),
        **others,
    }


def restore_model(settings: dict) -> SqueezeNetModel:
    """The model that a run's settings, which are valid, describe."""
    net = NETS[settings.get("net", DEFAULT_NET)]
    classes = len(settings["class_names"])
    model = net(settings["original_dim"], settings["resize_dim"], classes)
    for name in FIRE_STACKS:
        if name in settings:
            setattr(model, name.upper(), tuple(map(tuple, settings[name])))
    return model


def batch_size_for(model: SqueezeNetModel, most: int) -> int:
    """How many images to evaluate at once: most at CIFAR-10's size, fewer of larger ones."""
    return max(1, min(most, most * CIFAR10_CROP**2 // model.resize_dim**2))


class Run(NamedTuple):
    """A run that was saved.

    Attributes:
      settings: what its settings.json holds.
      model: the net that they describe.
      checkpoint: path without extension.
      path: what the user has called it.
      output_dir: where to put what is made of it.
    """

    settings: dict
    model: SqueezeNetModel
    checkpoint: str
    path: Path
    output_dir: Path


def load_net(run_dir: Path, path: Path | None = None) -> tuple[dict, SqueezeNetModel]:
    """The settings of the run in a folder, and the net that they describe.

    Args:
      run_dir: the folder.
      path: what the user has called it.

    Raises:
      RunError: there is no run.
    """
    check_name(run_dir)
    settings = read_settings(run_dir)
    if settings is None:
        raise RunError(
            f"{path or run_dir}: is neither the folder of a run nor a checkpoint in one; give one "
            "that is."
        )
    return settings, restore_model(settings)


def find_run(path: Path, net: str | None = None) -> Path:
    """The run, as a folder or a checkpoint in one, that a user means by a path or a name.

    Args:
      path: a run's folder or a checkpoint in it (any of its files, or the path without extension);
        or what is made into a run first: a name in `imagenet.PUBLISHED`, a .npz file of weights, a
        checkpoint of another TF1 program (or the folder that holds it).
      net: the net that it must be of, a name in `imagenet.nets.NETS`; None for any.

    Raises:
      DataError, RunError: there is no such run, or it is of another net.
    """
    if str(path) in PUBLISHED and not path.exists():
        path = published_run(str(path))
    elif path.suffix == ".npz":
        return temporary_run(path, net)
    run_dir = path if path.is_dir() else path.parent
    check_name(run_dir)
    settings = read_settings(run_dir)
    if settings is None:
        return temporary_run(path, net) if bare_checkpoint(path) else path
    if net not in (None, settings.get("net", DEFAULT_NET)):
        raise RunError(
            f"--net {net}: the run in {run_dir} is of the net {settings.get('net', DEFAULT_NET)}; "
            "leave --net out."
        )
    return path


def load_run(path: Path, net: str | None = None) -> Run:
    """Finds what a user means by a run, and its checkpoint: by default the newest.

    Args:
      path, net: as for `find_run`.

    Raises:
      DataError, RunError: there is no run, no intact checkpoint, or it is of another net.
    """
    found = find_run(path, net)
    checkpoint = None
    run_dir = found
    if not found.is_dir():
        run_dir, checkpoint = found.parent, without_ending(found)
    settings, model = load_net(run_dir, path)
    if checkpoint is None:
        checkpoint = newest_checkpoint(run_dir)
        if checkpoint is None:
            raise RunError(f"{run_dir}: holds no intact checkpoint; train first.")
    elif damage := find_damage(checkpoint):
        raise RunError(f"{checkpoint}: is not an intact checkpoint ({damage}); give another one.")
    output = output_dir(run_dir) if found == path else Path("runs", path.stem)
    return Run(settings, model, checkpoint, path, output)


def load_dataset(
    settings: dict,
    data_dir: Path | None = None,
    may_download: bool = True,
    run_dir: Path | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """The data set that a run was trained on.

    Args:
      settings: what the run's settings.json holds.
      data_dir: folder of the images' files, or of your own images, if they have moved.
      may_download: whether files that are not there may be downloaded; never into data_dir, or a
        folder that the settings name.
      run_dir: folder of the run. The folders of images that its settings name are used only if
        this user's own command wrote them there; otherwise they could be anyone's choice.
      skip_damaged: whether to leave out damaged images of your own, even if the run did not.

    Raises:
      DataError: the images are missing, or cannot be read.
      RunError: they have other classes now.
    """
    uses_saved = data_dir is None and run_dir is not None and is_own(run_dir)
    name, saved_dir = settings["dataset"], settings.get("data_dir")
    is_a_folder = name not in data.names()
    if is_a_folder:  # own images, which may have moved
        if data_dir is None and not uses_saved:
            raise DataError(
                "the run comes from elsewhere, so the folder of images named in its settings.json "
                "is not used; give their folder with --data_dir."
            )
        argument = None if data_dir is None else "data_dir"
        # Not the name alone, which a built-in data set may have as well.
        name, data_dir = os.path.join(os.curdir, data_dir or name), None
        if not os.path.isdir(name):
            raise DataError(
                f"{data.printable(name)}: the images that the run was trained on are not there; "
                f"give their folder{'' if argument else ' with --data_dir'}.",
                argument,
            )
        skip_damaged = skip_damaged or settings.get("skip_damaged", False)
    elif uses_saved and saved_dir and Path(saved_dir).is_dir():
        data_dir = Path(saved_dir)
    may_download = may_download and data_dir is None
    try:
        dataset = data.load(
            *(name, data_dir, may_download, settings["original_dim"], settings["resize_dim"]),
            skip_damaged,
        )
    except DataError as error:
        if is_a_folder and error.argument == "name":
            error.argument, error.instead = argument, None
        raise
    if list(dataset.class_names) != settings["class_names"]:
        raise RunError(
            f"{name}: has the classes {listed(dataset.class_names)}, but the run was trained on "
            f"{listed(settings['class_names'])}; give the folder of those with --data_dir."
        )
    return dataset


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = [f"{len(names) - MOST_LISTED:,} more"] if len(names) > MOST_LISTED else []
    return ", ".join([*names[:MOST_LISTED], *more])


def split_of(dataset: Dataset, settings: dict, name: str) -> Split:
    """The train, validation or test split, divided as in training.

    Raises:
      RunError: the run has no validation split.
    """
    if settings.get("held_out"):
        dataset = data.hold_out(dataset, settings["held_out"])
    split = getattr(dataset, name)
    if split is None:
        raise RunError("--split validation: the run has held nothing out; choose train or test.")
    return split
