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

if not __package__:  # started as `python path/to/tools/scopes.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import UserError, printable
from base.program import Parser, local_path, run
from base.runtime import load_tensorflow_quietly
from imagenet import DEFAULT_NET, ORIGINAL_DIM, RESIZE_DIM, SMALLEST_CROP
from reporting.console import aligned, percent
from saved.run_dir import output_dir

# original_dim, resize_dim, classes
CIFAR10_SIZES, IMAGENET_SIZES = (32, 24, 10), (ORIGINAL_DIM, RESIZE_DIM, 1_000)
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
    run_help = "a run's folder, or a checkpoint in one"
    either.add_argument(
        "run",
        nargs="?",
        type=local_path,
        help=f"{run_help}, or an untrained net: {', '.join(SMALLEST_CROP)} (default: the first)",
    )
    either.add_argument(
        "--compare",
        nargs=2,
        type=local_path,
        metavar=("A", "B"),
        help=f"compare two runs, each {run_help}: their shapes, the distance between their "
        "weights, and their dead filters; also saved as an image in B's folder",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead; save no image")
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: show(flags))


def show(flags: argparse.Namespace) -> None:
    """Prints what the flags ask for."""
    load_tensorflow_quietly()
    from reporting import figures, scopes

    content = compare(*flags.compare) if flags.compare else describe(flags.run or DEFAULT_NET)
    if flags.json:
        print(json.dumps(content, indent=2))
    elif isinstance(content, list):
        print(aligned([TITLES, *map(scopes.texts, content)], left=(0, 6)))
    else:
        print(shown(content))
        a, b = Path(content["a"]), Path(content["b"])
        other = a.name if a.parent == b.parent else a.parent.name
        if image := figures.scopes_comparison(content):  # None without a scope in common
            figures.write_image(image, output_dir(b.parent) / f"scopes_compared_with_{other}.png")


def describe(path: Path | str) -> list[dict]:
    """The rows of `reporting.scopes.table` for a run, or for an untrained net."""
    from imagenet.nets import NETS
    from reporting.scopes import modules, table
    from saved.run import load_run

    if str(path) not in NETS or Path(path).exists():
        return table(modules(load_run(Path(path)).model))
    sizes = CIFAR10_SIZES if str(path) == DEFAULT_NET else IMAGENET_SIZES
    return table(modules(NETS[str(path)](*sizes)))


def compare(a: Path, b: Path) -> dict:
    """The differences between two runs or checkpoints.

    Returns:
      a, b: their checkpoints.
      scopes: a dictionary per scope with its parameters and output in a and b; None in the one that
        lacks it.
      variables: a dictionary per variable with its shape and norm in a and b, and moved, the norm
        of the difference as a fraction of the norm in a (None if the shapes differ).
      dead_relus: per convolution, the fraction of filters in a and b that are zero everywhere on
        up to MAX_IMAGES of the run's test images; left out if those images are not available.
    """
    runs = measure(a), measure(b)

    def pairs(key: str) -> list[tuple[str, list]]:
        names = runs[0][key] | runs[1][key]
        return [(name, [run[key].get(name) for run in runs]) for name in names]

    return {
        "a": runs[0]["checkpoint"],
        "b": runs[1]["checkpoint"],
        "scopes": [
            {
                "scope": scope,
                "parameters": [row and row["parameters"] for row in rows],
                "output": [row and row["output"] for row in rows],
            }
            for scope, rows in pairs("rows")
        ],
        "variables": [moved(name, *arrays) for name, arrays in pairs("weights")],
        "dead_relus": [{"scope": scope, "dead": pair} for scope, pair in pairs("dead")],
    }


def measure(path: Path) -> dict:
    """What `compare` needs of a run: its checkpoint; the rows of `reporting.scopes.table` by scope;
    the weights by name; the fractions of dead filters by convolution, as dead."""
    from reporting.scopes import modules, table
    from saved.run import load_dataset, load_run
    from training.batches import records_to_images
    from training.inference import batch_size_for, load_net

    run, relus = load_run(path), {}
    with load_net(run) as net, contextlib.suppress(UserError):  # its images may be elsewhere
        weights = {each.op.name: net.session.run(each) for each in net.variables}
        records = load_dataset(run.settings, may_download=False).test.records
        step = 1 + len(records) // batch_size_for(run.model, MAX_IMAGES)
        relus = net.run(net.relus, records_to_images(records[::step], run.model.original_dim))
    is_dead = {scope: values.max(axis=(0, 1, 2)) == 0 for scope, values in relus.items()}
    return {
        "checkpoint": run.checkpoint,
        "rows": {row["scope"]: row for row in table(modules(run.model))},
        "weights": weights,
        "dead": {scope: float(filters.mean()) for scope, filters in is_dead.items()},
    }


def moved(name: str, a: np.ndarray | None, b: np.ndarray | None) -> dict:
    """One variable in two checkpoints; None in the one that lacks it."""
    shapes = [None if value is None else list(value.shape) for value in (a, b)]
    norms = [None if value is None else float(np.linalg.norm(value)) for value in (a, b)]
    distance = None
    if a is not None and b is not None and a.shape == b.shape and norms[0]:
        distance = float(np.linalg.norm(b - a)) / norms[0]
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
    heading = printable(f"A  {comparison['a']}"), printable(f"B  {comparison['b']}")
    return "\n".join([*heading, "", aligned(scopes, (0,)), "", aligned(variables, (0,))])


def cell(value: list[int] | int | float | None) -> str:
    """A shape, a count or a norm as text; a dash for None."""
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
