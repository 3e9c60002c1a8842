"""From what a run has saved of itself to its net, its checkpoint and its images."""

import os
from pathlib import Path
from typing import NamedTuple

import data
from base import UserError
from data import Dataset
from imagenet import DEFAULT_NET, is_published
from imagenet.nets import NETS
from saved.checkpoints import find_damage, newest_checkpoint, without_ending
from saved.imported import imported_run
from saved.run_dir import check_name, output_dir, read_settings
from saved.settings import FIRE_STACKS
from squeezenet_model import SqueezeNetModel


class Run(NamedTuple):
    """A run that was saved."""

    settings: dict  # what its settings.json holds
    model: SqueezeNetModel  # the net that they describe
    checkpoint: str  # path without extension
    path: Path  # what the user has called it
    output_dir: Path  # where to put what is made of it


def load_run(path: Path) -> Run:
    """Finds what a user means by a run, and its checkpoint: by default the newest.

    Args:
      path: a run's folder, or a checkpoint in it (any of its files, or its path without extension);
        or whatever `imported_run` accepts.

    Raises:
      UserError: there is no run, or no intact checkpoint.
    """
    run_dir = path if path.is_dir() else path.parent
    check_name(run_dir)
    is_weights = path.suffix == ".npz" or is_published(path)
    settings = None if is_weights else read_settings(run_dir)
    is_imported = settings is None
    if settings is None and (found := imported_run(path)):
        run_dir, settings = found, read_settings(found)
    if settings is None:
        raise UserError(
            f"{path}: is neither the folder of a run nor a checkpoint in one; give one that is."
        )
    if is_imported or path.is_dir():
        checkpoint = newest_checkpoint(run_dir)
        if checkpoint is None:
            raise UserError(f"{run_dir}: holds no intact checkpoint; train first.")
    else:
        checkpoint = without_ending(path)
        if damage := find_damage(checkpoint):
            raise UserError(
                f"{checkpoint}: is not an intact checkpoint ({damage}); give another one."
            )
    output = Path("runs", path.stem) if is_imported else output_dir(run_dir)
    return Run(settings, restore_model(settings), checkpoint, path, output)


def restore_model(settings: dict) -> SqueezeNetModel:
    """The model that a run's settings, which are checked, describe."""
    net = NETS[settings.get("net", DEFAULT_NET)]
    classes = len(settings["class_names"])
    model = net(settings["original_dim"], settings["resize_dim"], classes)
    for name in FIRE_STACKS:
        if name in settings:
            setattr(model, name.upper(), tuple(map(tuple, settings[name])))
    return model


def load_dataset(
    settings: dict, data_dir: Path | None = None, may_download: bool = True
) -> Dataset:
    """The data set that a run was trained on, with the same images held out.

    Args:
      settings: what the run's settings.json holds. The folders that it names are only hints.
      data_dir: folder of the images' files, or of your own photos, if they have moved.
      may_download: whether files that are not there may be downloaded; never into a given folder.

    Raises:
      UserError: the images are missing, cannot be read, or have other classes now.
    """
    name, saved_dir = settings["dataset"], settings.get("data_dir")
    if name in data.names():
        if data_dir is None and saved_dir and os.path.isdir(saved_dir):
            data_dir = Path(saved_dir)
        dataset = data.load(name, data_dir, may_download and data_dir is None)
    else:
        folder = os.path.abspath(data_dir or name)
        if not os.path.isdir(folder):
            raise UserError(
                f"{folder}: the photos that the run was trained on are not there; give their "
                "folder with --data_dir."
            )
        dataset = data.load(folder, dims=(settings["original_dim"], settings["resize_dim"]))
    classes, dim = settings["class_names"], settings["original_dim"]
    if (list(dataset.class_names), dataset.original_dim) != (classes, dim):
        raise UserError(
            f"{data_dir or name}: has the classes {', '.join(dataset.class_names):.200} at "
            f"{dataset.original_dim} pixels, but the run was trained on {', '.join(classes):.200} "
            f"at {dim}; give the folder of those with --data_dir."
        )
    held_out = settings.get("held_out")
    return data.hold_out(dataset, held_out) if held_out else dataset
