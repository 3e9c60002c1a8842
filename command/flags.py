"""The flags of train.py. No TensorFlow: `--help` must not wait."""

import argparse

import data
from base.program import SMALLEST, Parser, local_name, local_path, number, seed
from imagenet import PUBLISHED
from saved.run_dir import PRETRAINED
from saved.settings import MAX_DIM
from training.recipe import DEFAULTS, MAX_STEPS_BETWEEN_EVALS, PRECISIONS, RECIPES

DEFAULT_DATASET = "digits"
MIN_DIM = 5  # side of a photo of which the net can see a crop that it can halve twice
# Those that say what to evaluate, and on which images; all others say how to train.
EVALUATION_FLAGS = ("eval_only", "checkpoint", "split", "watch", "run_dir", "dataset", "data_dir")


def parse_flags(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; a wrong flag ends the program with exit code 2."""
    parser = Parser(
        prog="train.py",
        description='Train the SqueezeNet of the chapter "Fire Module" and evaluate it.',
        epilog="Run the same command again to resume from the newest checkpoint in --run_dir.",
        allow_abbrev=False,
    )

    add = parser.add_argument_group("what to train on, and where").add_argument
    add(
        "--dataset",
        type=local_name,
        help=f"{', '.join(data.NAMES)}, or a folder of your own photos with one subfolder per "
        f"class (default: {DEFAULT_DATASET}, which need no download)",
    )
    add(
        "--original_dim",
        type=number(int, MIN_DIM, MAX_DIM),
        help="side in pixels of your photos (default: 32, of which the net sees three quarters; "
        "288 for the paper's nets, which see all of it)",
    )
    add("--data_dir", type=local_path, help="the data set's files (default: data/downloads)")
    add("--run_dir", type=local_path, help="folder of the run (default: runs/<dataset>)")
    add(
        "--init_from",
        type=local_path,
        nargs="?",
        const=PRETRAINED,
        help="warm start: a run's folder, a checkpoint, a .npz file, or ImageNet weights: "
        f"{', '.join(PUBLISHED)} (default: random weights; the flag alone means the included "
        "CIFAR-10 model)",
    )

    add = parser.add_argument_group("how to train").add_argument
    digits, cifar10, photos, paper = DEFAULTS.values()
    add(
        "--num_epochs",
        type=number(float, SMALLEST, 1_000_000),
        help="passes over the training images "
        f"(default: {digits.num_epochs:g} for digits, {cifar10.num_epochs:g} for cifar10, "
        f"{photos.num_epochs:g} for your own photos, {paper.num_epochs:g} for the paper's nets)",
    )
    add(
        "--batch_size",
        type=number(int, 1, 65_536),
        help=f"images per step; in a cluster, per task (default: {cifar10.batch_size}; for digits "
        f"{digits.batch_size}, for the paper's nets {paper.batch_size})",
    )
    add(
        "--recipe",
        choices=RECIPES,
        help="tuned trains much better; chapter is the course's own, Adam at its defaults; "
        f"fine_tuned is that of earlier versions (default: {photos.recipe.name}; "
        f"{paper.recipe.name} for the paper's nets with pretrained weights)",
    )
    rates = ", ".join(f"{recipe.learning_rate:g} for {name}" for name, recipe in RECIPES.items())
    add(
        "--learning_rate",
        type=number(float, SMALLEST, 1_000),
        help=f"peak learning rate (default: {rates})",
    )
    add(
        "--held_out",
        type=number(int, 1, 1_000_000_000),
        help="evaluate on this many training images, held out, and not on the test set "
        "(default: none)",
    )
    add(
        "--num_towers",
        type=number(int, 1, 64),
        help="equal parts of a batch that are processed in parallel (default: one per GPU; on a "
        "CPU one per 32 images, or one per core if that is more)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        help="of the layers; variables are always float32 (default: bfloat16 if the processor has "
        "instructions for it, but float32 for digits and --recipe chapter)",
    )
    add("--class_weights", action="store_true", help="give rare and frequent classes equal weight")
    add("--no_flip", action="store_true", help="mirror no images: for writing, road signs, ...")
    add("--seed", type=seed, help="random seed (default: 0)")

    add = parser.add_argument_group("what to record or evaluate").add_argument
    add(
        "--eval_every",
        type=number(int, 1, 1_000_000_000),
        help="steps between checkpoints, each of which is evaluated "
        f"(default: a fifth of the run, half of one of the paper's nets, at most "
        f"{MAX_STEPS_BETWEEN_EVALS:,})",
    )
    add("--summarize_layers", action="store_true", help="also record activations and gradients")
    add("--eval_only", action="store_true", help="evaluate the newest checkpoint; do not train")
    add("--checkpoint", type=local_path, help="evaluate this one (default: the newest)")
    add("--split", choices=("train", "validation", "test"), help="images (default: test)")
    add("--watch", action="store_true", help="evaluate every new checkpoint until training ends")

    flags = parser.parse_args(arguments)
    # Not a flag that was left out; but --seed 0 counts.
    given = [name for name, value in vars(flags).items() if value or type(value) is int]
    for name in given:
        if flags.eval_only and name not in EVALUATION_FLAGS:
            parser.error(f"--{name} has no effect with --eval_only; leave one of them out")
        if not flags.eval_only and name in ("checkpoint", "split", "watch"):
            parser.error(f"--{name} needs --eval_only")
    if flags.recipe and RECIPES[flags.recipe].frozen and not flags.init_from:
        parser.error(f"--recipe {flags.recipe} needs --init_from, whose weights it fine-tunes")
    if flags.checkpoint and (flags.watch or flags.run_dir):
        parser.error("--checkpoint names a run and one checkpoint of it; drop the other flag")
    return flags
