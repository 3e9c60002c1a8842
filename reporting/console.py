"""Terminal output: the progress bar, evaluations, the report."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
import time
from pathlib import Path

from tqdm import tqdm

from data import Dataset, describe_imbalance, printable
from training.recipe import Schedule
from training.settings import DEFAULT_NET

MOST_COLUMNS = 20  # of a confusion matrix
PLAIN_LINE_SECONDS = 10.0  # between two lines if stdout is not a terminal


class TrainingBar:
    """The progress of a training run on stdout: a bar on a terminal, plain lines elsewhere.

    A context manager, which closes the bar.

    Args:
      total_steps: steps of the whole run.
      num_epochs: passes over the training images in these steps; need not be an integer.
      split_name: the split that is evaluated.
    """

    def __init__(self, total_steps: int, num_epochs: float, split_name: str = "test"):
        self._total_steps = total_steps
        self._num_epochs = num_epochs
        self._split_name = split_name
        self._bar = None
        self._next_line = time.monotonic()

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *exc_info) -> None:
        if self._bar is not None:
            self._bar.close()

    def stepped(self, values, images_per_second: float | None) -> None:
        """Shows a step's values."""
        share = min(1.0, values.step / self._total_steps)  # a cluster may go past its last step
        epoch = f"epoch {math.ceil(self._num_epochs * share)}/{math.ceil(self._num_epochs)}"
        numbers = f"loss {values.loss:.3f}, accuracy {values.accuracy:.0%}"
        if images_per_second is not None:
            numbers += f", {images_per_second:,.0f} images/s"
        if sys.stdout.isatty():
            self._draw(int(values.step), epoch, numbers)
        elif time.monotonic() >= self._next_line or values.step >= self._total_steps:
            self._next_line = time.monotonic() + PLAIN_LINE_SECONDS
            print(f"{epoch}, step {values.step}/{self._total_steps}, {numbers}", flush=True)

    def _draw(self, step: int, epoch: str, numbers: str) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=self._total_steps,
                initial=step - 1,
                file=sys.stdout,
                dynamic_ncols=True,
                delay=1e-9,  # draw nothing until there are numbers to show
                bar_format="{desc} |{bar}| step {n_fmt}/{total_fmt}{postfix}, {remaining} left",
            )
        self._bar.set_description_str(epoch, refresh=False)
        self._bar.postfix = numbers
        self._bar.update(step - self._bar.n)

    def initialized(self, checkpoint: str, left_out: list[str]) -> None:
        """Prints where the initial weights come from, and which variables start anew."""
        exceptions = f", except for {', '.join(left_out)}" if left_out else ""
        print(printable(f"initial weights from {checkpoint}{exceptions}"), flush=True)

    def evaluated(self, evaluation) -> None:
        """Prints an evaluation above the bar."""
        print_evaluation(evaluation, self._split_name)


def print_plan(net: str, dataset: Dataset, schedule: Schedule) -> None:
    """Prints what was chosen for one of the paper's nets, and what unbalanced classes ask for."""
    if net != DEFAULT_NET:
        print(
            f"{net} at {dataset.resize_dim} x {dataset.resize_dim} pixels, recipe "
            f"{schedule.recipe.name}, {schedule.num_epochs:g} epochs, batch size "
            f"{schedule.batch_size}",
            flush=True,
        )
    if not schedule.class_weights and (imbalance := describe_imbalance(dataset)):
        print(f"{imbalance} (--class_weights)", file=sys.stderr)


def print_evaluation(evaluation, split_name: str) -> None:
    """Prints an evaluation on one line; above the bar, if there is one."""
    tqdm.write(
        f"step {evaluation.step:,}: {split_name} accuracy {evaluation.accuracy:.2%}, "
        f"loss {evaluation.loss:.4f}",
        file=sys.stdout,
    )
    sys.stdout.flush()


def print_report(results: dict, run_dir: Path) -> None:
    """Prints the results of a run, as stored in results.json."""
    low, high = results["accuracy_interval_95"]
    split = results["split"]
    classes = [f"{name} {percent(share)}" for name, share in results["class_accuracies"].items()]
    rows = [
        (
            f"{split} accuracy",
            f"{results['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}, "
            f"{results['images']:,} images)",
        ),
        (f"{split} loss", f"{results['loss']:.4f}"),
        ("per class", "  ".join(classes[:5])),
        *(("", "  ".join(classes[i : i + 5])) for i in range(5, len(classes), 5)),
        ("parameters", f"{results['parameters']:,}"),
    ]
    if results.get("images_per_second"):
        rows.append(("training speed", f"{results['images_per_second']:,.0f} images/s"))
    rows.append(("checkpoint", results["checkpoint"]))
    rows.append(("in TensorBoard", tensorboard_command(run_dir)))
    print()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {printable(text)}")


def print_classes(results: dict) -> None:
    """Prints precision and recall per class, the confusion matrix and the calibration error."""
    names = list(results["class_images"])
    rows = [("class", "images", "precision", "recall")]
    for name in names:
        shares = results["class_precisions"][name], results["class_accuracies"][name]
        rows.append((name, f"{results['class_images'][name]:,}", *map(percent, shares)))
    print(f"\n{aligned(rows, left=(0,))}")
    counts = results["confusion_matrix"]
    if len(names) <= MOST_COLUMNS:
        matrix = [("", *names)]
        matrix += [(name, *map(str, row)) for name, row in zip(names, counts, strict=True)]
        print(f"\ntrue class (rows), predicted class (columns)\n{aligned(matrix, left=(0,))}")
    print(
        f"\nexpected calibration error {results['calibration_error']:.2%} "
        "(how far the probabilities are from the accuracy)"
    )


def percent(share: float | None) -> str:
    """A share of 0..1 as a percentage; a dash for None."""
    return "-" if share is None else f"{share:.1%}"


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
    """The command that shows a run in the TensorBoard of this Python's environment."""
    program = Path(sys.executable).with_name("tensorboard")
    if shutil.which("tensorboard") == str(program):
        program = Path("tensorboard")
    elif program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.join([str(program), "--logdir", str(run_dir)])
