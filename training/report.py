"""The full report on a run's checkpoint: what `train.py --eval_only` prints and draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.checkpoints import checkpoint_step, find_damage
from training.console import print_classes, print_evaluation, print_report
from training.evaluation import Evaluator
from training.net import load_dataset, load_net, load_run, split_of
from training.run_dir import RunError, is_training, output_dir, write_bytes
from training.summaries import confusion_matrix, png

QUIET_SECONDS = 5  # without a new checkpoint; then it is asked whether the training goes on


def report(
    run_dir: Path,
    checkpoint: Path | None = None,
    split_name: str = "test",
    data_dir: Path | None = None,
    watch: bool = False,
) -> None:
    """Evaluates and prints; leaves a drawing of the confusion matrix in the run's folder.

    Args:
      run_dir: folder of the run.
      checkpoint: one of its checkpoints; None for the newest.
      split_name: "train", "test", or "validation" for the pictures that the run has held out.
      data_dir: folder of the pictures' files, if they are not where they were.
      watch: whether to evaluate each new checkpoint until the training there has ended; the report
        is on the last one.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    settings, model = load_net(run_dir)
    checkpoints = (
        new_checkpoints(run_dir) if watch else [load_run(checkpoint or run_dir).checkpoint]
    )
    dataset = load_dataset(settings, data_dir)
    split = split_of(dataset, settings, split_name)
    evaluation = None
    with Evaluator(model, split, dataset.class_names, split_name) as evaluator:
        for path in checkpoints:
            evaluation = evaluator.evaluate(path)
            print_evaluation(evaluation, split_name)
        if evaluation is None:
            raise RunError(f"{run_dir}: nothing is trained there, and it has no whole checkpoint.")
        results = evaluator.summarize(evaluation)
    print_report(results, run_dir)
    print_classes(results)
    matrix = confusion_matrix(split.labels, evaluation.predictions, dataset.class_names)
    drawing = output_dir(run_dir) / f"confusion_matrix_{split_name}.png"
    drawing.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(drawing, png(matrix))
    print(f"\ndrawn in {drawing}")


def new_checkpoints(run_dir: Path) -> Iterator[str]:
    """Each new checkpoint, from the newest there is, until the training has ended.

    One that comes while another is being evaluated may be passed over, as with every continuous
    evaluator of TF1.

    Args:
      run_dir: folder of a run.

    Yields:
      Paths without extension, of whole checkpoints.
    """
    import tf_slim  # takes a second

    paths = tf_slim.evaluation.checkpoints_iterator(
        str(run_dir), timeout=QUIET_SECONDS, timeout_fn=lambda: not is_training(run_dir)
    )
    for path in paths:
        if find_damage(path) is None:
            yield path
            settings, _ = load_net(run_dir)  # the run may have been made longer meanwhile
            if checkpoint_step(path) >= settings["total_steps"]:
                return
