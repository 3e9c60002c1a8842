"""From what a run has saved of itself to its net, its checkpoint and its images."""

import os
from pathlib import Path
from typing import NamedTuple

import data
from base import UserError
from base.program import report
from data import Dataset
from imagenet import is_published
from imagenet.nets import NETS
from saved.checkpoints import intact_checkpoint, newest_checkpoint
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

    The path is a run's folder, a checkpoint in it (any of its files, or its path without
    extension), or whatever `imported_run` accepts. Raises UserError if there is no run, or no
    intact checkpoint.
    """
    run_dir = path if path.is_dir() else path.parent
    check_name(run_dir)
    is_weights = path.suffix.lower() == ".npz" or is_published(path)  # even in the folder of a run
    settings = None if is_weights else read_settings(run_dir)
    if settings is None:
        return load_run(imported_run(path))._replace(path=path, output_dir=Path("runs", path.stem))
    checkpoint = newest_checkpoint(run_dir) if path.is_dir() else intact_checkpoint(path)
    if checkpoint is None:
        raise UserError(f"{run_dir}: holds no intact checkpoint; train first.")
    return Run(settings, restore_model(settings), checkpoint, path, output_dir(run_dir))


def restore_model(settings: dict) -> SqueezeNetModel:
    """The model that a run's settings, which are checked, describe."""
    model = NETS[settings["net"]](
        settings["original_dim"], settings["resize_dim"], len(settings["class_names"])
    )
    for name in FIRE_STACKS:
        if name in settings:
            setattr(model, name.upper(), tuple(map(tuple, settings[name])))
    return model


def load_dataset(
    settings: dict, data_dir: Path | None = None, may_download: bool = True
) -> Dataset:
    """The data set that a run was trained on, with the same images held out.

    data_dir has the images' files, or your own photos, if they are not where the settings say.
    Nothing is ever downloaded into a folder that is given or recorded. Raises UserError if the
    images are missing, cannot be read, or have other classes now.
    """
    name, saved_dir = settings["dataset"], settings.get("data_dir")
    classes, dim = settings["class_names"], settings["original_dim"]
    if name in data.NAMES:
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
        dataset = data.load(folder, dims=(dim, settings["resize_dim"]))
    if (list(dataset.class_names), dataset.original_dim) != (classes, dim):
        raise UserError(
            f"{data_dir or name}: has the classes {', '.join(dataset.class_names):.200} at "
            f"{dataset.original_dim} pixels, but the run was trained on {', '.join(classes):.200} "
            f"at {dim}; give the folder of those with --data_dir."
        )
    if dataset.digest and settings.get("images") not in (None, dataset.digest):
        report(f"{dataset.name}: the images are not those that the run was trained on")
    held_out = settings.get("held_out")
    return data.hold_out(dataset, held_out) if held_out else dataset
