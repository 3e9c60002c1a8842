"""Measures what each part of the recipe contributes: python -m benchmarks.recipe --dataset cifar10

Trains the tuned recipe, variants of it with one change, and the chapter's, on several seeds each,
and prints a table row as each finishes. The accuracy is on held-out training images; the test set
is not used. `--recipes tuned chapter --seeds 20` counts the seeds that die.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import data
from base import Stopped
from base.program import SMALLEST, Parser, local_path, number, run
from base.runtime import load_tensorflow_quietly
from training.recipe import CHAPTER, DEFAULTS, TUNED, Defaults, make_schedule

ADAM = replace(TUNED, muon=False, learning_rate=5e-3, bias_rate=1.0)  # the best rate of Adam's
VARIANTS = {
    "tuned": TUNED,
    "Adam": ADAM,
    "filters-free": replace(TUNED, standardized=False),
    "Adam,filters-free": replace(ADAM, standardized=False),
    "rate-x0.5": replace(TUNED, learning_rate=TUNED.learning_rate / 2),
    "rate-x2": replace(TUNED, learning_rate=TUNED.learning_rate * 2),
    "bias-rate-x0.2": replace(TUNED, bias_rate=TUNED.bias_rate / 5),
    "no-warm-up": replace(TUNED, warm_up_epochs=0.0),
    "not-annealed": replace(TUNED, annealed=False),
    "chapter": CHAPTER,
}
HELD_OUT = {"cifar10": 5_000, "digits": 300}
DEAD_MARGIN = 0.05  # above the accuracy of guessing; a net that ends below it counts as dead


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="python -m benchmarks.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", choices=HELD_OUT, default="digits", help="default: %(default)s")
    add("--data_dir", type=local_path, help="folder with CIFAR-10's files")
    add("--num_epochs", type=number(float, SMALLEST, 1_000), default=2.0, help="default: 2")
    add("--seeds", type=number(int, 1, 1_000), default=3, help="how many (default: 3)")
    add("--recipes", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="default: all")
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: compare(flags))


def compare(flags: argparse.Namespace) -> None:
    """Prints a Markdown table."""
    dataset = data.hold_out(data.load(flags.dataset, flags.data_dir), HELD_OUT[flags.dataset])
    load_tensorflow_quietly()
    print("| recipe | median | lowest | highest | dead | of seeds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in flags.recipes:
        defaults = DEFAULTS[flags.dataset]._replace(
            num_epochs=flags.num_epochs, recipe=VARIANTS[name]
        )
        own = [final_accuracy(dataset, defaults, seed) for seed in range(flags.seeds)]
        dead = sum(accuracy < 1 / len(dataset.class_names) + DEAD_MARGIN for accuracy in own)
        shown = " | ".join(f"{figure(own):.1%}" for figure in (statistics.median, min, max))
        print(f"| {name} | {shown} | {dead} | {flags.seeds} |", flush=True)


def final_accuracy(dataset: data.Dataset, defaults: Defaults, seed: int) -> float:
    """Trains once; returns the final accuracy, 0..1, or 0 if training has collapsed."""
    from squeezenet_model import SqueezeNetModel
    from train import train
    from training.health import TrainingDied
    from training.plan import Plan

    model = SqueezeNetModel(dataset.original_dim, dataset.resize_dim, len(dataset.class_names))
    num_images, only_at_end = len(dataset.train.labels), sys.maxsize
    schedule = make_schedule(num_images, defaults, {"eval_every": only_at_end, "seed": seed})
    with tempfile.TemporaryDirectory() as run_dir, contextlib.redirect_stdout(io.StringIO()):
        try:
            plan = Plan(model, dataset, schedule, Path(run_dir))
            return train(plan)["accuracy"]  # type: ignore[index]
        except TrainingDied:
            return 0.0
        except Stopped:  # there is nothing to resume
            raise KeyboardInterrupt from None


if __name__ == "__main__":
    sys.exit(main())
