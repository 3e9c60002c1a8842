"""Shows a net's variable scopes in numbers, or compares two runs: python -m tools.scopes

For each scope: its output, its parameters (as the chapter counts them), its multiply-adds, and the
cost of a plain 3x3 convolution in its place, which is the chapter's argument for the fire module.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # started as `python path/to/tools/scopes.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import data
from imagenet import ORIGINAL_DIM, PUBLISHED, class_names
from reporting.console import aligned
from training import RunError
from training.command import Parser, local_path, run_command
from training.runtime import load_tensorflow_quietly

if TYPE_CHECKING:  # takes seconds to import
    from training.saved_run import Run

# The net that `tools.scopes` describes by default: the chapter's, for CIFAR-10.
CIFAR10_NET = {"original_dim": 32, "resize_dim": 24, "output_size": 10}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="tools.scopes",
        description="Show a net's variable scopes in numbers, or compare two runs.",
    )
    run = "a run's folder, or a checkpoint in one"
    parser.add_argument(
        "run",
        nargs="?",
        type=local_path,
        help=f"{run}, or {', '.join(PUBLISHED)} (default: the untrained net for CIFAR-10)",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=local_path,
        metavar=("A", "B"),
        help=f"compare two runs, each {run}: their shapes, the distance between their weights, and "
        "their dead filters; also saved as an image in B's folder",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead; save no image")
    flags = parser.parse_args(arguments)
    if flags.run and flags.compare:
        parser.error("--compare takes two runs after it, and none before it")
    return run_command(parser.prog, show, flags)


def show(flags: argparse.Namespace) -> int:
    """Prints what the flags ask for; returns the exit code, 0."""
    load_tensorflow_quietly()
    if flags.compare:
        comparison = compare(*flags.compare)
        print(json.dumps(comparison, indent=2) if flags.json else shown_comparison(comparison))
        if not flags.json:
            draw(comparison)
    else:
        rows = describe(flags.run)
        print(json.dumps(rows, indent=2) if flags.json else shown_scopes(rows))
    return 0


def describe(path: Path | None) -> list[dict]:
    """The rows of `reporting.scopes.table` for a run, a published net, or the default net."""
    from imagenet.nets import NETS
    from reporting.scopes import modules, table
    from training.saved_run import load_run

    if path is None:
        model = NETS["squeezenet"](**CIFAR10_NET)
    elif str(path) in PUBLISHED and not path.exists():
        published = PUBLISHED[str(path)]
        model = NETS[published.net](ORIGINAL_DIM, published.resize_dim, len(class_names()))
    else:
        model = load_run(path).model
    return table(modules(model))


def shown_scopes(rows: list[dict]) -> str:
    """The rows as a table of text."""
    titles = (
        *("scope", "output", "parameters", "share", "plain 3x3", "saved"),
        *("height x width x filters x inputs + filters", "bytes", "multiply-adds", "share"),
    )
    lines = [titles]
    for row in rows:
        inside = "/" in row["scope"]
        lines.append(
            (
                ("  " if inside else "") + row["scope"],
                "x".join(map(str, row["output"] or [])),
                f"{row['parameters']:,}",
                f"{row['parameters_share']:.1%}",
                f"{row['plain_parameters']:,}" if row["plain_parameters"] else "",
                f"{row['saved']:.1f}x" if row["saved"] else "",
                row["formula"] or "",
                f"{row['bytes']:,}",
                f"{row['multiply_adds']:,}",
                f"{row['multiply_adds_share']:.1%}",
            )
        )
    return aligned(lines, left=(0, 6))


def compare(a: Path, b: Path) -> dict:
    """The differences between two runs or checkpoints.

    Returns:
      a, b: their checkpoints.
      scopes: a dictionary per scope with its parameters and output in a and b; None in the one that
        lacks it.
      variables: a dictionary per variable with its shape and norm in a and b, and moved, the norm
        of the difference as a share of the norm in a (None if the shapes differ).
      dead_relus: per convolution, the share of filters in a and b that are zero everywhere on the
        250 of the run's test images or fewer; left out if those images are not available.
    """
    from reporting.scopes import modules, table
    from training.saved_run import load_run

    runs = load_run(a), load_run(b)
    tables = [{row["scope"]: row for row in table(modules(run.model))} for run in runs]
    parts = [measure(run) for run in runs]
    scopes = [
        {
            "scope": scope,
            "parameters": [rows.get(scope, {}).get("parameters") for rows in tables],
            "output": [rows.get(scope, {}).get("output") for rows in tables],
        }
        for scope in tables[0] | tables[1]
    ]
    weights = [part["weights"] for part in parts]
    dead = [part["dead_relus"] for part in parts]
    return {
        "a": runs[0].checkpoint,
        "b": runs[1].checkpoint,
        "scopes": scopes,
        "variables": [moved(name, *weights) for name in weights[0] | weights[1]],
        "dead_relus": [
            {"scope": scope, "dead": [shares.get(scope) for shares in dead]}
            for scope in dead[0] | dead[1]
        ],
    }


def draw(comparison: dict) -> None:
    """Draws a comparison into the folder of its run B."""
    from reporting.figures import scopes_comparison, write_image
    from training.run_dir import output_dir

    image = scopes_comparison(comparison)
    if image is None:
        print("\nnothing drawn: the two nets have no convolution's scope in common")
        return
    a, b = Path(comparison["a"]), Path(comparison["b"])
    other = a.name if a.parent == b.parent else a.parent.name
    write_image(image, output_dir(b.parent) / f"scopes_compared_with_{other}.png")


def measure(run: Run) -> dict:
    """The weights of a run by name, and its convolutions' shares of dead filters by scope."""
    import tensorflow.compat.v1 as tf

    from reporting.scopes import modules
    from training.evaluation import Evaluator
    from training.saved_run import load_dataset

    reader = tf.train.load_checkpoint(run.checkpoint)
    scopes = [part.scope for module in modules(run.model) for part in module.convolutions]
    names = [f"{scope}/{variable}" for scope in scopes for variable in ("kernel", "bias")]
    missing = [name for name in names if not reader.has_tensor(name)]
    if missing:
        raise RunError(f"{run.checkpoint}: lacks {missing[0]}; it is of another net.")
    weights = {name: reader.get_tensor(name) for name in names}
    try:
        dataset = load_dataset(
            run.settings, may_download=False, run_dir=Path(run.checkpoint).parent
        )
    except (data.DataError, RunError):
        return {"weights": weights, "dead_relus": {}}
    with Evaluator(run.model, dataset.test, dataset.class_names) as evaluator:
        evaluator.restore(run.checkpoint)
        activations = evaluator.activations()
    dead = {
        scope: float((values.max(axis=(0, 1, 2)) == 0).mean())
        for scope, values in activations.items()
    }
    return {"weights": weights, "dead_relus": dead}


def moved(name: str, a: dict, b: dict) -> dict:
    """One variable in two checkpoints."""
    import numpy as np

    pair = [weights.get(name) for weights in (a, b)]
    distance = None
    if all(value is not None for value in pair) and pair[0].shape == pair[1].shape:
        norm = float(np.linalg.norm(pair[0]))
        distance = float(np.linalg.norm(pair[1] - pair[0])) / norm if norm else None
    return {
        "variable": name,
        "shape": [value if value is None else list(value.shape) for value in pair],
        "norm": [value if value is None else float(np.linalg.norm(value)) for value in pair],
        "moved": distance,
    }


def shown_comparison(comparison: dict) -> str:
    """The comparison as two tables of text."""
    lines = [("scope", "parameters in A", "in B", "output in A", "in B", "dead ReLUs in A", "in B")]
    dead = {row["scope"]: row["dead"] for row in comparison["dead_relus"]}
    for row in comparison["scopes"]:
        lines.append(
            (
                ("  " if "/" in row["scope"] else "") + row["scope"],
                *("-" if number is None else f"{number:,}" for number in row["parameters"]),
                *("x".join(map(str, output or [])) for output in row["output"]),
                *(
                    "" if share is None else f"{share:.1%}"
                    for share in dead.get(row["scope"], (None, None))
                ),
            )
        )
    variables = [("variable", "shape in A", "in B", "norm in A", "in B", "moved by")]
    for row in comparison["variables"]:
        variables.append(
            (
                row["variable"],
                *("x".join(map(str, shape or ["-"])) for shape in row["shape"]),
                *("-" if norm is None else f"{norm:.3f}" for norm in row["norm"]),
                "-" if row["moved"] is None else f"{row['moved']:.1%}",
            )
        )
    heading = f"A  {comparison['a']}\nB  {comparison['b']}\n"
    return "\n".join([heading, aligned(lines, left=(0,)), "", aligned(variables, left=(0,))])


if __name__ == "__main__":
    sys.exit(main())
