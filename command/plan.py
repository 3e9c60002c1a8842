"""From the flags of train.py to the plan of a run."""

import argparse
import dataclasses
import os
from pathlib import Path

import data
from base import UserError
from cluster.config import Config
from command.flags import DEFAULT_DATASET
from data import Dataset
from imagenet import DEFAULT_NET, TRAINING_DIM, is_published
from imagenet.nets import NETS
from saved.checkpoints import find_damage
from saved.run import Run, load_run
from saved.run_dir import all_checkpoints, read_settings
from squeezenet_model import tf
from training.plan import Plan
from training.recipe import defaults_for, make_schedule

SMALL_DIM = 32  # side of a stored photo for the chapter's net, in pixels, as of CIFAR-10's images
MIN_PAPER_DIM = 64  # of a photo for the paper's nets, which halve it four times
CROP = 0.75  # how much of it the net sees, along each side: 24 of 32


def make_plan(flags: argparse.Namespace, config: Config | None) -> Plan:
    """The plan of the run that the flags ask for; config is None for a single process.

    Raises UserError if the flags, the images and the initial weights do not go together.
    """
    run_dir = run_dir_of(flags)
    saved, given = read_settings(run_dir), vars(flags)
    init_from, net = initial_run(flags, run_dir, saved)
    weights = flags.init_from
    if weights and not is_published(weights):
        weights = weights.resolve()
    dims = (saved["original_dim"], saved["resize_dim"]) if saved else None
    dataset = load_images(flags, net, dims)
    defaults = defaults_for(dataset.name, net)
    if saved:  # keeps what it was begun with, by an earlier version or on another machine
        given = given | {
            "precision": flags.precision or saved["precision"],
            "recipe": flags.recipe or saved.get("recipe"),
            "num_epochs": flags.num_epochs or max(saved.get("num_epochs", 0), defaults.num_epochs),
        }
    num_tasks = len(config.tasks) if config else 1
    is_chief = config is None or config.name == "chief"
    return Plan(
        model=NETS[net](dataset.original_dim, dataset.resize_dim, len(dataset.class_names)),
        dataset=dataset,
        schedule=make_schedule(
            len(dataset.train.labels),
            defaults,
            given,
            num_tasks,
            num_gpus=len(tf.config.list_physical_devices("GPU")),
        ),
        run_dir=run_dir if is_chief else None,
        init_from=init_from if is_chief else None,
        recorded={
            "held_out": flags.held_out,
            "init_from": weights and str(weights),
            "data_dir": flags.data_dir and os.path.abspath(flags.data_dir),
            "no_flip": flags.no_flip,
            "num_tasks": num_tasks,
        },
    )


def dataset_of(flags: argparse.Namespace) -> str:
    """The name of a built-in data set, or the full path of a folder of photos."""
    name = flags.dataset or DEFAULT_DATASET
    return name if name in data.NAMES else os.path.realpath(name)


def run_dir_of(flags: argparse.Namespace) -> Path:
    """The folder of the run; named after the data set unless --run_dir is given."""
    return flags.run_dir or Path("runs", os.path.basename(dataset_of(flags)))


def initial_run(
    flags: argparse.Namespace, run_dir: Path, saved: dict | None
) -> tuple[Run | None, str]:
    """The run that --init_from means, unless there is a checkpoint to resume from; and the net.
    (saved are the settings of the run, if it has begun.)"""
    net = saved["net"] if saved else DEFAULT_NET
    is_resumed = any(find_damage(checkpoint) is None for checkpoint in all_checkpoints(run_dir))
    if flags.init_from is None or is_resumed:
        return None, net
    run = load_run(flags.init_from)
    return run, run.settings["net"]


def load_images(
    flags: argparse.Namespace, net: str, saved_dims: tuple[int, int] | None = None
) -> Dataset:
    """The images to train and evaluate on, at the size that the net needs.

    Raises UserError if they cannot be had, or not at that size.
    """
    name, dim = dataset_of(flags), flags.original_dim
    is_built_in = name in data.NAMES
    if net == DEFAULT_NET:
        dims = (dim or SMALL_DIM, round(CROP * (dim or SMALL_DIM)))
    elif is_built_in or (dim and dim < MIN_PAPER_DIM):
        what = f"--dataset {name}" if is_built_in else f"--original_dim {dim}"
        raise UserError(
            f"{what}: does not go with {net}; give --dataset a folder of photos, and "
            f"--original_dim {MIN_PAPER_DIM} or more."
        )
    else:
        dims = (dim, dim) if dim else saved_dims or (TRAINING_DIM, TRAINING_DIM)
    dataset = data.load(name, flags.data_dir, dims=dims if dim or not is_built_in else None)
    if flags.no_flip:
        dataset = dataclasses.replace(dataset, mirrored=False)
    return data.hold_out(dataset, flags.held_out) if flags.held_out else dataset
