"""What `python train.py --eval_only` does: evaluates a checkpoint, or every new one."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from base import UserError
from cluster.config import START_SECONDS
from command.plan import dataset_of, run_dir_of
from evaluation.evaluator import Evaluator
from reporting.console import print_classes, print_evaluation, print_report
from reporting.figures import confusion_matrix, write_image
from reporting.results import summarize
from saved.checkpoints import newest_checkpoint
from saved.run import load_dataset, load_run, restore_model
from saved.run_dir import PRETRAINED, is_training, output_dir, read_settings, step_of

POLL_SECONDS = 1


def evaluate_run(flags: argparse.Namespace, in_cluster: bool) -> None:
    """Evaluates and prints; saves an image of the confusion matrix in the run's folder.

    With --watch, it evaluates each new checkpoint until training there has ended, and reports on
    the last. A cluster's evaluator (in_cluster) does so too, and waits for a training that has not
    begun, or pauses.

    Raises UserError if there is no such run, or its images are missing.
    """
    run_dir, patience = run_dir_of(flags), START_SECONDS if in_cluster else 0.0
    ends = time.monotonic() + patience
    while time.monotonic() < ends and read_settings(run_dir) is None:
        time.sleep(POLL_SECONDS)
    if not (flags.run_dir or flags.checkpoint or in_cluster or read_settings(run_dir)):
        run_dir = PRETRAINED
    settings = read_settings(run_dir) if flags.watch or in_cluster else None
    if settings:
        folder, total_steps = output_dir(run_dir), settings.get("total_steps") or 0
        checkpoints = new_checkpoints(run_dir, total_steps, patience)
    else:
        run = load_run(flags.checkpoint or run_dir)
        settings, folder, checkpoints = run.settings, run.output_dir, iter([run.checkpoint])
    if flags.dataset and dataset_of(flags) != settings["dataset"]:
        raise UserError(
            f"--dataset {flags.dataset}: the run was trained on {settings['dataset']}; leave the "
            "flag out, or name another run with --run_dir."
        )
    dataset, name = load_dataset(settings, flags.data_dir), flags.split or "test"
    split = getattr(dataset, name)
    if split is None:
        raise UserError("--split validation: the run has held nothing out; choose train or test.")
    evaluation = None
    with Evaluator(restore_model(settings), split, settings["precision"]) as evaluator:
        for checkpoint in checkpoints:
            try:
                evaluation = evaluator.evaluate(checkpoint)
            except tf.errors.NotFoundError:  # the trainer has deleted it meanwhile
                continue
            print_evaluation(evaluation, name)
        if evaluation is None:
            raise UserError(
                f"{run_dir}: nothing is training there, and it has no intact checkpoint; train "
                "first."
            )
        results = summarize(evaluation, split, dataset.class_names, name, evaluator.net.variables)
    print_report(results, Path(evaluation.checkpoint).parent)
    print_classes(results)
    matrix = confusion_matrix(split.labels, evaluation.predictions, dataset.class_names, dpi=200)
    write_image(matrix, folder / f"confusion_matrix_{name}.png")


def new_checkpoints(run_dir: Path, total_steps: int, patience: float = 0.0) -> Iterator[str]:
    """Yields each new intact checkpoint, starting with the newest, until training has ended.

    Before total_steps, training may pause for `patience` seconds. A checkpoint that is written
    during an evaluation may be skipped, as in every continuous evaluator of TF1. (tf_slim's
    checkpoints_iterator relies on TensorFlow's index file, which may be missing or out of date.)
    """
    last, seen = None, time.monotonic()
    while True:
        is_running = is_training(run_dir)  # checked first, so as not to miss the last checkpoint
        if is_running:
            seen = time.monotonic()
        checkpoint = newest_checkpoint(run_dir, while_training=is_running)
        if checkpoint not in (None, last):
            yield checkpoint
            last = checkpoint
        elif is_running or (
            time.monotonic() - seen < patience and (last is None or step_of(last) < total_steps)
        ):
            time.sleep(POLL_SECONDS)
        else:
            return
