"""Shows a net's variable scopes in numbers, or compares two runs: python -m tools.scopes

For each scope: its output, its parameters (as the chapter counts them), its multiply-adds, and the
cost of a plain 3x3 convolution in its place, which is the chapter's argument for the fire module.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import numpy as np

# For `python path/to/tools/scopes.py`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import UserError, printable
from base.program import Parser, local_path, run
from base.runtime import load_tensorflow_quietly
from imagenet import DEFAULT_NET, ORIGINAL_DIM, RESIZE_DIM, SMALLEST_CROP
from reporting import figures
from reporting.console import aligned, percent
from training.batches import records_to_images

MAX_IMAGES = 250  # on which filters are dead
TITLES = (
    *("scope", "output", "parameters", "share", "plain 3x3", "saved"),
    *("height x width x filters x inputs + filters", "bytes", "multiply-adds", "share"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="python -m tools.scopes",
        description="Show a net's variable scopes in numbers, or compare two runs.",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "run",
        nargs="?",
        type=local_path,
        default=Path(DEFAULT_NET),
        help="a run's folder, or a checkpoint in one, or an untrained net: "
        f"{', '.join(SMALLEST_CROP)} (default: the first)",
    )
    either.add_argument(
        "--compare",
        nargs=2,
        type=local_path,
        metavar=("A", "B"),
        help="compare two runs or checkpoints: their shapes, the distance between their weights, "
        "and their dead filters; also saved as an image in B's folder",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead; save no image")
    return run(parser.prog, lambda: show(parser.parse_args(arguments)))


def show(flags: argparse.Namespace) -> None:
    """Prints what the flags ask for."""
    load_tensorflow_quietly()
    from reporting.scopes import texts

    if not flags.compare:
        rows = describe(flags.run)
        table = aligned([TITLES, *map(texts, rows)], left=(0, 6))
        print(json.dumps(rows, indent=2) if flags.json else table)
        return
    (a, *_), (b, *_) = measured = [*map(measure, flags.compare)]
    comparison = compare(*measured)
    print(json.dumps(comparison, indent=2) if flags.json else shown(comparison))
    image = None if flags.json else figures.scopes_comparison(comparison)
    if image:  # None without a scope in common
        other = a.output_dir if a.output_dir != b.output_dir else Path(a.checkpoint)
        figures.write_image(image, b.output_dir / f"scopes_compared_with_{other.name}.png")


def describe(path: Path) -> list[dict]:
    """The rows of `reporting.scopes.table` for a run, or for an untrained net."""
    from imagenet.nets import NETS
    from reporting.scopes import modules, table
    from saved.run import load_run

    if str(path) not in NETS or path.exists():
        return table(modules(load_run(path).model))
    # Images and classes of CIFAR-10, or of ImageNet.
    sizes = (32, 24, 10) if str(path) == DEFAULT_NET else (ORIGINAL_DIM, RESIZE_DIM, 1_000)
    return table(modules(NETS[str(path)](*sizes)))


def compare(a: tuple, b: tuple) -> dict:
    """The differences between two runs, as `measure` returns them; None for what one of them lacks.

    Returns:
      a, b: their checkpoints.
      scopes: a dictionary per scope with its parameters and output in a and b.
      variables: one per variable with its shape and norm in a and b, and moved, the norm of the
        difference as a fraction of the norm in a (None if the shapes differ).
      dead_relus: one per convolution with the fraction of filters in a and b that are zero on up to
        MAX_IMAGES of the run's test images; left out if neither run's images are available.
    """
    runs, rows, weights, dead = zip(a, b, strict=True)

    def pairs(found: tuple[dict, dict]) -> list[tuple[str, list]]:
        return [(name, [each.get(name) for each in found]) for name in found[0] | found[1]]

    return {
        "a": runs[0].checkpoint,
        "b": runs[1].checkpoint,
        "scopes": [
            {
                "scope": scope,
                "parameters": [row and row["parameters"] for row in pair],
                "output": [row and row["output"] for row in pair],
            }
            for scope, pair in pairs(rows)
        ],
        "variables": [moved(name, *arrays) for name, arrays in pairs(weights)],
        "dead_relus": [{"scope": scope, "dead": pair} for scope, pair in pairs(dead)],
    }


def measure(path: Path) -> tuple:
    """A saved run, and three dictionaries: the rows of `reporting.scopes.table` by scope,
    the weights by name, the fractions of dead filters by convolution."""
    from evaluation.inference import batch_size_for, load_net
    from reporting.scopes import modules, table
    from saved.run import load_dataset, load_run

    run, dead = load_run(path), {}
    with load_net(run) as net, contextlib.suppress(UserError):  # its images may be elsewhere
        weights = {each.op.name: net.session.run(each) for each in net.variables}
        records = load_dataset(run.settings, may_download=False).test.records
        step = 1 + len(records) // batch_size_for(run.model, MAX_IMAGES)
        relus = net.run(net.relus, records_to_images(records[::step], run.model.original_dim))
        dead = {name: float(np.mean(relu.max(axis=(0, 1, 2)) == 0)) for name, relu in relus.items()}
    return run, {row["scope"]: row for row in table(modules(run.model))}, weights, dead


def moved(name: str, a: np.ndarray | None, b: np.ndarray | None) -> dict:
    """One variable in two checkpoints; None in the one that lacks it."""
    shapes = [None if value is None else list(value.shape) for value in (a, b)]
    norms = [None if value is None else float(np.linalg.norm(value)) for value in (a, b)]
    distance = (
        float(np.linalg.norm(b - a)) / norms[0]
        if a is not None and b is not None and a.shape == b.shape and norms[0]
        else None
    )
    return {"variable": name, "shape": shapes, "norm": norms, "moved": distance}


def shown(comparison: dict) -> str:
    """The comparison as two tables of text."""
    dead = {row["scope"]: row["dead"] for row in comparison["dead_relus"]}
    scopes = [
        ("scope", "parameters in A", "in B", "output in A", "in B", "dead ReLUs in A", "in B"),
        *(
            (
                ("  " if "/" in row["scope"] else "") + row["scope"],
                *map(cell, [*row["parameters"], *row["output"]]),
                *map(percent, dead.get(row["scope"], [None, None])),
            )
            for row in comparison["scopes"]
        ),
    ]
    variables = [
        ("variable", "shape in A", "in B", "norm in A", "in B", "moved by"),
        *(
            (row["variable"], *map(cell, [*row["shape"], *row["norm"]]), percent(row["moved"]))
            for row in comparison["variables"]
        ),
    ]
    return (
        f"A  {printable(comparison['a'])}\nB  {printable(comparison['b'])}\n\n"
        f"{aligned(scopes, left=(0,))}\n\n{aligned(variables, left=(0,))}"
    )


def cell(value: list[int] | int | float | None) -> str:
    """A shape, a count or a norm as text; a dash for None."""
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
