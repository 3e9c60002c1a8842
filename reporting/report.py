"""The full report on a run's checkpoint: what `train.py --eval_only` prints and draws."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from reporting.console import print_classes, print_evaluation, print_report
from reporting.figures import confusion_matrix, write_image
from training import RunError
from training.checkpoints import checkpoint_step, newest_checkpoint
from training.evaluation import Evaluator
from training.run_dir import is_training, output_dir, read_settings
from training.saved_run import find_run, load_dataset, load_net, load_run, split_of

POLL_SECONDS = 1


def report(
    run_dir: Path,
    checkpoint: Path | None = None,
    split_name: str = "test",
    data_dir: Path | None = None,
    watch: bool = False,
    patience: float = 0.0,
    skip_damaged: bool = False,
) -> None:
    """Evaluates and prints; saves an image of the confusion matrix in the run's folder.

    Args:
      run_dir: folder of the run, or anything else that `find_run` accepts.
      checkpoint: one of its checkpoints; None for the newest.
      split_name: "train", "test", or "validation" for the held-out images.
      data_dir: folder of the images' files, if they have moved.
      watch: whether to evaluate each new checkpoint until training there has ended, and report on
        the last one.
      patience: seconds to wait for training to start, or to resume.
      skip_damaged: whether to leave out damaged images, as the run itself may have done.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    wait_for_run(run_dir, patience)
    run_dir = find_run(run_dir)
    settings, model = load_net(run_dir)
    checkpoints = (
        new_checkpoints(run_dir, patience)
        if watch
        else [load_run(checkpoint or run_dir).checkpoint]
    )
    dataset = load_dataset(settings, data_dir, run_dir=run_dir, skip_damaged=skip_damaged)
    split = split_of(dataset, settings, split_name)
    evaluation = None
    with Evaluator(model, split, dataset.class_names) as evaluator:
        for path in checkpoints:
            try:
                evaluation = evaluator.evaluate(path)
            except tf.errors.NotFoundError:  # the trainer has deleted it meanwhile
                continue
            print_evaluation(evaluation, split_name)
        if evaluation is None:
            raise RunError(
                f"{run_dir}: nothing is training there, and it has no intact checkpoint; train "
                "first."
            )
        results = evaluator.summarize(evaluation, split_name)
    print_report(results, run_dir)
    print_classes(results)
    names = dataset.class_names
    matrix = confusion_matrix(split.labels, evaluation.predictions, names, dpi=200)
    write_image(matrix, output_dir(run_dir) / f"confusion_matrix_{split_name}.png")


def wait_for_run(run_dir: Path, patience: float) -> None:
    """Waits until a run has started, at most for so many seconds."""
    ends = time.monotonic() + patience
    while read_settings(run_dir) is None and time.monotonic() < ends:
        time.sleep(POLL_SECONDS)


def new_checkpoints(run_dir: Path, patience: float = 0.0) -> Iterator[str]:
    """Yields each new checkpoint, starting with the newest, until training has ended.

    A checkpoint that is written during an evaluation may be skipped, as in every continuous
    evaluator of TF1. (tf_slim.evaluation.checkpoints_iterator relies on TensorFlow's index file
    `checkpoint`, which may be missing, or name a damaged one; this looks at the files themselves.)

    Args:
      run_dir: folder of a run.
      patience: seconds that training may pause before its last step.

    Yields:
      Paths, without extension, of intact checkpoints.
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
        elif not is_running and (time.monotonic() - seen >= patience or is_complete(run_dir, last)):
            return
        else:
            time.sleep(POLL_SECONDS)


def is_complete(run_dir: Path, checkpoint: str | None) -> bool:
    """Whether a checkpoint is of the last step of its run."""
    total_steps = (read_settings(run_dir) or {}).get("total_steps")
    return checkpoint is not None and checkpoint_step(checkpoint) >= (total_steps or math.inf)
