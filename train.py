#!/usr/bin/env python3
"""Trains the chapter's SqueezeNetModel and evaluates it: `python train.py`.

Everything that a run writes goes into one folder, --run_dir. The same command again goes on from
the newest checkpoint there. `python train.py --help` lists the flags.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import data
from cluster.config import WAIT_SECONDS, Cluster, read_cluster, wait_for_members
from reporting.console import TrainingBar, print_report
from training import RunError, recipe
from training.command import Parser, positive, run_command, seed
from training.run_dir import PRETRAINED, check_name, check_same_run, read_settings
from training.runtime import load_tensorflow_quietly

if TYPE_CHECKING:  # they take seconds to import
    from squeezenet_model import SqueezeNetModel
    from training.replicas import Replica

DEFAULT_DATASET = "digits"


def parse_flags(arguments: list[str] | None = None) -> argparse.Namespace:
    """The flags of the command line; a wrong one ends the program with exit code 2."""
    parser = Parser(
        prog="train.py",
        description='Train the SqueezeNet of the chapter "Fire Module" and evaluate it.',
        epilog="The same command again goes on from the newest checkpoint in --run_dir.",
        allow_abbrev=False,
    )
    add_run_flags(parser.add_argument)
    add_training_flags(parser.add_argument)
    add_evaluation_flags(parser.add_argument)
    flags = parser.parse_args(arguments)
    for name in ("checkpoint", "split", "watch"):
        if getattr(flags, name) and not flags.eval_only:
            parser.error(f"--{name} goes with --eval_only")
    if flags.checkpoint and (flags.watch or flags.run_dir):
        parser.error("--checkpoint says which run and which part of it; leave out the other flag")
    if flags.num_towers and flags.batch_size % flags.num_towers:
        parser.error(
            f"--num_towers {flags.num_towers} does not divide --batch_size {flags.batch_size}"
        )
    return flags


def add_run_flags(add: Callable) -> None:
    """Flags that say on what, where and whether to train."""
    add(
        "--dataset",
        help=f"images to train on: {', '.join(data.names())}, or a folder of your own with a "
        f"folder for each class (default: {DEFAULT_DATASET}, which need no download)",
    )
    add(
        "--original_dim",
        type=positive(int, 1_024),
        help="side in pixels to which your own images are resized (default: 32; the net sees "
        "three quarters of it)",
    )
    add("--data_dir", type=Path, help="folder of the images' files (default: data/downloads)")
    add("--run_dir", type=Path, help="folder of the run (default: runs/<dataset>)")
    add(
        "--init_from",
        type=Path,
        nargs="?",
        const=PRETRAINED,
        help="begin with the weights of another run, a folder or a checkpoint in one (default: "
        "with random ones; after the bare flag with the net that comes with the project)",
    )


def add_evaluation_flags(add: Callable) -> None:
    """Flags that go with --eval_only."""
    add("--eval_only", action="store_true", help="train nothing, report on the newest checkpoint")
    add("--checkpoint", type=Path, help="report on this one (default: the newest in --run_dir)")
    add(
        "--split",
        choices=("train", "validation", "test"),
        help="the images to report on (default: test)",
    )
    add(
        "--watch",
        action="store_true",
        help="report on each new checkpoint until the training in --run_dir ends",
    )


def add_training_flags(add: Callable) -> None:
    """Flags that say how to train, and what to look at meanwhile."""
    add(
        "--num_epochs",
        type=positive(float, 1_000_000),
        help="how many times each training image is shown "
        f"(default: {recipe.NUM_EPOCHS['digits']:g} for digits, "
        f"{recipe.NUM_EPOCHS['cifar10']:g} for cifar10, which is 10,000 steps, "
        f"{recipe.NUM_EPOCHS_ELSEWHERE:g} for your own images)",
    )
    add(
        "--batch_size",
        type=positive(int, 65_536),
        default=recipe.BATCH_SIZE,
        help="images a step (default: %(default)s)",
    )
    add(
        "--recipe",
        choices=recipe.RECIPES,
        default=recipe.TUNED.name,
        help="how to train: better than the course does, or as the course does with Adam at its "
        "defaults (default: %(default)s)",
    )
    add(
        "--learning_rate",
        type=positive(float, 1_000),
        help="highest step size (default: "
        + ", ".join(f"{r.learning_rate:g} for {name}" for name, r in recipe.RECIPES.items())
        + ")",
    )
    add(
        "--held_out",
        type=positive(int, 1_000_000_000),
        help="training images to hold out and evaluate on, in place of the test part "
        "(default: none)",
    )
    add(
        "--eval_every",
        type=positive(int, 1_000_000_000),
        help="steps from one checkpoint and evaluation to the next "
        f"(default: a tenth of the run, at most {recipe.MOST_STEPS_BETWEEN_EVALS:,})",
    )
    add(
        "--num_towers",
        type=positive(int, 64),
        help="equal parts of a batch, worked on side by side (default: one a GPU; on a CPU one for "
        "every 32 images, or one a core if that is more)",
    )
    add(
        "--asynchronous",
        action="store_true",
        help="in a cluster (TF_CONFIG), apply each worker's gradient as it comes, in place of the "
        "mean of all; --batch_size is that of one worker in either case",
    )
    add("--seed", type=seed, default=0, help="whole number that fixes all chance (default: 0)")
    add(
        "--summarize_layers",
        action="store_true",
        help="show activations, their zeros and gradients in TensorBoard too",
    )
    add(
        "--profile",
        action="store_true",
        help="trace one step: trace.json in --run_dir, for chrome://tracing or ui.perfetto.dev",
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      Exit code: 0 when all is done, 2 for what only the user can mend, 130 after Ctrl-C, 143 after
      SIGTERM.
    """
    flags = parse_flags(arguments)
    return run_command("train.py", evaluate if flags.eval_only else train, flags)


def train(flags: argparse.Namespace) -> int:
    """Trains from the newest checkpoint to the last step; leaves results.json in the run's folder.

    Returns:
      Exit code.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    cluster = read_cluster(os.environ.get("TF_CONFIG"))
    if flags.asynchronous and cluster is None:
        raise RunError("--asynchronous: is for clusters, but TF_CONFIG names none; leave it out.")
    if cluster:  # what TensorFlow logs of a member that is lost, the program says in one sentence
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if cluster and cluster.job in ("ps", "evaluator"):
        return serve_or_evaluate(flags, cluster)
    run_dir = run_dir_of(flags)
    name = data.full_name(flags.dataset or DEFAULT_DATASET)
    dataset = data.load(name, flags.data_dir, original_dim=flags.original_dim)
    evaluated, split_name = dataset.test, "test"
    if flags.held_out:
        dataset, evaluated = data.hold_out(dataset, flags.held_out)
        split_name = "validation"
    load_tensorflow_quietly()  # takes seconds: only once the flags and the data are right
    from training.checkpoints import all_checkpoints
    from training.loop import Training
    from training.run import run
    from training.runtime import visible_gpus
    from training.saved_run import build_model, describe, load_run

    model = build_model(dataset)
    schedule = make_schedule(flags, name, len(dataset.train.labels), visible_gpus(), cluster)
    replica = None
    if cluster:
        replica = join(cluster, flags.asynchronous)
        if not replica.is_chief:
            return follow_chief(model, dataset, schedule, replica)
    # A run that goes on has begun already.
    is_new = flags.init_from and not all_checkpoints(run_dir)
    init_from = load_run(flags.init_from) if is_new else None
    settings = {
        **describe(name, dataset, model),
        **schedule.settings(),
        "held_out": flags.held_out,
        "num_workers": cluster.num_workers if cluster else 1,
        "asynchronous": flags.asynchronous,
        "init_from": flags.init_from and os.path.realpath(flags.init_from),
        "data_dir": flags.data_dir and str(flags.data_dir),
        "run_dir": str(run_dir),
    }
    with TrainingBar(schedule.total_steps, schedule.num_epochs, split_name) as bar:
        training = Training(model, dataset, schedule, run_dir, init_from, replica)
        result = run(training, evaluated, split_name, settings, bar)
    if result.results is None:
        print(
            f"stopped at step {result.step} of {schedule.total_steps}, which is saved; the same "
            "command goes on from there"
        )
        return 128 + result.signal
    print_report(result.results, run_dir)
    return 0


def serve_or_evaluate(flags: argparse.Namespace, cluster: Cluster) -> int:
    """What the tasks of a cluster do that do not train; returns the exit code, 0.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    load_tensorflow_quietly()
    if cluster.job == "ps":
        from training.replicas import serve

        serve(cluster)
    else:
        from reporting.report import report

        report(run_dir_of(flags), data_dir=flags.data_dir, watch=True, patience=WAIT_SECONDS)
    return 0


def join(cluster: Cluster, asynchronous: bool) -> Replica:
    """Takes this process's place in a cluster that trains, once all the others are there.

    Raises:
      RunError: one of them does not come up, or this one cannot.
    """
    from training.replicas import Replica

    replica = Replica(cluster, asynchronous)
    wait_for_members(cluster)
    return replica


def follow_chief(
    model: SqueezeNetModel, dataset: data.Dataset, schedule: recipe.Schedule, replica: Replica
) -> int:
    """Trains as a worker; returns the exit code."""
    from training.interruption import Interruption
    from training.loop import follow

    name, chief = replica.cluster.name, replica.cluster.addresses["chief"][0]
    print(f"{name}: trains with the chief at {chief}", flush=True)
    with Interruption() as interruption:
        follow(model, dataset, schedule, replica, interruption)
    if interruption.received:
        print(f"{name}: stopped; the same command again joins in where the others are", flush=True)
        return 128 + interruption.received
    print(f"{name}: done", flush=True)
    return 0


def evaluate(flags: argparse.Namespace) -> int:
    """Reports on a checkpoint, or with --watch on each new one while a training goes on.

    Returns:
      Exit code.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    run_dir = run_to_evaluate(flags)
    load_tensorflow_quietly()
    from reporting.report import report

    report(run_dir, flags.checkpoint, flags.split or "test", flags.data_dir, flags.watch)
    return 0


def run_dir_of(flags: argparse.Namespace) -> Path:
    """The folder of the run, called after the data set if nothing else is said."""
    name = data.full_name(flags.dataset or DEFAULT_DATASET)
    return flags.run_dir or Path("runs", os.path.basename(name))


def run_to_evaluate(flags: argparse.Namespace) -> Path:
    """The folder of the run that --eval_only is about.

    Raises:
      RunError: it holds no run, or one of another data set.
    """
    if flags.checkpoint and flags.checkpoint.is_dir():
        raise RunError(f"--checkpoint {flags.checkpoint}: is a folder; give it as --run_dir.")
    run_dir = flags.checkpoint.parent if flags.checkpoint else run_dir_of(flags)
    check_name(run_dir)
    settings = read_settings(run_dir)
    if settings is None and not (flags.checkpoint or flags.run_dir):
        run_dir, settings = PRETRAINED, read_settings(PRETRAINED)
    if settings is None:
        raise RunError(f"{run_dir}: holds no run to evaluate; give the --run_dir of one.")
    if flags.dataset:
        check_same_run(run_dir, settings, {"dataset": data.full_name(flags.dataset)})
    return run_dir


def make_schedule(
    flags: argparse.Namespace,
    dataset_name: str,
    images: int,
    num_gpus: int = 0,
    cluster: Cluster | None = None,
) -> recipe.Schedule:
    """The numbers of the run: the flags, and the recipe for those not given."""
    synchronous_workers = cluster.num_workers if cluster and not flags.asynchronous else 1
    cores = recipe.visible_cores()
    return recipe.make_schedule(
        images,
        num_epochs=flags.num_epochs or recipe.num_epochs(dataset_name),
        recipe=recipe.RECIPES[flags.recipe],
        batch_size=flags.batch_size * synchronous_workers,
        learning_rate=flags.learning_rate,
        eval_every=flags.eval_every,
        num_towers=flags.num_towers or recipe.towers_for(flags.batch_size, cores, num_gpus),
        num_gpus=num_gpus,
        seed=flags.seed,
        summarize_layers=flags.summarize_layers,
        profile=flags.profile,
    )


if __name__ == "__main__":
    sys.exit(main())
