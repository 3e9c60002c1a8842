"""Tests the chapter's claim about the squeeze ratio: python -m tools.sweep_squeeze_ratio

"A larger squeeze ratio can improve the model performance up to a certain extent, at the cost of
increased parameter count" (section D). Trains the net at several ratios, each as a separate run
that TensorBoard's HParams tab compares, and plots accuracy against parameters. As in the paper
(arXiv 1602.07360, section 5.2), the ratio is that of a module's squeeze filters to all of its
expand filters.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # started as `python path/to/tools/sweep_squeeze_ratio.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import data
from base.program import SMALLEST, Parser, local_path, number, run, seed
from base.runtime import load_tensorflow_quietly
from reporting.console import aligned, tensorboard_command
from saved.run_dir import open_run_dir
from training.recipe import defaults_for, make_schedule

# The smallest leaves four squeeze filters. With a single one, each 1x1 filter that follows would
# have one weight, which is zero once filters are standardized to mean 0.
RATIOS = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)
NUM_EPOCHS = 4.0


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      Exit code: 0 when all is done, 2 for a user error, 130 after Ctrl-C, 143 after SIGTERM.
    """
    parser = Parser(
        prog="python -m tools.sweep_squeeze_ratio",
        description="Train the net at several squeeze ratios; plot accuracy against parameters.",
        epilog="Run the same command again to resume.",
    )
    add = parser.add_argument
    add("--dataset", choices=data.names(), default="digits", help="default: %(default)s")
    add(
        "--data_dir",
        type=local_path,
        help="folder with the data set's files (default: data/downloads)",
    )
    add(
        "--ratios",
        type=number(float, min(RATIOS), 4),
        nargs="+",
        default=RATIOS,
        help=f"default: {RATIOS}",
    )
    add(
        "--num_epochs",
        type=number(float, SMALLEST, 1_000_000),
        default=NUM_EPOCHS,
        help="epochs of each run (default: %(default)s, far from convergence)",
    )
    add("--seed", type=seed, default=0, help="random seed (default: %(default)s)")
    add("--sweep_dir", type=local_path, help="folder for all runs (default: runs/sweep-<dataset>)")
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: sweep(flags))


def sweep(flags: argparse.Namespace) -> None:
    """Trains all ratios, prints a line for each, and plots them."""
    sweep_dir = flags.sweep_dir or Path("runs", f"sweep-{flags.dataset}")
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
        model.FIRE_PARAMS_1 = at_ratio(model.FIRE_PARAMS_1, ratio)
        model.FIRE_PARAMS_2 = at_ratio(model.FIRE_PARAMS_2, ratio)
        recorded = {"squeeze_ratio": ratio, "data_dir": flags.data_dir and str(flags.data_dir)}
        run_dir = sweep_dir / f"squeeze_ratio_{ratio:g}"
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


def at_ratio(fire_params: tuple, squeeze_ratio: float) -> tuple:
    """The fire modules with squeeze depths of the ratio times both expand depths together."""
    return tuple(
        (round(squeeze_ratio * 2 * expand_depth), expand_depth, name)
        for _, expand_depth, name in fire_params
    )


def draw(all_results: dict[float, dict], dataset_name: str, path: Path) -> None:
    """Draws accuracy against parameters into a PNG file, with a point for each ratio."""
    from reporting.figures import drawn, matplotlib_defaults, new_figure, write_image

    points = [(each["parameters"], 100 * each["accuracy"]) for each in all_results.values()]
    ends = [each["accuracy_interval_95"] for each in all_results.values()]
    errors = [
        [abs(100 * end - accuracy) for end, (_, accuracy) in zip(bound, points, strict=True)]
        for bound in zip(*ends, strict=True)
    ]
    with matplotlib_defaults():
        figure, ax = new_figure(7, 4.5)
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
        ax.grid(alpha=0.3)
        write_image(drawn(figure, 100), path)


if __name__ == "__main__":
    sys.exit(main())
