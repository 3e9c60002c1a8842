"""The flags of train.py, and the schedule they ask for. No TensorFlow: `--help` must not wait."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import data
from imagenet import ORIGINAL_DIM, PUBLISHED, RESIZE_DIM
from training import RunError, recipe
from training.command import Parser, local_name, local_path, positive, seed
from training.run_dir import PRETRAINED, check_name, check_same_run, read_settings
from training.settings import DEFAULT_NET, LEAST_DIM, MOST_DIM, NETS

DEFAULT_DATASET = "digits"
# Those that say what to evaluate, and on which images; all others say how to train.
EVALUATION_FLAGS = (
    *("eval_only", "checkpoint", "split", "watch"),
    *("run_dir", "dataset", "data_dir", "skip_damaged"),
)


def parse_flags(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; a wrong flag ends the program with exit code 2."""
    parser = Parser(
        prog="train.py",
        description='Train the SqueezeNet of the chapter "Fire Module" and evaluate it.',
        epilog="Run the same command again to resume from the newest checkpoint in --run_dir.",
        allow_abbrev=False,
    )
    add_run_flags(parser.add_argument)
    add_training_flags(parser.add_argument)
    add_evaluation_flags(parser.add_argument)
    flags = parser.parse_args(arguments)
    given = [name for name, value in vars(flags).items() if not (value is None or value is False)]
    for name in given:
        if flags.eval_only and name not in EVALUATION_FLAGS:
            parser.error(f"--{name} has no effect with --eval_only; leave one of them out")
        if not flags.eval_only and name in ("checkpoint", "split", "watch"):
            parser.error(f"--{name} needs --eval_only")
    if flags.recipe == recipe.FINE_TUNED.name and not flags.init_from:
        parser.error(f"--recipe {flags.recipe} needs --init_from, whose weights it fine-tunes")
    if flags.net and not flags.init_from:
        parser.error("--net needs --init_from, whose weights it is about")
    if flags.checkpoint and (flags.watch or flags.run_dir):
        parser.error("--checkpoint names a run and one checkpoint of it; drop the other flag")
    batch_size = flags.batch_size or recipe.batch_size(flags.dataset or DEFAULT_DATASET)
    if flags.num_towers and batch_size % flags.num_towers:
        parser.error(f"--num_towers {flags.num_towers} does not divide --batch_size {batch_size}")
    return flags


def add_run_flags(add: Callable) -> None:
    """Adds the flags for what to train on, and where."""
    add(
        "--dataset",
        type=local_name,
        help=f"{', '.join(data.names())}, or a folder of your own photos with one subfolder per "
        f"class (default: {DEFAULT_DATASET}, which need no download)",
    )
    add(
        "--original_dim",
        type=positive(int, MOST_DIM, least=LEAST_DIM),
        help="side in pixels to which your photos are resized; the net sees a crop of three "
        "quarters of it (default: 32)",
    )
    add(
        "--data_dir",
        type=local_path,
        help="folder with the data set's files (default: data/downloads)",
    )
    add(
        "--skip_damaged",
        action="store_true",
        help="leave out damaged images of your own instead of ending with an error",
    )
    add("--run_dir", type=local_path, help="folder of the run (default: runs/<dataset>)")
    add(
        "--init_from",
        type=local_path,
        nargs="?",
        const=PRETRAINED,
        help="warm start: a run's folder, a checkpoint, a .npz file, or ImageNet weights: "
        f"{', '.join(PUBLISHED)} (default: random weights; the flag alone means the included "
        "CIFAR-10 model)",
    )
    add(
        "--net",
        choices=list(NETS),
        help="the net to use for weights that do not name one, such as another program's "
        "checkpoint (default: the one they name)",
    )


def add_evaluation_flags(add: Callable) -> None:
    """Adds the flags for evaluation without training."""
    add("--eval_only", action="store_true", help="evaluate the newest checkpoint; do not train")
    add(
        "--checkpoint", type=local_path, help="evaluate this one (default: the newest in --run_dir)"
    )
    add(
        "--split",
        choices=("train", "validation", "test"),
        help="the images to evaluate on (default: test)",
    )
    add(
        "--watch",
        action="store_true",
        help="evaluate every new checkpoint until the training in --run_dir ends",
    )


def add_training_flags(add: Callable) -> None:
    """Adds the flags for how to train, and what to record."""
    add(
        "--num_epochs",
        type=positive(float, 1_000_000),
        help="passes over the training images "
        f"(default: {recipe.NUM_EPOCHS['digits']:g} for digits, "
        f"{recipe.NUM_EPOCHS['cifar10']:g} for cifar10, which is 10,000 steps, "
        f"{recipe.NUM_EPOCHS_ELSEWHERE:g} for your own photos, "
        f"{recipe.FINE_TUNED_EPOCHS:g} with the paper's nets)",
    )
    add(
        "--batch_size",
        type=positive(int, 65_536),
        help=f"images per step; in a cluster, per task (default: {recipe.BATCH_SIZE}; for digits "
        f"{recipe.DIGITS_BATCH_SIZE}, for the paper's nets {recipe.FINE_TUNED_BATCH_SIZE})",
    )
    add(
        "--recipe",
        choices=recipe.RECIPES,
        help="tuned trains much better; chapter is the course's own, Adam at its defaults "
        f"(default: {recipe.TUNED.name}; {recipe.FINE_TUNED.name} for the paper's nets with "
        "pretrained weights)",
    )
    add(
        "--learning_rate",
        type=positive(float, 1_000),
        help="peak learning rate (default: "
        + ", ".join(f"{r.learning_rate:g} for {name}" for name, r in recipe.RECIPES.items())
        + ")",
    )
    add(
        "--held_out",
        type=positive(int, 1_000_000_000),
        help="hold out this many training images and evaluate on them, not on the test set "
        "(default: none)",
    )
    add(
        "--eval_every",
        type=positive(int, 1_000_000_000),
        help="steps between checkpoints, each of which is evaluated "
        f"(default: a fifth of the run, at most {recipe.MOST_STEPS_BETWEEN_EVALS:,})",
    )
    add(
        "--num_towers",
        type=positive(int, 64),
        help="equal parts of a batch that are processed in parallel (default: one per GPU; on a "
        "CPU one per 32 images, or one per core if that is more)",
    )
    add(
        "--class_weights",
        action="store_true",
        help="weight each image by how rare its class is, for unbalanced data",
    )
    add("--seed", type=seed, help="random seed (default: 0)")
    add(
        "--summarize_layers",
        action="store_true",
        help="also record activations and gradients for TensorBoard",
    )
    add(
        "--profile",
        action="store_true",
        help="trace one step: trace.json in --run_dir, for chrome://tracing or ui.perfetto.dev",
    )


def dataset_of(flags: argparse.Namespace) -> str:
    """The data set's name, or the full path of a folder of photos."""
    return data.full_name(flags.dataset or DEFAULT_DATASET)


def run_dir_of(flags: argparse.Namespace) -> Path:
    """The folder of the run; named after the data set unless --run_dir is given."""
    return flags.run_dir or Path("runs", os.path.basename(dataset_of(flags)))


def init_name_of(flags: argparse.Namespace) -> str | None:
    """What settings.json says of --init_from: a published name, or a full path."""
    path = flags.init_from
    if path is None or (str(path) in PUBLISHED and not path.exists()):
        return path and str(path)
    return os.path.realpath(path)


def image_dims(flags: argparse.Namespace, net: str) -> dict[str, int | None]:
    """The sides of stored images and of the net's crops, as `data.load` takes them.

    Raises:
      RunError: the net is one of the paper's, which fix them, and the flags contradict that.
    """
    if net == DEFAULT_NET:
        return {"original_dim": flags.original_dim}
    if flags.original_dim:
        raise RunError(
            f"--original_dim {flags.original_dim}: has no effect on {net}, which takes photos of "
            f"{ORIGINAL_DIM} pixels; leave it out."
        )
    if dataset_of(flags) in data.names():
        raise RunError(
            f"--dataset {dataset_of(flags)}: its images are too small for {net}, which takes "
            f"photos of {ORIGINAL_DIM} pixels; give a folder of photos."
        )
    return {"original_dim": ORIGINAL_DIM, "resize_dim": RESIZE_DIM}


def run_to_evaluate(flags: argparse.Namespace) -> Path:
    """The folder of the run that --eval_only means; the included model where there is no other.

    Raises:
      RunError: the folder holds no run, or one of another data set.
    """
    if flags.checkpoint and flags.checkpoint.is_dir():
        raise RunError(f"--checkpoint {flags.checkpoint}: is a folder; use --run_dir for it.")
    run_dir = flags.checkpoint.parent if flags.checkpoint else run_dir_of(flags)
    if str(run_dir) in PUBLISHED or run_dir.suffix == ".npz":
        return run_dir  # becomes a run once TensorFlow is there
    check_name(run_dir)
    settings = read_settings(run_dir)
    if settings is None and not (flags.checkpoint or flags.run_dir):
        run_dir, settings = PRETRAINED, read_settings(PRETRAINED)
    if settings is None:
        raise RunError(f"{run_dir}: holds no run to evaluate; name one with --run_dir.")
    if flags.dataset:
        check_same_run(run_dir, settings, {"dataset": dataset_of(flags)})
    return run_dir


def schedule_of(
    flags: argparse.Namespace,
    num_images: int,
    num_tasks: int = 1,
    num_gpus: int = 0,
    net: str = DEFAULT_NET,
) -> recipe.Schedule:
    """The schedule that the flags ask for; what they leave open follows the recipe.

    Args:
      num_images: training images.
      num_tasks: tasks that train, in a cluster.
      num_gpus: GPUs of this machine.
      net: name of the net; pretrained nets of the paper's are fine-tuned by default.

    Raises:
      RunError: --num_towers does not divide the batch.
    """
    name, chosen = dataset_of(flags), recipe.TUNED
    batch_size, num_epochs = recipe.batch_size(name), recipe.num_epochs(name)
    if net != DEFAULT_NET:
        batch_size, chosen = recipe.FINE_TUNED_BATCH_SIZE, recipe.FINE_TUNED
        num_epochs = recipe.FINE_TUNED_EPOCHS
    batch_size = flags.batch_size or batch_size
    if flags.num_towers and batch_size % flags.num_towers:
        raise RunError(
            f"--num_towers {flags.num_towers}: does not divide the batch size of {net}, "
            f"{batch_size}; choose another number, or another --batch_size."
        )
    return recipe.make_schedule(
        num_images,
        num_epochs=flags.num_epochs or num_epochs,
        recipe=recipe.RECIPES[flags.recipe] if flags.recipe else chosen,
        batch_size=batch_size * num_tasks,
        learning_rate=flags.learning_rate,
        eval_every=flags.eval_every,
        num_towers=flags.num_towers
        or recipe.towers_for(batch_size, recipe.visible_cores(), num_gpus),
        num_gpus=num_gpus,
        seed=flags.seed or 0,
        summarize_layers=flags.summarize_layers,
        profile=flags.profile,
        class_weights=flags.class_weights,
    )
