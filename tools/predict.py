"""What is on an image: python -m tools.predict photo.jpg

Prints a line for each image file: the most probable class, and the next two.
"""

import argparse
import glob
import itertools
import json
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

# For `python path/to/tools/predict.py`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import UserError, printable
from base.files import is_output, output_folder, write_file
from base.program import Parser, local_path, report, run
from base.runtime import fast_precision, load_tensorflow_quietly, visible_cores
from data.folder import walk
from data.images import read_image
from reporting.figures import png
from reporting.heatmap import SIDE, draw_heatmap
from saved.run_dir import PRETRAINED
from training.batches import records_to_images

HEATMAP_DIR = Path("heatmaps")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code: 1 if a file had to be skipped."""
    parser = Parser(
        prog="python -m tools.predict",
        description="Classify photos with a trained net.",
        epilog="The net sees the central square of an image, as wide as its shorter side.",
    )
    parser.add_argument(
        "images", nargs="+", type=local_path, help="files, globs, or folders, which are searched"
    )
    parser.add_argument(
        "--run_dir",
        type=local_path,
        default=PRETRAINED,
        help="a run's folder, or a checkpoint in one (default: the included CIFAR-10 model)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument(
        "--heatmap",
        action="store_true",
        help=f"draw over each image which parts speak for the answer: {HEATMAP_DIR}/NAME.png",
    )
    return run(parser.prog, lambda: predict(parser.parse_args(arguments)))


def predict(flags: argparse.Namespace) -> int:
    """Prints the classes of each image, and names on stderr the files that are not images; returns
    the exit code, 0 or 1."""
    paths = find_files(flags.images)
    places = mirrored([Path(os.path.abspath(path)) for path in paths])
    drawings = dict(zip(paths, places, strict=True)) if flags.heatmap else {}
    if drawings:
        output_folder(HEATMAP_DIR)
    load_tensorflow_quietly()  # takes seconds: only once there is something to do
    from evaluation.inference import load_net
    from saved.run import load_run

    saved = load_run(flags.run_dir)
    dim, seen = saved.model.original_dim, saved.model.resize_dim / saved.model.original_dim

    def classify(path: Path) -> list[str | UserError]:
        """The line to print for an image, and what is wrong with its file or drawing."""
        lines: list[str | UserError] = []
        try:
            images = records_to_images(read_image(path, dim), dim)
            (probs,), (maps,) = net.run([net.model.probs, net.relus["final_conv"]], images)
            lines.append(described(path, probs, saved.settings["class_names"], flags.json))
            if path in drawings:
                (square,) = records_to_images(read_image(path, SIDE), SIDE)
                drawing = draw_heatmap(square, maps[..., probs.argmax()], seen)
                output_folder(drawings[path].parent)
                write_file(drawings[path], png(drawing))
        except UserError as error:
            lines.append(error)
        return lines

    code = 0
    with load_net(saved, fast_precision()) as net, ThreadPoolExecutor(visible_cores()) as threads:
        # As many images are in memory as there are cores. When an error ends the loop, such as a
        # pipe that `| head` has closed, the iterator goes, and cancels what has not begun.
        for line in itertools.chain.from_iterable(threads.map(classify, paths)):
            if isinstance(line, UserError):
                code = 1
                report(str(line))
            else:
                print(line)
    if drawings:
        report(f"heatmaps are in {HEATMAP_DIR}")
    return code


def find_files(arguments: Sequence[Path]) -> list[Path]:
    """The files that are meant by files, folders and globs (which Windows' shell does not expand),
    in order, without clutter in folders; raises UserError for an argument that means none."""
    paths: list[Path] = []
    for argument in arguments:
        pattern = glob.escape(str(argument)) if os.path.lexists(argument) else str(argument)
        found = [
            file
            for path in map(Path, sorted(glob.glob(pattern, recursive=True)))
            if not any(  # a glob finds no output, unless it names its folder
                is_output(folder)
                for folder in (path, *path.parents)
                if folder not in (argument, *argument.parents)
            )
            for file in (
                sorted(
                    parent / name for parent, _, names in walk(path, follows=True) for name in names
                )
                if path.is_dir()
                else [path]
            )
        ]
        if not found:
            raise UserError(
                f"{argument}: there is no such file, and no file in a folder of that name; give an "
                "image, or a folder of images."
            )
        paths += found
    return list(dict.fromkeys(paths))  # `**` finds folders, and what is in them


def mirrored(paths: Sequence[PurePath]) -> list[Path]:
    """Where to draw over images, given by absolute paths: below HEATMAP_DIR as they are below the
    folder that they share. (On Windows there may be none; a drive then becomes a folder, too.)"""
    all_parts = [(path.drive.strip("\\:"), *path.parts[1:]) for path in paths]
    shared = len(os.path.commonprefix([parts[:-1] for parts in all_parts]))  # noqa: RUF071
    return [HEATMAP_DIR.joinpath(*parts[shared:-1], f"{parts[-1]}.png") for parts in all_parts]


def described(path: Path, probs: Iterable[float], class_names: list[str], as_json: bool) -> str:
    """The three most probable classes of an image as a line; as JSON, all classes."""
    pairs = sorted(zip(class_names, map(float, probs), strict=True), key=lambda pair: -pair[1])
    if as_json:
        best = {"file": str(path), "label": pairs[0][0], "probability": pairs[0][1]}
        return json.dumps({**best, "probabilities": dict(pairs)})
    return printable(f"{path}: {', '.join(f'{name} {prob:.1%}' for name, prob in pairs[:3])}")


if __name__ == "__main__":
    sys.exit(main())
