"""Measures how long a good net takes: python -m benchmarks.time_to_accuracy

Wall-clock seconds from the command to a finished run, with the imports and the test, one process
after the other on an otherwise idle machine. All contenders train the chapter's net on the same
images of CIFAR-10, in batches of 128. train.py and the course's loop are what their users type.
PyTorch and Keras use Adam with the schedule that comes with them (one-cycle, and a cosine with a
warm-up), at the best of four learning rates on held-out training images.

Except in the course's loop, the learning rate decays to zero by the end of a run, so a short run is
not the first part of a long one: each length is a run of its own. Finished runs are kept in
--results and not repeated; the table and the chart show all of them.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

from tqdm import tqdm

from base import UserError
from base.program import SMALLEST, local_path, number, run
from benchmarks.contenders.process import OURS, Contender, Job, check_peers, contender_parser
from reporting.console import aligned
from reporting.figures import matplotlib_defaults

CONTENDERS = {
    OURS: Job("this_project"),
    "the course's loop": Job("course"),
    "PyTorch": Job("pytorch", learning_rate=4e-3),  # the best of 1e-3, 2e-3, 4e-3 and 8e-3
    "Keras 3": Job("keras3", learning_rate=2e-3),
}
# A finished run: contender, epochs and seed; seconds from the command to its end, and accuracy on
# the test images, 0..1.
Finished = tuple[str, float, int, float, float]
# The same runs with all seeds: contender and epochs; number of seeds; median seconds; median,
# lowest and highest accuracy.
Summary = tuple[str, float, int, float, float, float, float]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = contender_parser("python -m benchmarks.time_to_accuracy", __doc__)
    add, names, epochs = parser.add_argument, list(CONTENDERS), number(float, SMALLEST, 1_000)
    add("--contenders", nargs="+", choices=names, metavar="NAME", default=names, help=f"{names}")
    add(
        "--num_epochs",
        nargs="+",
        type=epochs,
        default=[6.4, 12.8, 25.6],
        help="lengths of the runs (default: %(default)s)",
    )
    add("--seeds", type=number(int, 1, 100), default=3, help="how many (default: %(default)s)")
    add(
        "--results",
        type=local_path,
        default=Path("runs/time_to_accuracy.jsonl"),
        help="file of the finished runs (default: %(default)s)",
    )
    add("--chart", type=local_path, help="where to draw accuracy over seconds, as a PNG file")
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: compare(flags))


def compare(flags: argparse.Namespace) -> None:
    """Trains what is not yet in --results, and prints the results.

    Contenders take turns, so that a change in the machine's speed hits all.

    Raises:
      UserError: a contender does not run.
    """
    finished = read_results(flags.results)
    done = {run[:3] for run in finished}
    wanted = itertools.product(range(flags.seeds), flags.num_epochs, flags.contenders)
    missing = [run for seed, length, name in wanted if (run := (name, length, seed)) not in done]
    check_peers([CONTENDERS[name] for name, _, _ in missing], flags)
    flags.results.parent.mkdir(parents=True, exist_ok=True)
    for contender, num_epochs, seed in tqdm(missing, unit=" runs", leave=False, disable=None):
        finished.append(train(contender, num_epochs, seed, flags))
        with open(flags.results, "a") as file:
            print(json.dumps(finished[-1]), file=file)
    summaries = summarize(finished)
    print(table(summaries))
    if flags.chart:
        draw(summaries, flags.chart)


def read_results(path: Path) -> list[Finished]:
    """The finished runs in a file of JSON lines; none if there is no such file.

    Raises:
      UserError: it is another file.
    """
    try:
        lines = path.read_text().splitlines() if path.exists() else []
        return [
            (str(contender), float(num_epochs), int(seed), float(seconds), float(accuracy))
            for contender, num_epochs, seed, seconds, accuracy in map(json.loads, lines)
        ]
    except (TypeError, ValueError):
        raise UserError(f"--results {path}: is not of this command; name another file.") from None


def train(contender: str, num_epochs: float, seed: int, flags: argparse.Namespace) -> Finished:
    """Trains once, in a process of its own; raises UserError if that fails."""
    started = time.perf_counter()
    job = CONTENDERS[contender]._replace(num_epochs=num_epochs, seed=seed)
    with Contender(contender, job, flags) as process:
        accuracy = process.answer()
    return contender, num_epochs, seed, time.perf_counter() - started, accuracy


def summarize(finished: list[Finished]) -> list[Summary]:
    """What each contender reaches with each length, this project first."""
    summaries = []
    finished.sort(key=lambda run: (run[0] != OURS, run))
    for (contender, num_epochs), runs in itertools.groupby(finished, key=lambda run: run[:2]):
        _, _, seeds, seconds, accuracies = zip(*runs, strict=True)
        medians = statistics.median(seconds), statistics.median(accuracies)
        spread = min(accuracies), max(accuracies)
        summaries.append((contender, num_epochs, len(seeds), *medians, *spread))
    return summaries


def table(summaries: list[Summary]) -> str:
    """A row for each contender and length."""
    rows = [
        (
            name,
            f"{epochs:g}",
            f"{seeds}",
            f"{seconds:.0f}",
            f"{median:.2%}",
            f"{low:.2%} to {high:.2%}",
        )
        for name, epochs, seeds, seconds, median, low, high in summaries
    ]
    heading = ("", "epochs", "seeds", "seconds", "test accuracy", "of all seeds")
    return aligned([heading, *rows], left=(0,))


def draw(summaries: list[Summary], path: Path) -> None:
    """Draws accuracy over seconds: a line for each contender, a point for each length."""
    with matplotlib_defaults():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        ax = figure.subplots()
        for contender, own in itertools.groupby(summaries, key=lambda summary: summary[0]):
            points = [(seconds, 100 * accuracy) for _, _, _, seconds, accuracy, _, _ in own]
            ax.plot(*zip(*points, strict=True), marker="o", label=contender)
        ax.set(
            xlabel="seconds from the command to the finished run",
            ylabel="test accuracy in %",
            xlim=(0, None),
        )
        ax.grid(alpha=0.3)
        ax.legend(loc="lower right")
        figure.savefig(path, dpi=100, format="png")


if __name__ == "__main__":
    sys.exit(main())
