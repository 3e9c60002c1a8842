"""Compares this project's speed with its peers, on the same images: python -m benchmarks.peers

All of them train the chapter's net on CIFAR-10 with batches of 128 (the course also with 32), the
same crops and flips, and Adam; train.py also with its default optimizer, which costs more.
--compare chooses SqueezeNet v1.1 instead, in training or inference.

Each is a separate process. They take turns of a few seconds, and each round starts with a different
one. Ratios are taken within a round, so that a machine that is slow for a minute is slow for all.
One more process measures matrix products, to show what share of that rate train.py reaches.

The peers' packages are installed once (benchmarks/requirements-peers.txt says how).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from reporting.console import aligned
from training import RunError
from training.command import Parser, positive, run_command
from training.runtime import load_tensorflow_quietly

PEERS_PYTHON = Path(".venv-peers/bin/python")
# Keeps glibc from returning a step's large buffers to the kernel. TensorFlow has its own allocator.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}


class Kind(NamedTuple):
    """How to start a contender.

    Attributes:
      module: its module in benchmarks.contenders.
      arguments: its arguments after the folder of the images.
      is_peer: whether it runs in the peers' environment instead of this one.
    """

    module: str
    arguments: tuple[str, ...] = ()
    is_peer: bool = False


OURS, MATRIX_PRODUCT = "train.py", "matrix product"
CONTENDERS = {
    OURS: Kind("this_project"),
    "train.py --recipe chapter": Kind("this_project", ("--recipe", "chapter")),
    "course, batch 128": Kind("course", ("128",)),
    "course, batch 32": Kind("course", ("32",)),
    "PyTorch": Kind("pytorch", ("eager",), is_peer=True),
    "PyTorch, compiled": Kind("pytorch", ("compile",), is_peer=True),
    "Keras 3": Kind("keras3", ("graph",), is_peer=True),
    "Keras 3, compiled": Kind("keras3", ("jit",), is_peer=True),
    "JAX/Flax": Kind("jax_flax", is_peer=True),
    MATRIX_PRODUCT: Kind("matrix_product"),
}
# SqueezeNet v1.1 at 224 pixels: Adam on all layers with batches of 32, and one image at a time on
# one thread.
COMPARISONS = {
    "chapter": CONTENDERS,
    "squeezenet1_1": {
        OURS: Kind("squeezenet11", ("train",)),
        "PyTorch": Kind("pytorch_squeezenet11", ("train",), is_peer=True),
    },
    "squeezenet1_1_inference": {
        OURS: Kind("squeezenet11", ("classify",)),
        "PyTorch": Kind("pytorch_squeezenet11", ("classify",), is_peer=True),
    },
}


class Contender:
    """A contender's process, which trains when it is its turn.

    Args:
      name: its name, for messages.
      kind: how to start it.
      flags: of the command line.
      log: file for its output.

    Raises:
      RunError: it ends before it trains.
    """

    def __init__(self, name: str, kind: Kind, flags: argparse.Namespace, log: Path):
        self._name, self._log = name, log
        python = flags.peers_python if kind.is_peer else sys.executable
        command = [python, "-m", f"benchmarks.contenders.{kind.module}", flags.data_dir]
        with open(log, "w") as file:
            self._process = subprocess.Popen(
                [*map(str, command), *kind.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=os.environ | (KEEP_MEMORY if kind.is_peer else {}),
                text=True,
            )
        self._answer()

    def take_turn(self, seconds: float) -> float:
        """Its rate per second: images, or floating-point operations."""
        print(seconds, file=self._process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        answer = self._process.stdout.readline()
        if not answer:
            last = self._log.read_text(errors="replace").strip().splitlines() or ["no output"]
            raise RunError(f"{self._name}: does not run ({last[-1]}); fix it, or leave it out.")
        return answer


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--compare", choices=COMPARISONS, default="chapter", help="default: %(default)s")
    add("--data_dir", type=Path, default=Path("data/downloads"), help="default: %(default)s")
    add("--peers_python", type=Path, default=PEERS_PYTHON, help="default: %(default)s")
    add("--rounds", type=positive(int, 10_000), default=15, help="default: %(default)s")
    add(
        "--seconds",
        type=positive(float, 3_600),
        default=3.0,
        help="per turn (default: %(default)s)",
    )
    add(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"what to compare with {OURS} (default: all of {', '.join(CONTENDERS)})",
    )
    return run_command(parser.prog, compare, parser.parse_args(arguments))


def compare(flags: argparse.Namespace) -> int:
    """Lets the contenders take turns, and prints the results; returns the exit code, 0.

    Raises:
      RunError: one of them does not run.
    """
    kinds = COMPARISONS[flags.compare]
    names = list(dict.fromkeys([OURS, *(flags.contenders or kinds)]))
    if unknown := [name for name in names if name not in kinds]:
        raise RunError(
            f"--contenders {unknown[0]}: is not part of --compare {flags.compare}; name "
            f"some of {', '.join(kinds)}."
        )
    if not flags.peers_python.exists() and any(kinds[name].is_peer for name in names):
        raise RunError(
            f"--peers_python {flags.peers_python}: does not exist; "
            "benchmarks/requirements-peers.txt says how to install the peers."
        )
    rates = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as stack:
        contenders = {}
        for number, name in enumerate(tqdm(names, desc="starting", leave=False, disable=None)):
            contenders[name] = Contender(name, kinds[name], flags, Path(logs, f"{number}.log"))
            stack.callback(contenders[name].close)
        for number in tqdm(range(flags.rounds), unit=" rounds", leave=False, disable=None):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                rates[name].append(contenders[name].take_turn(flags.seconds))
    products = rates.pop(MATRIX_PRODUCT, None)
    print(as_table(rates))
    if products:
        print(f"\n{as_share(rates[OURS], products, flop_per_image())}")
    return 0


def middle(values: list[float]) -> tuple[float, float, float]:
    """The three quartiles of values."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else 3 * values
    return low, median, high


def as_table(rates: dict[str, list[float]]) -> str:
    """Images per second, and the ratios of train.py to each contender: medians and quartiles."""
    lines = [("", "images/s", "half of the rounds", f"{OURS} is", "half of the rounds")]
    for name, own in rates.items():
        low, median, high = middle(own)
        ratios = [ours / theirs for ours, theirs in zip(rates[OURS], own, strict=True)]
        slower, times, faster = middle(ratios)
        lines.append(
            (
                name,
                f"{median:,.0f}",
                f"{low:,.0f} to {high:,.0f}",
                "" if name == OURS else f"{times:.2f} times as fast",
                "" if name == OURS else f"{slower:.2f} to {faster:.2f}",
            )
        )
    return aligned(lines, left=(0,))


def flop_per_image() -> int:
    """Floating-point operations of training on one image: two for each multiply-add.

    The gradients take twice as many as the forward pass. (This includes the gradient of conv1's
    inputs, 3% of the total, which is never computed.)
    """
    load_tensorflow_quietly()
    from reporting.scopes import modules
    from squeezenet_model import SqueezeNetModel

    net = modules(SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10))
    return 3 * 2 * sum(module.multiply_adds for module in net)


def as_share(ours: list[float], products: list[float], flop: int) -> str:
    """A line with the rate of matrix products, and the share of it that train.py reaches."""
    low, share, high = middle(
        [images * flop / flops for images, flops in zip(ours, products, strict=True)]
    )
    return (
        f"products of float32 matrices: {middle(products)[1] / 1e9:,.0f} GFLOP/s\n"
        f"{OURS}: {share:.0%} of that (half of the rounds {low:.0%} to {high:.0%}), counting "
        f"{flop / 1e6:.1f} MFLOP an image"
    )


if __name__ == "__main__":
    sys.exit(main())
