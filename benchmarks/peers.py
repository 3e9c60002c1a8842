"""Compares this project's speed with its peers, on the same images: python -m benchmarks.peers

All of them train the chapter's net on CIFAR-10 with batches of 128 (the course also with 32), the
same crops and flips, and Adam; train.py also with its default optimizer, which costs more.
Where the processor has bfloat16, train.py uses it by default, and the peers have rows with it, too.
--compare chooses SqueezeNet v1.1 instead, in training or inference.

Each is a separate process. They take turns of a few seconds, and each round starts with a different
one. Ratios are taken within a round, so that a machine that is slow for a minute is slow for all.
One more process shows what the machine could do: it multiplies large matrices, with as many
operations for an "image" as the training on one has.

The peers' packages are installed once (benchmarks/requirements-peers.txt says how).
"""

import argparse
import contextlib
import statistics
import sys

from tqdm import tqdm

from base.program import number, run
from benchmarks.contenders.process import OURS, Contender, Job, check_peers, contender_parser
from reporting.console import aligned

# SqueezeNet v1.1 at 224 pixels: Adam on all layers with batches of 32, and one image at a time on
# one thread.
COMPARISONS = {
    "chapter": {
        OURS: Job("this_project"),
        "train.py, float32": Job("this_project", options=("--precision", "float32")),
        "train.py, bfloat16": Job("this_project", options=("--precision", "bfloat16")),
        "train.py --recipe chapter": Job("this_project", options=("--recipe", "chapter")),
        "course, batch 128": Job("course"),
        "course, batch 32": Job("course", batch_size=32),
        "PyTorch": Job("pytorch"),
        "PyTorch, compiled": Job("pytorch", options=("compiled",)),
        "PyTorch, bfloat16": Job("pytorch", options=("bfloat16",)),
        "Keras 3": Job("keras3"),
        "Keras 3, compiled": Job("keras3", options=("compiled",)),
        "Keras 3, bfloat16": Job("keras3", options=("bfloat16",)),
        "JAX/Flax": Job("jax_flax"),
        "matrix products": Job("this_project", "multiply"),
    },
    "squeezenet1_1": {
        OURS: Job("this_project", "train_v1_1", batch_size=32),
        "train.py, float32": Job("this_project", "train_v1_1", 32, ("float32",)),
        "PyTorch": Job("pytorch", "train_v1_1", batch_size=32),
        "PyTorch, bfloat16": Job("pytorch", "train_v1_1", 32, ("bfloat16",)),
    },
    "squeezenet1_1_inference": {
        OURS: Job("this_project", "classify_v1_1", batch_size=1),
        "train.py, float32": Job("this_project", "classify_v1_1", 1, ("float32",)),
        "PyTorch": Job("pytorch", "classify_v1_1", batch_size=1),
        "PyTorch, bfloat16": Job("pytorch", "classify_v1_1", 1, ("bfloat16",)),
    },
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = contender_parser("python -m benchmarks.peers", __doc__)
    add, names = parser.add_argument, ", ".join(COMPARISONS["chapter"])
    add("--compare", choices=COMPARISONS, default="chapter", help="default: %(default)s")
    add("--rounds", type=number(int, 2, 10_000), default=15, help="default: %(default)s")
    add("--seconds", type=number(float, 0.1, 3_600), default=3.0, help="per turn (default: 3)")
    add("--contenders", nargs="+", metavar="NAME", default=[], help=f"default: all of {names}")
    flags = parser.parse_args(arguments)
    jobs = COMPARISONS[flags.compare]
    if unknown := {*flags.contenders} - {*jobs}:
        parser.error(f"there is no {unknown.pop()} in --compare {flags.compare}")
    if flags.contenders:
        jobs = {name: jobs[name] for name in (OURS, *flags.contenders)}
    return run(parser.prog, lambda: compare(jobs, flags))


def compare(jobs: dict[str, Job], flags: argparse.Namespace) -> None:
    """Lets the contenders take turns, and prints the results; UserError if one does not run."""
    check_peers(jobs.values(), flags)
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    with contextlib.ExitStack() as stack:
        contenders = []
        for name, job in tqdm(jobs.items(), desc="starting", leave=False, disable=None):
            contender = stack.enter_context(Contender(name, job, flags))
            contender.answer()
            contenders.append((rates[name], contender))
        for _ in tqdm(range(flags.rounds), unit=" rounds", leave=False, disable=None):
            for own, contender in contenders:
                own.append(contender.take_turn(flags.seconds))
            contenders.append(contenders.pop(0))
    print(table(rates))


def table(rates: dict[str, list[float]]) -> str:
    """Images per second, and the ratios of train.py to each contender: medians and quartiles."""
    rows: list[tuple[str, ...]] = [
        ("", "images/s", "half of the rounds", f"{OURS} is", "half of the rounds")
    ]
    for name, own in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(rates[OURS], own, strict=True)]
        speeds, times = (statistics.quantiles(each, n=4) for each in (own, ratios))
        rows.append(
            (
                name,
                f"{speeds[1]:,.0f}",
                f"{speeds[0]:,.0f} to {speeds[2]:,.0f}",
                "" if name == OURS else f"{times[1]:.2f} times as fast",
                "" if name == OURS else f"{times[0]:.2f} to {times[2]:.2f}",
            )
        )
    return aligned(rows, left=(0,))


if __name__ == "__main__":
    sys.exit(main())
