"""Measures fine-tuning on your own photos: python -m benchmarks.own_photos --folders a b c

Runs train.py from ImageNet weights on each folder with each seed, and prints accuracy and loss,
the seconds from the command to the report, and the peak of its memory. Several folders with
different training photos and the same test photos tell recipes apart; seeds alone do not. Flags
after -- go to train.py: `-- --num_epochs 10`.
"""

import argparse
import contextlib
import io
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from base import UserError
from base.files import read_json
from base.program import Parser, local_path, number, run
from command.train import main as train
from reporting.console import aligned


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(prog="python -m benchmarks.own_photos", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--folders", nargs="+", type=local_path, required=True, help="data sets, as of train.py")
    add("--seeds", type=number(int, 1, 100), default=2, help="of each (default: %(default)s)")
    add("--init_from", default="squeezenet1_1", help="default: %(default)s")
    add("train_flags", nargs="*", metavar="-- FLAGS", help="more flags for train.py")
    return run(parser.prog, lambda: measure(parser.parse_args(arguments)))


def measure(flags: argparse.Namespace) -> None:
    """Prints a row for each run, and the means; UserError if a run fails."""
    rows = []
    for folder in flags.folders:
        for seed in range(flags.seeds):
            own = ["--dataset", str(folder), "--init_from", flags.init_from, "--seed", str(seed)]
            # A process of its own, whose memory can be measured.
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                numbers = process.submit(train_once, [*own, *flags.train_flags]).result()
            if isinstance(numbers, str):
                raise UserError(f"train.py {' '.join(own)}: failed ({numbers}); run it to see why.")
            rows.append((folder.name, str(seed), *numbers))
            print(f"{folder.name}, seed {seed}: {numbers[0]:.2%}", file=sys.stderr, flush=True)
    means = map(statistics.mean, zip(*(row[2:] for row in rows), strict=True))
    shown = [
        (name, seed, f"{accuracy:.2%}", f"{loss:.4f}", f"{seconds:.1f}", f"{memory:,.0f}")
        for name, seed, accuracy, loss, seconds, memory in [*rows, ("mean", "", *means)]
    ]
    print(aligned([("folder", "seed", "accuracy", "loss", "seconds", "MB"), *shown], left=(0,)))


def train_once(train_flags: list[str]) -> tuple[float, float, float, float] | str:
    """Accuracy, loss, seconds and megabytes of a run; or what it printed, if it failed."""
    started, printed = time.perf_counter(), io.StringIO()
    with tempfile.TemporaryDirectory() as run_dir, contextlib.redirect_stderr(printed):
        with contextlib.redirect_stdout(io.StringIO()):
            code = train([*train_flags, "--run_dir", run_dir])
        if code:
            return printed.getvalue().strip().rpartition("\n")[2]
        results = read_json(Path(run_dir, "results.json"))
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000  # of kilobytes, on Linux
    return results["accuracy"], results["loss"], seconds, memory


if __name__ == "__main__":
    sys.exit(main())
