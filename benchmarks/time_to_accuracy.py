"""Measures how long a good net takes: python -m benchmarks.time_to_accuracy

Wall-clock seconds from the command to a finished run, with the imports and the test, one process
after the other on an otherwise idle machine. All contenders train the chapter's net on the same
images of CIFAR-10, in batches of 128. train.py and the course's loop are what their users type.
PyTorch and Keras use Adam with the schedule that comes with them (one-cycle, and a cosine with a
warm-up), at the best of four learning rates; --search tries them on held-out training images.

Except in the course's loop, the learning rate decays to zero by the end of a run, so a short run is
not the first part of a long one: each length is a run of its own. Finished runs are kept in
--results and not repeated; the table and the chart show all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers import KEEP_MEMORY, OURS, PEERS_PYTHON
from reporting.console import aligned
from reporting.figures import matplotlib_defaults
from training import RunError
from training.command import Parser, positive, run_command

COURSE, PYTORCH, KERAS = "the course's loop", "PyTorch", "Keras 3"
MODULES = {
    COURSE: "course_whole_run",
    PYTORCH: "pytorch_whole_run",
    KERAS: "keras3_whole_run",
}
PEERS = (PYTORCH, KERAS)
TRIED_RATES = (1e-3, 2e-3, 4e-3, 8e-3)
LEARNING_RATES = {PYTORCH: 4e-3, KERAS: 2e-3}  # the best of them on held-out images
LENGTHS = (6.4, 12.8, 25.6)  # epochs
SEARCHED_LENGTH = 6.4
HELD_OUT = 5_000  # training images to be tested on in the search
GOALS = (0.78, 0.80)


@dataclass(frozen=True)
class Run:
    """What to train.

    Attributes:
      contender: train.py, or one of MODULES.
      num_epochs: its length.
      seed: 0 or more.
      learning_rate: of PyTorch and Keras; None for the contender's own.
      held_out: number of training images to be tested on instead of the test images; 0 for none.
    """

    contender: str
    num_epochs: float
    seed: int
    learning_rate: float | None = None
    held_out: int = 0


@dataclass(frozen=True)
class Result:
    """What a run came to: seconds from the command to its end, and accuracy, 0..1."""

    seconds: float
    accuracy: float


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="benchmarks.time_to_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, names = parser.add_argument, [OURS, *MODULES]
    add("--data_dir", type=Path, default=Path("data/downloads"), help="default: %(default)s")
    add("--peers_python", type=Path, default=PEERS_PYTHON, help="default: %(default)s")
    add("--contenders", nargs="+", choices=names, metavar="NAME", default=names, help=f"{names}")
    add("--num_epochs", nargs="+", type=positive(float, 1_000), default=LENGTHS, help=f"{LENGTHS}")
    add("--seeds", type=positive(int, 100), default=3, help="how many (default: %(default)s)")
    add("--search", action="store_true", help="try the peers' learning rates instead")
    add(
        "--results",
        type=Path,
        default=Path("runs/time_to_accuracy.jsonl"),
        help="file of the finished runs (default: %(default)s)",
    )
    add("--chart", type=Path, help="where to draw accuracy over seconds, as a PNG file")
    return run_command(parser.prog, compare, parser.parse_args(arguments))


def compare(flags: argparse.Namespace) -> int:
    """Trains what is not yet in --results, and prints the results; returns the exit code, 0.

    Raises:
      RunError: a contender does not run.
    """
    wanted = searched_runs(flags) if flags.search else timed_runs(flags)
    finished = read_results(flags.results)
    flags.results.parent.mkdir(parents=True, exist_ok=True)
    for run in wanted:
        if run not in finished:
            finished[run] = result = train(run, flags)
            with open(flags.results, "a") as file:
                print(json.dumps(asdict(run) | asdict(result)), file=file)
            print(f"{run}: {result.accuracy:.2%} in {result.seconds:.0f} s", file=sys.stderr)
    results = {run: done for run, done in finished.items() if bool(run.held_out) == flags.search}
    if flags.search:
        print(searched_table(results))
        return 0
    medians = medians_of(results)
    print(f"{table(results)}\n\n{goals(medians)}")
    if flags.chart:
        draw(medians, flags.chart)
    return 0


def timed_runs(flags: argparse.Namespace) -> list[Run]:
    """The runs to time. Contenders take turns, so that a change in the machine's speed hits all."""
    return [
        Run(contender, num_epochs, seed, LEARNING_RATES.get(contender))
        for seed in range(flags.seeds)
        for num_epochs in flags.num_epochs
        for contender in flags.contenders
    ]


def searched_runs(flags: argparse.Namespace) -> list[Run]:
    """One run for each of the peers' learning rates."""
    return [
        Run(contender, SEARCHED_LENGTH, 0, rate, HELD_OUT)
        for contender in flags.contenders
        if contender in PEERS
        for rate in TRIED_RATES
    ]


def read_results(path: Path) -> dict[Run, Result]:
    """The finished runs in a file of JSON lines; none if there is no such file."""
    finished = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        values = json.loads(line)
        result = Result(values.pop("seconds"), values.pop("accuracy"))
        finished[Run(**values)] = result
    return finished


def train(run: Run, flags: argparse.Namespace) -> Result:
    """Trains once, in a process of its own.

    Raises:
      RunError: it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command, environment = [sys.executable, "train.py"], dict(os.environ)
        if run.contender == OURS:
            command += f"--dataset cifar10 --num_epochs {run.num_epochs} --seed {run.seed}".split()
            command += ["--data_dir", flags.data_dir, "--run_dir", folder]
        else:
            if run.contender in PEERS:
                command[0], environment = flags.peers_python, environment | KEEP_MEMORY
            command[1:] = ["-m", f"benchmarks.contenders.{MODULES[run.contender]}", flags.data_dir]
            command += [run.num_epochs, run.learning_rate or 0, run.seed, run.held_out]
        started = time.perf_counter()
        done = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, env=environment, errors="replace"
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            last = done.stderr.strip().splitlines() or ["no output"]
            raise RunError(f"{run.contender}: does not run ({last[-1]}); fix it, or leave it out.")
        if run.contender == OURS:
            return Result(seconds, json.loads(Path(folder, "results.json").read_text())["accuracy"])
    return Result(seconds, float(done.stdout.split()[-1]))


def medians_of(results: dict[Run, Result]) -> dict[str, dict[float, Result]]:
    """For each contender and length, the medians over the seeds."""
    seeds = {}
    for run, result in results.items():
        seeds.setdefault(run.contender, {}).setdefault(run.num_epochs, []).append(result)
    return {
        contender: {
            num_epochs: Result(
                statistics.median(result.seconds for result in group),
                statistics.median(result.accuracy for result in group),
            )
            for num_epochs, group in sorted(lengths.items())
        }
        for contender, lengths in seeds.items()
    }


def table(results: dict[Run, Result]) -> str:
    """A row for each contender and length: medians, and the range of the accuracies."""
    lines = [("", "epochs", "seeds", "seconds", "test accuracy", "of all seeds")]
    for contender, lengths in medians_of(results).items():
        for num_epochs, median in lengths.items():
            accuracies = [
                result.accuracy
                for run, result in results.items()
                if (run.contender, run.num_epochs) == (contender, num_epochs)
            ]
            lines.append(
                (
                    contender,
                    f"{num_epochs:g}",
                    f"{len(accuracies)}",
                    f"{median.seconds:.0f}",
                    f"{median.accuracy:.2%}",
                    f"{min(accuracies):.2%} to {max(accuracies):.2%}",
                )
            )
    return aligned(lines, left=(0,))


def goals(medians: dict[str, dict[float, Result]]) -> str:
    """For each goal and contender, the seconds of the shortest runs whose median reaches it."""
    lines = []
    for goal in GOALS:
        for contender, lengths in medians.items():
            seconds = [done.seconds for done in lengths.values() if done.accuracy >= goal]
            longest = max(done.seconds for done in lengths.values())
            answer = f"{min(seconds):.0f} s" if seconds else f"not within {longest:.0f} s"
            lines.append((f"{goal:.0%}", contender, answer))
    return aligned(lines, left=(0, 1, 2))


def searched_table(results: dict[Run, Result]) -> str:
    """A row for each contender and learning rate."""
    lines = [("", "learning rate", "accuracy on held-out images")]
    lines += [
        (run.contender, f"{run.learning_rate:g}", f"{result.accuracy:.2%}")
        for run, result in results.items()
    ]
    return aligned(lines, left=(0,))


def draw(medians: dict[str, dict[float, Result]], path: Path) -> None:
    """Draws accuracy over seconds: a line for each contender, a point for each length."""
    with matplotlib_defaults():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        ax = figure.subplots()
        for contender, lengths in medians.items():
            seconds = [done.seconds for done in lengths.values()]
            accuracies = [100 * done.accuracy for done in lengths.values()]
            ax.plot(seconds, accuracies, marker="o", label=contender)
        for goal in GOALS:
            ax.axhline(100 * goal, color="gray", linewidth=0.8, linestyle=":")
        ax.set_xlabel("seconds from the command to the finished run")
        ax.set_ylabel("test accuracy in %")
        ax.set_xlim(left=0)
        ax.grid(alpha=0.3)
        ax.legend(loc="lower right")
        figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
