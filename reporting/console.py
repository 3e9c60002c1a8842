"""Terminal output: the progress bar, evaluations, the report."""

import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from base import printable
from data import class_counts
from imagenet import DEFAULT_NET

PLAIN_LINE_SECONDS = 10.0  # between two lines if stdout is not a terminal


class TrainingBar(tqdm):
    """The progress of a training run on stdout: a bar on a terminal, plain lines elsewhere.

    Args:
      step, total_steps: steps taken so far, and in the whole run.
      num_epochs: passes over the training images in all these steps; need not be an integer.
      has_accuracy: whether to show the accuracy of a batch, which says nothing of photos that a
        fitted last layer has already learned.
    """

    def __init__(self, step: int, total_steps: int, num_epochs: float, has_accuracy: bool = True):
        super().__init__(
            initial=step,
            total=total_steps,
            file=sys.stdout,
            disable=step >= total_steps or not sys.stdout.isatty(),
            dynamic_ncols=True,
            bar_format="{desc} |{bar}| step {n_fmt}/{total_fmt}{postfix}, {remaining} left",
        )
        self._num_epochs, self._next_line = num_epochs, time.monotonic()
        self._has_accuracy = has_accuracy

    def step_done(self, values, images_per_second: float | None) -> None:
        """Shows a step's values."""
        fraction = min(1.0, values.step / self.total)  # a cluster may pass its last step
        epoch = f"epoch {math.ceil(self._num_epochs * fraction)}/{math.ceil(self._num_epochs)}"
        speed = f", {images_per_second:,.0f} images/s" if images_per_second is not None else ""
        accuracy = f", accuracy {values.accuracy:.0%}" if self._has_accuracy else ""
        numbers = f"loss {values.loss:.3f}{accuracy}{speed}"
        if not self.disable:
            if self.n == self.initial:
                self.unpause()  # the first step, in which TensorFlow sets itself up, tells nothing
            self.set_description_str(epoch, refresh=False)
            self.set_postfix_str(numbers, refresh=False)
            self.update(int(values.step) - self.n)
        elif time.monotonic() >= self._next_line or values.step >= self.total:
            self._next_line = time.monotonic() + PLAIN_LINE_SECONDS
            print(f"{epoch}, step {values.step}/{self.total}, {numbers}", flush=True)


def print_plan(plan) -> None:
    """Prints what a training.plan.Plan has chosen for one of the paper's nets or in bfloat16, and
    what unbalanced classes ask for."""
    schedule, net, dim = plan.schedule, plan.settings["net"], plan.model.resize_dim
    if net != DEFAULT_NET or schedule.precision != "float32":
        print(
            f"{net} at {dim} x {dim} pixels, recipe {schedule.recipe.name}, "
            f"{schedule.num_epochs:g} epochs, batch size {schedule.batch_size}, "
            f"{schedule.precision}",
            flush=True,
        )
    counts, names = class_counts(plan.dataset), plan.dataset.class_names
    if not schedule.class_weights and counts.max() > 10 * counts.min():
        print(
            f"the classes are unbalanced: {counts.max():,} training images of "
            f"{printable(names[counts.argmax()])}, but {counts.min():,} of "
            f"{printable(names[counts.argmin()])}; weighting the classes may help "
            "(--class_weights)",
            file=sys.stderr,
        )


def print_evaluation(evaluation, split_name: str) -> None:
    """Prints an evaluation on one line; above the bar, if there is one."""
    tqdm.write(
        f"step {evaluation.step:,}: {split_name} accuracy {evaluation.accuracy:.2%}, "
        f"loss {evaluation.loss:.4f}"
    )
    sys.stdout.flush()


def print_report(results: dict, run_dir: Path) -> None:
    """Prints the results of a run, as stored in results.json."""
    low, high = results["accuracy_interval_95"]
    split, speed = results["split"], results.get("images_per_second")
    classes = [f"{name} {percent(part)}" for name, part in results["class_accuracies"].items()]
    rows: list[tuple[str, ...]] = [
        (
            f"{split} accuracy",
            f"{results['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}, "
            f"{results['images']:,} images)",
        ),
        (f"{split} loss", f"{results['loss']:.4f}"),
        ("per class", "  ".join(classes[:5])),
        *(("", "  ".join(classes[i : i + 5])) for i in range(5, len(classes), 5)),
        ("parameters", f"{results['parameters']:,}"),
        *([("training speed", f"{speed:,.0f} images/s")] if speed else []),
        ("checkpoint", results["checkpoint"]),
        ("in TensorBoard", tensorboard_command(run_dir)),
    ]
    print(f"\n{aligned(rows, left=(0, 1))}")


def print_classes(results: dict) -> None:
    """Prints precision and recall per class, the confusion matrix and the calibration error."""
    precisions, recalls = results["class_precisions"], results["class_accuracies"]
    rows = [
        (name, f"{images:,}", percent(precisions[name]), percent(recalls[name]))
        for name, images in results["class_images"].items()
    ]
    print("\n" + aligned([("class", "images", "precision", "recall"), *rows], left=(0,)))
    if len(rows) <= 20:  # a wider matrix could not be read
        counts = zip(precisions, results["confusion_matrix"], strict=True)
        matrix = [("", *precisions), *((name, *map(str, row)) for name, row in counts)]
        print(f"\ntrue class (rows), predicted class (columns)\n{aligned(matrix, left=(0,))}")
    print(
        f"\nexpected calibration error {results['calibration_error']:.2%} "
        "(how far the probabilities are from the accuracy)"
    )


def percent(fraction: float | None) -> str:
    """A fraction of 0..1 as a percentage; a dash for None."""
    return "-" if fraction is None else f"{fraction:.1%}"


def aligned(lines: list[tuple[str, ...]], left: tuple[int, ...]) -> str:
    """Aligned columns of printable text: those in left are flush left, the others flush right."""
    lines = [tuple(map(printable, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if index in left else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def tensorboard_command(run_dir: Path) -> str:
    """The command that shows a run in the TensorBoard of this Python's environment.

    Packages from PYTHONPATH or `pip --user` have no program next to Python.
    """
    python = sys.executable or "python"
    tensorboard = shutil.which("tensorboard", path=os.path.dirname(python))
    program, *rest = [tensorboard] if tensorboard else [python, "-m", "tensorboard.main"]
    if shutil.which(Path(program).stem) == program:  # what the shell would find
        program = Path(program).stem
    join = subprocess.list2cmdline if sys.platform == "win32" else shlex.join
    return join([program.removeprefix(f"{Path.cwd()}{os.sep}"), *rest, "--logdir", str(run_dir)])
