"""What is on an image: python -m tools.predict photo.jpg

Prints a line for each image file: the most probable class, and the next two. The net sees the
central square of an image, as wide as its shorter side.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import itertools
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # started as `python path/to/tools/predict.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data import DataError, printable
from data.images import is_clutter
from training.command import Parser, local_path, run_command
from training.recipe import visible_cores
from training.run_dir import PRETRAINED
from training.runtime import load_tensorflow_quietly

if TYPE_CHECKING:  # they take time to import
    import numpy as np

    from tools.serving import ServingNet

SHOWN = 3  # classes an image
HEATMAP_DIR = Path("heatmaps")
BATCH_SIZE = 64  # files that a thread reads and classifies together


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      Exit code: 0 when all is done, 1 when a file had to be skipped, 2 for a user error, 130 after
      Ctrl-C.
    """
    parser = Parser(
        prog="tools.predict",
        description="Classify photos with a trained net.",
        epilog="The net sees the central square of an image, as wide as its shorter side.",
    )
    parser.add_argument("images", nargs="+", help="files, globs, or folders, which are searched")
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
    return run_command(parser.prog, predict, parser.parse_args(arguments))


def predict(flags: argparse.Namespace) -> int:
    """Prints the classes of each image, and names on stderr the files that are not images.

    Returns:
      Exit code, 0 or 1.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    paths = find_files(flags.images)
    load_tensorflow_quietly()  # takes seconds: only once there is something to do
    from tqdm import tqdm

    from tools.serving import ServingNet
    from training.saved_run import load_run

    run = load_run(flags.run_dir)
    drawings = drawing_paths(paths) if flags.heatmap else {}
    shown = as_json if flags.json else as_text
    skipped = 0
    with (
        ServingNet(run) as net,
        tqdm(
            total=len(paths),
            unit=" images",
            leave=False,
            disable=True if len(paths) <= BATCH_SIZE else None,  # None: only on a terminal
        ) as bar,
        contextlib.closing(classify(paths, net, drawings)) as classified,
    ):
        for path, probs in classified:
            bar.update()
            if isinstance(probs, DataError):
                skipped += 1
                tqdm.write(printable(probs), file=sys.stderr)
            else:
                tqdm.write(shown(path, probs, net.class_names), file=sys.stdout)
    if flags.heatmap and skipped < len(paths):
        print(f"heatmaps are in {HEATMAP_DIR}", file=sys.stderr)
    if skipped:
        print(f"skipped {skipped:,} of {len(paths):,} files", file=sys.stderr)
    return 1 if skipped else 0


def find_files(arguments: list[str]) -> list[Path]:
    """The files that are meant by files, folders and globs, in order; clutter is left out.

    Raises:
      DataError: there is no such file or folder, or none in it.
    """
    paths = []
    for argument in arguments:
        if not os.path.lexists(argument):
            argument = os.path.expanduser(argument)
        is_there = os.path.lexists(argument)
        matches = [argument] if is_there else globbed(argument)
        found = [path for match in matches for path in files_in(Path(match))]
        if not found:
            what = "holds no files" if is_there else "there is no such file or folder"
            raise DataError(f"{printable(argument)}: {what}; give an image, or a folder of images.")
        paths += found
    return list(dict.fromkeys(paths))  # `**` finds folders, and what is in them


def globbed(pattern: str) -> list[str]:
    """What a pattern matches, in order, but for clutter."""
    found = sorted(glob.glob(pattern, recursive=True))
    return [path for path in found if not is_clutter(os.path.basename(path))]


def files_in(path: Path) -> Iterator[Path]:
    """A file itself, or all files below a folder, but for clutter."""
    if not path.is_dir():
        yield path
        return
    for folder, subfolders, names in os.walk(path, onerror=raise_data_error):
        subfolders[:] = sorted(name for name in subfolders if not is_clutter(name))
        yield from (Path(folder, name) for name in sorted(names) if not is_clutter(name))


def drawing_paths(paths: list[Path]) -> dict[Path, Path]:
    """Where to draw over each image: below HEATMAP_DIR as the images are below their folder.

    Raises:
      DataError: a drawing would take the place of one of the images.
    """
    top = os.path.commonpath([os.path.abspath(path.parent) for path in paths])
    drawings = {
        path: HEATMAP_DIR / f"{os.path.relpath(os.path.abspath(path), top)}.png" for path in paths
    }
    images = {os.path.realpath(path) for path in paths}
    for drawing in drawings.values():
        if os.path.realpath(drawing) in images:
            raise DataError(
                f"--heatmap: would overwrite {drawing}, which is one of the images; move that "
                "elsewhere."
            )
    return drawings


def raise_data_error(error: OSError) -> None:
    """Says of a folder that it cannot be read; without it, os.walk would pass it over."""
    raise DataError(
        f"{printable(error.filename)}: cannot be read ({error.strerror}); fix it or leave it out."
    ) from error


def classify(
    paths: list[Path], net: ServingNet, drawings: dict[Path, Path]
) -> Iterator[tuple[Path, np.ndarray | DataError]]:
    """Each path with its classes' probabilities, or with what is wrong with the file.

    Draws a heatmap over those images that have a path in drawings.

    Each thread reads the files of a batch and runs the net on them, so only as many batches are
    in memory as there are cores.
    """
    import numpy as np

    from data.images import try_to_read
    from reporting.figures import records_to_images
    from training.saved_run import batch_size_for

    dim = net.run.model.original_dim
    batch_size = batch_size_for(net.run.model, BATCH_SIZE)

    def classify_batch(start: int) -> list[tuple[Path, np.ndarray | DataError]]:
        batch = paths[start : start + batch_size]
        records = [try_to_read(path, dim) for path in batch]
        good = [path for path, record in zip(batch, records, strict=True) if is_record(record)]
        if not good:
            return list(zip(batch, records, strict=True))
        images = records_to_images(np.array(list(filter(is_record, records))), dim)
        if drawings:
            all_probs, maps = net.probabilities_and_maps(images)
            for path, activations in zip(good, maps, strict=True):
                draw(path, activations, net, drawings[path])
        else:
            all_probs = net.probabilities(images)
        probs = iter(all_probs)
        return [
            (path, next(probs) if is_record(record) else record)
            for path, record in zip(batch, records, strict=True)
        ]

    threads = ThreadPoolExecutor(visible_cores())
    try:
        batches = threads.map(classify_batch, range(0, len(paths), batch_size))
        yield from itertools.chain.from_iterable(batches)
    finally:  # `tools.predict folder | head`: what nobody reads on is not classified
        threads.shutdown(cancel_futures=True)


def is_record(record: np.ndarray | DataError) -> bool:
    """Whether `try_to_read` has given a record."""
    return not isinstance(record, DataError)


def draw(path: Path, activations: np.ndarray, net: ServingNet, drawing: Path) -> None:
    """Writes the image file with a heatmap over it.

    Raises:
      DataError: the image file cannot be read any more.
      OSError: the drawing cannot be written.
    """
    from data.images import read_image
    from reporting.figures import records_to_images
    from reporting.heatmap import SIDE, draw_heatmap

    model = net.run.model
    (square,) = records_to_images(read_image(path, SIDE)[None], SIDE)
    image = draw_heatmap(square, activations, model.resize_dim / model.original_dim)
    drawing.parent.mkdir(parents=True, exist_ok=True)
    image.save(drawing)


def as_text(path: Path, probs: np.ndarray, class_names: list[str]) -> str:
    """The most probable classes of an image as a line."""
    best = probs.argsort()[::-1][:SHOWN]
    classes = [f"{class_names[index]} {probs[index]:.1%}" for index in best]
    return printable(f"{path}: {', '.join(classes)}")


def as_json(path: Path, probs: np.ndarray, class_names: list[str]) -> str:
    """The same as JSON, with all classes, the most probable first."""
    order = probs.argsort()[::-1]
    return json.dumps(
        {
            "file": str(path),
            "label": class_names[order[0]],
            "probability": float(probs[order[0]]),
            "probabilities": {class_names[index]: float(probs[index]) for index in order},
        }
    )


if __name__ == "__main__":
    sys.exit(main())
