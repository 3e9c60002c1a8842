"""Measures what each part of the recipe contributes: python -m benchmarks.recipe --dataset cifar10

Trains the tuned recipe, variants of it with one change, and the chapter's, on several seeds each,
and prints a table row as each finishes. The accuracy is on held-out training images; the test set
is not used. `--recipes tuned chapter --seeds 20` counts the seeds that die.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import data
from training import recipe
from training.command import positive
from training.runtime import load_tensorflow_quietly

TUNED, CHAPTER = recipe.TUNED, recipe.CHAPTER
ADAM = {"muon": False, "learning_rate": 5e-3, "bias_rate": 1.0}  # the best rate of Adam's
VARIANTS = {
    "tuned": TUNED,
    "Adam": replace(TUNED, **ADAM),
    "filters-free": replace(TUNED, standardized=False),
    "Adam,filters-free": replace(TUNED, standardized=False, **ADAM),
    "rate-x0.5": replace(TUNED, learning_rate=TUNED.learning_rate / 2),
    "rate-x2": replace(TUNED, learning_rate=TUNED.learning_rate * 2),
    "bias-rate-x0.2": replace(TUNED, bias_rate=TUNED.bias_rate / 5),
    "no-warm-up": replace(TUNED, warm_up_epochs=0.0),
    "not-annealed": replace(TUNED, annealed=False),
    "chapter": CHAPTER,
}
HELD_OUT = {"cifar10": 5_000, "digits": 300}
NEVER = 1_000_000_000  # evaluate only at the end
DEAD_MARGIN = 0.05  # above the accuracy of guessing; a net that ends below it counts as dead


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=HELD_OUT, default="digits")
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--num_epochs", type=positive(float, 1_000), default=2.0)
    parser.add_argument(
        "--seeds", type=positive(int, 1_000), default=3, help="how many (default: %(default)s)"
    )
    parser.add_argument("--recipes", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    flags = parser.parse_args()
    load_tensorflow_quietly()
    dataset = data.load(flags.dataset, flags.data_dir)
    dataset = data.hold_out(dataset, HELD_OUT[flags.dataset])
    print("| recipe | median | lowest | highest | dead | of seeds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in flags.recipes:
        accuracies = [
            final_accuracy(dataset, VARIANTS[name], flags.num_epochs, seed)
            for seed in range(flags.seeds)
        ]
        dead = sum(accuracy < 1 / len(dataset.class_names) + DEAD_MARGIN for accuracy in accuracies)
        figures = (f(accuracies) for f in (statistics.median, min, max))
        shown = " | ".join(f"{figure:.1%}" for figure in figures)
        print(f"| {name} | {shown} | {dead} | {flags.seeds} |", flush=True)


def final_accuracy(
    dataset: data.Dataset, chosen: recipe.Recipe, num_epochs: float, seed: int
) -> float:
    """Trains once; returns the final accuracy, 0..1, or that of guessing if training collapsed."""
    from train import train
    from training.health import TrainingDied
    from training.saved_run import build_model

    schedule = recipe.make_schedule(
        len(dataset.train.labels), num_epochs, chosen, eval_every=NEVER, seed=seed
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        try:
            return train(build_model(dataset), dataset, schedule, Path(folder))["accuracy"]
        except TrainingDied:
            return 1 / len(dataset.class_names)


if __name__ == "__main__":
    main()
