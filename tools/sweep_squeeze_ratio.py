"""Tests the chapter's claim about the squeeze ratio: python -m tools.sweep_squeeze_ratio

"A larger squeeze ratio can improve the model performance up to a certain extent, at the cost of
increased parameter count" (section D). Trains the net at several ratios, each as a separate run
that TensorBoard's HParams tab compares, and plots accuracy against parameters. As in the paper
(arXiv 1602.07360, section 5.2), the ratio is that of a module's squeeze filters to all of its
expand filters.
"""

import argparse
import os
import sys
from pathlib import Path

# For `python path/to/tools/sweep_squeeze_ratio.py`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import data
from base.files import output_folder
from base.program import SMALLEST, Parser, local_path, number, run, seed
from base.runtime import load_tensorflow_quietly
from reporting import figures
from reporting.console import aligned, tensorboard_command
from saved.run_dir import open_run_dir
from training.recipe import defaults_for, make_schedule

# The smallest leaves four squeeze filters. With a single one, each 1x1 filter that follows would
# have one weight, which is zero once filters are standardized to mean 0.
RATIOS = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="python -m tools.sweep_squeeze_ratio",
        description="Train the net at several squeeze ratios; plot accuracy against parameters.",
        epilog="Run the same command again to resume.",
    )
    parser.add_argument(
        "--dataset", choices=data.NAMES, default="digits", help="default: %(default)s"
    )
    parser.add_argument(
        "--data_dir",
        type=local_path,
        help="folder of the data set's files (default: data/downloads)",
    )
    parser.add_argument(
        "--ratios",
        type=number(float, min(RATIOS), 4),
        nargs="+",
        default=RATIOS,
        help=f"default: {RATIOS}",
    )
    parser.add_argument(
        "--num_epochs",
        type=number(float, SMALLEST, 1_000_000),
        default=4.0,
        help="epochs of each run (default: %(default)s, far from convergence)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="random seed (default: %(default)s)")
    parser.add_argument(
        "--sweep_dir", type=local_path, help="folder for all runs (default: runs/sweep-<dataset>)"
    )
    return run(parser.prog, lambda: sweep(parser.parse_args(arguments)))


def sweep(flags: argparse.Namespace) -> None:
    """Trains all ratios, prints a line for each, and plots them."""
    sweep_dir = output_folder(flags.sweep_dir or Path("runs", f"sweep-{flags.dataset}"))
    dataset = data.load(flags.dataset, flags.data_dir)
    load_tensorflow_quietly()
    from squeezenet_model import SqueezeNetModel
    from train import train
    from training.plan import Plan

    schedule = make_schedule(len(dataset.train.labels), defaults_for(dataset.name), vars(flags))
    all_results = {}
    for ratio in flags.ratios:
        print(f"squeeze ratio {ratio:g}")
        model = SqueezeNetModel(dataset.original_dim, dataset.resize_dim, len(dataset.class_names))
        for stack in ("FIRE_PARAMS_1", "FIRE_PARAMS_2"):
            fires = getattr(model, stack)  # a module's expand filters are half 1x1, half 3x3
            setattr(model, stack, tuple((round(ratio * 2 * n), n, name) for _, n, name in fires))
        run_dir = sweep_dir / f"squeeze_ratio_{ratio:g}"
        recorded = {
            "squeeze_ratio": ratio,
            "data_dir": flags.data_dir and os.path.abspath(flags.data_dir),
        }
        plan = Plan(model, dataset, schedule, run_dir, recorded=recorded)
        with open_run_dir(run_dir, plan.settings):
            all_results[ratio] = train(plan) or {}
    rows = [
        (
            f"{ratio:g}",
            f"{results['parameters']:,}",
            f"{results['accuracy']:.2%}",
            "{:.2%} to {:.2%}".format(*results["accuracy_interval_95"]),
        )
        for ratio, results in all_results.items()
    ]
    titles = ("squeeze ratio", "parameters", "test accuracy", "95% interval")
    print(f"\n{aligned([titles, *rows], left=(0, 3))}")
    draw(all_results, flags.dataset, sweep_dir / "squeeze_ratio.png")
    print(f"compare the runs with: {tensorboard_command(sweep_dir)}")


@figures.matplotlib_defaults(**{"axes.grid": True, "grid.alpha": 0.3})
def draw(all_results: dict[float, dict], dataset_name: str, path: Path) -> None:
    """Draws accuracy against parameters into a PNG file, with a point for each ratio."""
    points = [(each["parameters"], 100 * each["accuracy"]) for each in all_results.values()]
    intervals = [each["accuracy_interval_95"] for each in all_results.values()]
    errors = [
        [abs(100 * end - accuracy) for end, (_, accuracy) in zip(ends, points, strict=True)]
        for ends in zip(*intervals, strict=True)
    ]
    figure, ax = figures.new_figure(7, 4.5)
    ax.errorbar(*zip(*points, strict=True), yerr=errors, marker="o", capsize=3)
    for ratio, point in zip(all_results, points, strict=True):
        ax.annotate(f"{ratio:g}", point, xytext=(6, -12), textcoords="offset points")
    ax.set(
        xscale="log",
        xlabel="parameters (each point: its squeeze ratio)",
        ylabel="test accuracy in % (95% interval)",
        title=f"What a larger squeeze ratio brings, and costs ({dataset_name})",
    )
    ax.xaxis.set_major_formatter("{x:,.0f}")  # the default is a formula, which is not drawn
    figures.write_image(figures.drawn(figure, 100), path)


if __name__ == "__main__":
    sys.exit(main())
