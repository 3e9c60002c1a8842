"""Tests the chapter's claim about the squeeze ratio: python -m tools.sweep_squeeze_ratio

"A larger squeeze ratio can improve the model performance up to a certain extent, at the cost of
increased parameter count" (section D). Trains the net at several ratios, each as a separate run
that TensorBoard's HParams tab compares, and plots accuracy against parameters. As in the paper
(arXiv 1602.07360, section 5.2), the ratio is that of a module's squeeze filters to all of its
expand filters.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # started as `python path/to/tools/sweep_squeeze_ratio.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import data
from reporting.console import tensorboard_command
from training import recipe
from training.command import Parser, local_path, positive, run_command, seed
from training.runtime import load_tensorflow_quietly

if TYPE_CHECKING:  # takes seconds to import
    from matplotlib.figure import Figure

RATIOS = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)
NUM_EPOCHS = 4.0
DATASETS = ("digits", "cifar10")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      Exit code: 0 when all is done, 2 for a user error, 130 after Ctrl-C, 143 after SIGTERM.
    """
    parser = Parser(
        prog="tools.sweep_squeeze_ratio",
        description="Train the net at several squeeze ratios; plot accuracy against parameters.",
        epilog="Run the same command again to resume.",
    )
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default="digits", help="default: %(default)s")
    add(
        "--data_dir",
        type=local_path,
        help="folder with the data set's files (default: data/downloads)",
    )
    add("--ratios", type=ratio, nargs="+", default=RATIOS, help=f"default: {RATIOS}")
    add(
        "--num_epochs",
        type=positive(float, 1_000_000),
        default=NUM_EPOCHS,
        help="epochs of each run (default: %(default)s, far from convergence)",
    )
    add("--seed", type=seed, default=0, help="random seed (default: %(default)s)")
    add("--sweep_dir", type=local_path, help="folder for all runs (default: runs/sweep-<dataset>)")
    flags = parser.parse_args(arguments)
    return run_command(parser.prog, sweep, flags)


def ratio(text: str) -> float:
    """An argparse type: a squeeze ratio.

    The smallest leaves four squeeze filters. With a single one, each 1x1 filter that follows would
    have one weight, which is zero once filters are standardized to mean 0.
    """
    return positive(float, most=4, least=min(RATIOS))(text)


def sweep(flags: argparse.Namespace) -> int:
    """Trains all ratios, prints a line for each, and plots them.

    Returns:
      Exit code.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    sweep_dir = flags.sweep_dir or Path("runs", f"sweep-{flags.dataset}")
    dataset = data.load(flags.dataset, flags.data_dir)
    load_tensorflow_quietly()
    from reporting.figures import matplotlib_defaults

    done = []
    for squeeze_ratio in flags.ratios:
        run_dir = sweep_dir / f"squeeze_ratio_{squeeze_ratio:g}"
        print(f"squeeze ratio {squeeze_ratio:g}")
        done.append((squeeze_ratio, train_one(flags, dataset, squeeze_ratio, run_dir)))
    print(f"\n{'squeeze ratio':<14}{'parameters':>11}{'test accuracy':>15}  95% interval")
    for squeeze_ratio, results in done:
        low, high = results["accuracy_interval_95"]
        print(
            f"{squeeze_ratio:<14g}{results['parameters']:>11,}{results['accuracy']:>15.2%}"
            f"  {low:.2%} to {high:.2%}"
        )
    path = sweep_dir / "squeeze_ratio.png"
    with matplotlib_defaults():
        draw(done, flags.dataset).savefig(path, dpi=100)
    print(f"\nsaved to {path}\ncompare the runs with: {tensorboard_command(sweep_dir)}")
    return 0


def train_one(
    flags: argparse.Namespace, dataset: data.Dataset, squeeze_ratio: float, run_dir: Path
) -> dict:
    """Trains one ratio, from its newest checkpoint if there is one; returns its results."""
    from train import train
    from training.run_dir import open_run_dir
    from training.saved_run import build_model, settings_of

    model = build_model(dataset)
    model.FIRE_PARAMS_1 = at_ratio(model.FIRE_PARAMS_1, squeeze_ratio)
    model.FIRE_PARAMS_2 = at_ratio(model.FIRE_PARAMS_2, squeeze_ratio)
    schedule = recipe.make_schedule(len(dataset.train.labels), flags.num_epochs, seed=flags.seed)
    settings = settings_of(
        flags.dataset,
        dataset,
        model,
        schedule,
        run_dir,
        squeeze_ratio=squeeze_ratio,
        data_dir=flags.data_dir and str(flags.data_dir),
    )
    with open_run_dir(run_dir, settings):
        return train(model, dataset, schedule, run_dir)


def at_ratio(fire_params: tuple, squeeze_ratio: float) -> tuple:
    """The fire modules with squeeze depths of the ratio times both expand depths together."""
    return tuple(
        (round(squeeze_ratio * 2 * expand_depth), expand_depth, name)
        for _, expand_depth, name in fire_params
    )


def draw(done: list[tuple[float, dict]], dataset_name: str) -> Figure:
    """Plots accuracy against parameters, a point for each ratio."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = figure.subplots()
    parameters = [results["parameters"] for _, results in done]
    accuracies = [100 * results["accuracy"] for _, results in done]
    below, above = zip(
        *(
            [100 * abs(end - results["accuracy"]) for end in results["accuracy_interval_95"]]
            for _, results in done
        ),
        strict=True,
    )
    ax.errorbar(parameters, accuracies, yerr=[below, above], marker="o", capsize=3)
    for squeeze_ratio, results in done:
        ax.annotate(
            f"{squeeze_ratio:g}",
            (results["parameters"], 100 * results["accuracy"]),
            xytext=(6, -12),
            textcoords="offset points",
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:,.0f}")  # the default is a formula, which is not drawn as one
    ax.set_xlabel("parameters (each point: its squeeze ratio)")
    ax.set_ylabel("test accuracy in % (95% interval)")
    ax.set_title(f"What a larger squeeze ratio brings, and costs ({dataset_name})")
    ax.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    sys.exit(main())
