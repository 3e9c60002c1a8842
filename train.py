#!/usr/bin/env python3
"""Trains the chapter's SqueezeNetModel and evaluates it: `python train.py`.

One graph, one session, one loop: the function `train`. Everything a run writes goes into one
folder, --run_dir; run the same command again to resume. `python train.py --help` lists the flags.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if sys.flags.safe_path:  # with PYTHONSAFEPATH=1, Python does not look for modules beside train.py
    sys.path.insert(0, str(Path(__file__).resolve().parent))

import data
from cluster import ALONE, Alone
from cluster.config import START_SECONDS, read_config
from reporting.console import print_plan, print_report
from training import Stopped
from training.command import run_command
from training.flags import (
    dataset_of,
    image_dims,
    init_name_of,
    parse_flags,
    run_dir_of,
    run_to_evaluate,
    schedule_of,
)
from training.recipe import FINE_TUNED, Schedule
from training.run_dir import open_run_dir, read_settings
from training.runtime import load_tensorflow_quietly, visible_gpus
from training.settings import DEFAULT_NET

if TYPE_CHECKING:  # they import TensorFlow, which takes seconds: --help does not wait for it
    from cluster.task import Task
    from reporting.progress import Progress
    from squeezenet_model import SqueezeNetModel
    from training.checkpoints import Checkpoints
    from training.evaluation import Evaluation, Evaluator
    from training.saved_run import Run


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      Exit code: 0 when all is done, 2 for a user error, 128 and the signal's number after a signal
      (130 for Ctrl-C).
    """
    return run_command("train.py", run, parse_flags(arguments))


def run(flags: argparse.Namespace) -> int:
    """Flags -> data -> net -> training; returns the exit code."""
    config = read_config(os.environ.get("TF_CONFIG"))
    if flags.eval_only or (config and config.job == "evaluator"):
        return evaluate_only(flags, in_cluster=config is not None)
    run_dir = run_dir_of(flags)
    saved = read_settings(run_dir) or {}
    init_from = load_initial_run(flags, run_dir) if flags.init_from else None
    net = (init_from.settings if init_from else saved).get("net", DEFAULT_NET)
    skip_damaged = flags.skip_damaged or saved.get("skip_damaged", False)
    dims = image_dims(flags, net)
    dataset = data.load(dataset_of(flags), flags.data_dir, **dims, skip_damaged=skip_damaged)
    if flags.held_out:
        dataset = data.hold_out(dataset, flags.held_out)
    load_tensorflow_quietly()  # not before the flags and the data are right
    from cluster.task import Task
    from training.saved_run import build_model, settings_of

    cluster = Task(config) if config else ALONE
    model = build_model(dataset, net)
    num_images, num_tasks = len(dataset.train.labels), cluster.share.count
    schedule = schedule_of(flags, num_images, num_tasks, visible_gpus(), net)
    if not cluster.is_chief:
        with cluster.joined():
            train(model, dataset, schedule, None, cluster=cluster)
        return 0
    settings = settings_of(
        dataset_of(flags),
        dataset,
        model,
        schedule,
        run_dir,
        held_out=flags.held_out,
        skip_damaged=skip_damaged,
        init_from=init_name_of(flags),
        data_dir=flags.data_dir and str(flags.data_dir),
        num_tasks=num_tasks,
    )
    print_plan(net, dataset, schedule)
    with open_run_dir(run_dir, settings), cluster.joined():
        results = train(model, dataset, schedule, run_dir, init_from, cluster)
        print_report(results, run_dir)
    return 0


def train(
    model: SqueezeNetModel,
    dataset: data.Dataset,
    schedule: Schedule,
    run_dir: Path | None,
    init_from: Run | None = None,
    cluster: Alone | Task = ALONE,
) -> dict | None:
    """Trains from the newest checkpoint, or from the start, to the last step.

    In a cluster every task runs this function; one all-reduce per step averages their gradients.

    Args:
      run_dir: folder for checkpoints and TensorBoard events; None in all tasks but the chief.
      init_from: the saved run whose weights a new run starts from; None for random weights.

    Returns:
      What results.json holds; None where run_dir is None.

    Raises:
      Stopped: a signal came; the step in progress was finished and saved.
      RunError, DataError: the training cannot continue; the message says why and what to do.
    """
    from reporting.progress import NoProgress, Progress
    from squeezenet_model import tf
    from training.checkpoints import Checkpoints
    from training.evaluation import Evaluator
    from training.health import Health
    from training.initial_weights import initialize_with, is_last_layer, warm_start
    from training.input_pipeline import TrainingBatches
    from training.last_layer import fit_last_layer
    from training.step import build_training_step

    evaluation = None
    class_weights = data.class_weights(dataset) if schedule.class_weights else None
    with (
        tf.Graph().as_default(),
        cluster.device(),
        cluster.interruption() as interruption,
        Evaluator(model, dataset.evaluation_set, dataset.class_names) as evaluator,
        Progress(run_dir, model, dataset, schedule) if run_dir else NoProgress() as progress,
    ):
        # The graph: batches -> towers -> mean gradient -> one step of the optimizers.
        tf.set_random_seed(schedule.seed)
        batches = TrainingBatches(dataset, schedule, cluster.share)
        train_op = build_training_step(
            model, batches.next_batch, schedule, cluster.share, cluster.all_reduce, class_weights
        )
        if init_from:
            left_out = warm_start(init_from, dataset.class_names, schedule.recipe)
            progress.warm_started(init_from, left_out)
            if schedule.recipe == FINE_TUNED and is_last_layer(left_out):
                values = fit_last_layer(
                    model, init_from.checkpoint, dataset, schedule.seed, class_weights
                )
                initialize_with(values)
        checkpoints, health = Checkpoints(run_dir), Health(model.output_size)

        with cluster.session(interruption) as session:
            step = checkpoints.restore_or_initialize(session)
            step = cluster.broadcast(session, step, schedule)
            batches.start_at(session, step)
            progress.started(session, step)
            if run_dir and step and schedule.is_evaluated(step):  # a killed run may lack it
                evaluation = evaluate(evaluator, checkpoints, progress)

            # The loop: everything that is shown or written comes from this one session.run.
            with checkpoints.saved_if_output_is_lost(session):
                while step < schedule.total_steps and not interruption.received:
                    with batches.errors():
                        values = session.run(train_op)
                    step = int(values.step)
                    progress.step_done(values)
                    health.check(values)
                    if run_dir and (schedule.is_evaluated(step) or interruption.received):
                        with progress.paused():
                            checkpoints.save(session, step)
                            if schedule.is_evaluated(step):
                                evaluation = evaluate(evaluator, checkpoints, progress)
            cluster.wait_for_all(session)
            if schedule.profile and not interruption.received:
                progress.write_trace(session, train_op)

        if step < schedule.total_steps:
            raise Stopped.at(step, schedule.total_steps, interruption.received)
        return progress.finished(evaluator, evaluation)


def evaluate(evaluator: Evaluator, checkpoints: Checkpoints, progress: Progress) -> Evaluation:
    """Evaluates the newest checkpoint, shows the result, and keeps it if it is the best so far."""
    evaluation = evaluator.evaluate(checkpoints.newest)
    progress.evaluated(evaluation, evaluator)
    checkpoints.keep_best(evaluation.step, evaluation.accuracy)
    return evaluation


def load_initial_run(flags: argparse.Namespace, run_dir: Path) -> Run | None:
    """The run that --init_from means; None if the run in run_dir has a checkpoint to resume from.

    Raises:
      DataError, RunError: there is no such run, or it is of another net than --net says.
    """
    load_tensorflow_quietly()
    from training.checkpoints import all_checkpoints
    from training.saved_run import load_run

    return None if all_checkpoints(run_dir) else load_run(flags.init_from, flags.net)


def evaluate_only(flags: argparse.Namespace, in_cluster: bool) -> int:
    """Evaluates a checkpoint, or every new one while a training continues; returns the exit code.

    A cluster's evaluator waits for a training that has not begun.
    """
    run_dir = run_dir_of(flags) if in_cluster else run_to_evaluate(flags)
    load_tensorflow_quietly()
    from reporting.report import report

    report(
        run_dir,
        flags.checkpoint,
        flags.split or "test",
        flags.data_dir,
        watch=flags.watch or in_cluster,
        patience=START_SECONDS if in_cluster else 0.0,
        skip_damaged=flags.skip_damaged,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
