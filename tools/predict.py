"""What is on an image: python -m tools.predict photo.jpg

Prints a line for each image file: the most probable class, and the next two.
"""

import argparse
import glob
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import numpy as np

if not __package__:  # started as `python path/to/tools/predict.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import UserError, printable
from base.files import write_file
from base.program import Parser, local_path, report, run
from base.runtime import load_tensorflow_quietly, visible_cores
from data.folder import walk
from data.images import read_image
from reporting.figures import png
from reporting.heatmap import SIDE, draw_heatmap
from saved.run_dir import PRETRAINED
from training.batches import records_to_images

SHOWN = 3  # classes an image
HEATMAP_DIR = Path("heatmaps")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      Exit code: 0 when all is done, 1 when a file had to be skipped, 2 for a user error, 130 after
      Ctrl-C.
    """
    parser = Parser(
        prog="python -m tools.predict",
        description="Classify photos with a trained net.",
        epilog="The net sees the central square of an image, as wide as its shorter side.",
    )
    add = parser.add_argument
    add(
        "images",
        nargs="+",
        type=local_path,
        help="files, globs, or folders, which are searched",
    )
    add(
        "--run_dir",
        type=local_path,
        default=PRETRAINED,
        help="a run's folder, or a checkpoint in one (default: the included CIFAR-10 model)",
    )
    add("--json", action="store_true", help="print one JSON object per line")
    add(
        "--heatmap",
        action="store_true",
        help=f"draw over each image which parts speak for the answer: {HEATMAP_DIR}/NAME.png",
    )
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: predict(flags))


def predict(flags: argparse.Namespace) -> int:
    """Prints the classes of each image, and names on stderr the files that are not images.

    Returns:
      Exit code, 0 or 1.
    """
    paths = find_files(flags.images)
    absolute = [Path(os.path.abspath(path)) for path in paths]
    drawings = dict(zip(paths, mirrored(absolute), strict=True)) if flags.heatmap else {}
    if taken := {*map(os.path.realpath, drawings.values())} & {*map(os.path.realpath, drawings)}:
        raise UserError(
            f"--heatmap: would overwrite {min(taken)}, which is one of the images; move that "
            "elsewhere."
        )
    load_tensorflow_quietly()  # takes seconds: only once there is something to do
    from saved.run import load_run
    from training.inference import load_net

    saved = load_run(flags.run_dir)
    dim, seen = saved.model.original_dim, saved.model.resize_dim / saved.model.original_dim

    def classify(path: Path) -> np.ndarray | UserError:
        """The probabilities of an image's classes, or what is wrong with its file or drawing."""
        try:
            images = records_to_images(read_image(path, dim), dim)
            (probs,), (maps,) = net.run([net.probs, net.relus["final_conv"]], images)
            if path in drawings:
                (square,) = records_to_images(read_image(path, SIDE), SIDE)
                drawing = draw_heatmap(square, maps[..., probs.argmax()], seen)
                drawings[path].parent.mkdir(parents=True, exist_ok=True)
                write_file(drawings[path], png(drawing))
            return probs
        except UserError as error:
            return error

    code = 0
    with load_net(saved) as net, ThreadPoolExecutor(visible_cores()) as threads:
        # As many images are in memory as there are cores. When an error ends the loop, such as a
        # pipe that `| head` has closed, the iterator goes, and cancels what has not begun.
        for path, result in zip(paths, threads.map(classify, paths), strict=True):
            if isinstance(result, UserError):
                code = 1
                report(str(result))
            else:
                print(described(path, result, saved.settings["class_names"], flags.json))
    if drawings:
        report(f"heatmaps are in {HEATMAP_DIR}")
    return code


def find_files(arguments: Sequence[Path]) -> list[Path]:
    """The files that are meant by files, folders and globs (which Windows' shell does not expand),
    in order; clutter in folders is left out.

    Raises:
      UserError: there is no such file or folder, or none in it.
    """
    paths: list[Path] = []
    for argument in arguments:
        name = str(argument)
        matches = [name] if os.path.lexists(name) else sorted(glob.glob(name, recursive=True))
        found = [
            file
            for path in map(Path, matches)
            for file in (
                sorted(parent / name for parent, _, names in walk(path) for name in names)
                if path.is_dir()
                else [path]
            )
        ]
        if not found:
            raise UserError(
                f"{name}: there is no such file, and no file in a folder of that name; give an "
                "image, or a folder of images."
            )
        paths += found
    return list(dict.fromkeys(paths))  # `**` finds folders, and what is in them


def mirrored(paths: Sequence[PurePath]) -> list[Path]:
    """Where to draw over images: below HEATMAP_DIR as the images, whose absolute paths are given,
    are below the folder that they share.

    (On Windows there may be none; a drive then becomes a folder, too.)
    """
    all_parts = [(path.drive.strip("\\:"), *path.parts[1:]) for path in paths]
    shared = len(os.path.commonprefix([parts[:-1] for parts in all_parts]))  # noqa: RUF071
    return [HEATMAP_DIR.joinpath(*parts[shared:-1], f"{parts[-1]}.png") for parts in all_parts]


def described(path: Path, probs: np.ndarray, class_names: Sequence[str], as_json: bool) -> str:
    """The most probable classes of an image as a line; as JSON, all classes."""
    by_name = {class_names[index]: float(probs[index]) for index in probs.argsort()[::-1]}
    label = next(iter(by_name))
    if as_json:
        best = {"file": str(path), "label": label, "probability": by_name[label]}
        return json.dumps({**best, "probabilities": by_name})
    shown = [f"{name} {probability:.1%}" for name, probability in by_name.items()][:SHOWN]
    return printable(f"{path}: {', '.join(shown)}")


if __name__ == "__main__":
    sys.exit(main())
