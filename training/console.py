"""What the user sees in the terminal, and what of TensorFlow's chatter they do not."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

# How a line of TensorFlow's C++ log begins: with its severity and date, or the other way round.
CHATTER = r"[IWE]\d{4} |[\d-]+ [\d:.]+: [IWE] |WARNING: All log messages before absl"
LINE_FILTER = """
import os, re, sys
unwanted = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not unwanted.match(line):
        os.write(2, line)
"""
MOST_COLUMNS = 20  # of a table for people
PLAIN_LINE_SECONDS = 10.0  # where there is no terminal for a bar


def load_tensorflow_quietly() -> None:
    """Imports TensorFlow, sets it up, and lets it look for devices, without what it logs meanwhile.

    TF_CPP_MIN_LOG_LEVEL alone does not stop what TensorFlow 2.21 logs in its start-up: those lines
    go straight to file descriptor 2. Anything else that is written there comes through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with filtered_stderr(CHATTER):
        from squeezenet_model import tf
        from training.devices import use_one_thread_an_op

        tf.config.list_physical_devices()
    use_one_thread_an_op()
    # The TF1 interface is deprecated, which is no news to someone who came for it; and what goes
    # wrong reaches the program as an exception, so nobody needs the log of it, or the traceback of
    # the thread that writes events.
    tf.logging.set_verbosity(tf.logging.FATAL)
    threading.excepthook = functools.partial(unless_event_writer, threading.excepthook)
    # It builds a cache of fonts the first time it draws, and says so.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=r"`tf\.layers\.\w+` is deprecated")


def unless_event_writer(hook: Callable, args: threading.ExceptHookArgs) -> None:
    """A threading.excepthook that leaves out TensorFlow's event writer (see EventWriters.flush)."""
    if args.thread is None or args.thread.name != "EventLoggerThread":
        hook(args)


@contextlib.contextmanager
def filtered_stderr(unwanted: str) -> Iterator[None]:
    """Sends what the process writes to stderr through a filter that drops unwanted lines.

    The filter is a process of its own, so that the last words of a crash come through too.

    Args:
      unwanted: regular expression that a line to drop begins with.
    """
    command = [sys.executable, "-I", "-S", "-c", LINE_FILTER, unwanted]
    # In a session of its own, so that Ctrl-C reaches this process alone.
    line_filter = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(line_filter.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        line_filter.communicate()


class TrainingBar:
    """The progress of a training run on stdout: a bar on a terminal, elsewhere plain lines.

    A context manager, which ends the bar.

    Args:
      total_steps: steps of the whole run.
      num_epochs: times that each training picture is seen in them; need not be whole.
      split_name: what the evaluations are of.
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
                delay=1e-9,  # not before there are numbers to show
                bar_format="{desc} |{bar}| step {n_fmt}/{total_fmt}{postfix}, {remaining} left",
            )
        self._bar.set_description_str(epoch, refresh=False)
        self._bar.postfix = numbers
        self._bar.update(step - self._bar.n)

    def initialized(self, checkpoint: str, left_out: list[str]) -> None:
        """Prints what the weights begin as."""
        print(f"weights from {checkpoint}; left out: {', '.join(left_out) or 'none'}", flush=True)

    def evaluated(self, evaluation) -> None:
        """Prints an evaluation's line above the bar."""
        print_evaluation(evaluation, self._split_name)


def print_evaluation(evaluation, split_name: str) -> None:
    """Prints what a checkpoint came to as a line; above the bar, where there is one."""
    tqdm.write(
        f"step {evaluation.step:,}: {split_name} accuracy {evaluation.accuracy:.2%}, "
        f"loss {evaluation.loss:.4f}",
        file=sys.stdout,
    )
    sys.stdout.flush()


def print_report(results: dict, run_dir: Path) -> None:
    """Prints what a run came to; results is what results.json holds."""
    low, high = results["accuracy_interval_95"]
    split = results["split"]
    classes = [f"{name} {percent(share)}" for name, share in results["class_accuracies"].items()]
    rows = [
        (
            f"{split} accuracy",
            f"{results['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}, "
            f"{results['pictures']:,} pictures)",
        ),
        (f"{split} loss", f"{results['loss']:.4f}"),
        ("of each class", "  ".join(classes[:5])),
        *(("", "  ".join(classes[i : i + 5])) for i in range(5, len(classes), 5)),
        ("parameters", f"{results['parameters']:,}"),
    ]
    if results.get("images_per_second"):
        rows.append(("training speed", f"{results['images_per_second']:,.0f} images/s"))
    rows.append(("checkpoint", results["checkpoint"]))
    rows.append(("to look inside", tensorboard_command(run_dir)))
    print()
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")


def print_classes(results: dict) -> None:
    """Prints what the classes came to, and which were taken for which."""
    names = list(results["class_pictures"])
    rows = [("class", "pictures", "precision", "recall")]
    for name in names:
        shares = results["class_precisions"][name], results["class_accuracies"][name]
        rows.append((name, f"{results['class_pictures'][name]:,}", *map(percent, shares)))
    print(f"\n{aligned(rows, left=(0,))}")
    counts = results["confusion_matrix"]
    if len(names) <= MOST_COLUMNS:
        matrix = [("", *names)]
        matrix += [(name, *map(str, row)) for name, row in zip(names, counts, strict=True)]
        print(f"\nof each class (rows), taken for (columns)\n{aligned(matrix, left=(0,))}")
    print(
        f"\nexpected calibration error {results['calibration_error']:.2%} "
        "(how far off the probabilities are)"
    )


def percent(share: float | None) -> str:
    """A share of 0..1 for people; a dash for None."""
    return "-" if share is None else f"{share:.1%}"


def aligned(lines: list[tuple[str, ...]], left: tuple[int, ...]) -> str:
    """Columns of text: those named flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if index in left else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def tensorboard_command(run_dir: Path) -> str:
    """What to type to see a run in TensorBoard: the one beside this Python, on the PATH or not."""
    program = Path(sys.executable).with_name("tensorboard")
    if shutil.which("tensorboard") == str(program):
        program = Path("tensorboard")
    elif program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.join([str(program), "--logdir", str(run_dir)])
