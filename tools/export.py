"""A trained net for other programs, and for phones: python -m tools.export

Writes the formats below, loads each again with the runtime that would use it, and prints what it
makes of the test images beside the checkpoint itself. All of them take images as they are
stored, with values of 0..255: crop and standardization are inside. The names of the classes are in
labels.txt, and within the files of all formats but frozen_graph.

  saved_model    for TensorFlow and its servers: image files or pixels -> labels, probabilities
  frozen_graph   one GraphDef with the weights in it, its nodes named as in the chapter
  tflite         for phones (LiteRT), float32
  tflite_int8    the same in whole numbers, a third of the size
  onnx           for all other runtimes
  checkpoint     only weights and settings: a run's folder to hand on
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if not __package__:  # started as `python path/to/tools/export.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import data
from reporting.console import aligned, percent
from training import RunError
from training.command import Parser, local_path, run_command
from training.run_dir import PRETRAINED, write_text
from training.runtime import load_tensorflow_quietly

if TYPE_CHECKING:  # they take seconds to import
    import numpy as np

    from tools.serving import ServingNet
    from training.saved_run import Run


class Format(NamedTuple):
    """The file or folder that a format becomes.

    Attributes:
      path: its name.
      packages: those that only this format needs.
      marker: file by which a folder is known as such an export; None for a format of one file.
    """

    path: str
    packages: tuple[str, ...] = ()
    marker: str | None = None


FORMATS = {
    "saved_model": Format("saved_model", marker="saved_model.pb"),
    "frozen_graph": Format("frozen_graph.pb"),
    "tflite": Format("squeezenet.tflite", ("ai_edge_litert",)),
    "tflite_int8": Format("squeezenet_int8.tflite", ("ai_edge_litert",)),
    "onnx": Format("squeezenet.onnx", ("tf2onnx", "onnxruntime")),
    "checkpoint": Format("checkpoint", marker="settings.json"),
}
CALIBRATION_IMAGES = 500
NOISE_IMAGES = 256  # to compare with where the test images are not at hand
MOST_COMPARED_BYTES = 1 << 28  # of test images: 1,365 of 256 x 256, all of CIFAR-10
BATCH_SIZE = 250
TIMED_CALLS = 200


class Images(NamedTuple):
    """What the exports are calibrated on and compared with.

    Attributes:
      calibration: uint8 [N, 3 * original_dim * original_dim], for int8; None without any.
      records: the same of other images, where there are others.
      labels: int32, of the latter; None where they are unknown.
      what: what the latter are, for the user.
    """

    calibration: np.ndarray | None
    records: np.ndarray
    labels: np.ndarray | None
    what: str


class Comparison(NamedTuple):
    """What an export makes of the test images.

    Attributes:
      name: format, and what it was given.
      size: bytes on disk.
      accuracy: share predicted right, 0..1; None where no labels are at hand.
      agreement: share predicted as the checkpoint does, 0..1.
      difference: the largest between any probability and the checkpoint's.
      milliseconds: median for one image.
    """

    name: str
    size: int
    accuracy: float | None
    agreement: float
    difference: float
    milliseconds: float


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="tools.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--run_dir",
        type=local_path,
        default=PRETRAINED,
        help="a run's folder, or a checkpoint in one (default: the included CIFAR-10 model)",
    )
    add("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="default: all")
    add("--out", type=local_path, help="folder to write to (default: export in the run's folder)")
    add(
        "--data_dir",
        type=local_path,
        help="folder of the images' files, if they are not where they "
        "were when the run was trained; for published weights any folder of photos",
    )
    return run_command(parser.prog, export, parser.parse_args(arguments))


def export(flags: argparse.Namespace) -> int:
    """Writes, compares and prints; returns the exit code, 0.

    Raises:
      DataError, RunError: with a sentence for the user.
    """
    check_packages(flags.formats)
    load_tensorflow_quietly()
    import tensorflow.compat.v1 as tf

    from tools import serving
    from tools.labels import LABELS_NAME, labels_text
    from training.checkpoints import reason
    from training.saved_run import load_run

    run = load_run(flags.run_dir)
    images = find_images(run, flags)
    out = flags.out or run.output_dir / "export"
    formats = list(dict.fromkeys(flags.formats))
    check_targets(out, formats)
    with serving.ServingNet(run) as net:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out) as new:
                rows = write_and_compare(net, formats, Path(new), images)
                for name in formats:  # all of them are complete
                    replace(Path(new, FORMATS[name].path), out / FORMATS[name].path)
                write_text(out / LABELS_NAME, labels_text(net.class_names))
        except (OSError, tf.errors.OpError) as error:
            raise RunError(
                f"{out}: cannot be written ({getattr(error, 'strerror', None) or reason(error)}); "
                "free some space or fix the disk, or give another --out."
            ) from error
    print(shown(rows))
    if images.labels is None:
        print(
            f"\ncompared on {len(images.records):,} {images.what}, as the test images are missing"
        )
    if "saved_model" in formats:
        print(f"\nunlike tools.predict, {serving.FILES_DIFFER}")
    print(f"\nwritten to {out}")
    return 0


def check_packages(formats: list[str]) -> None:
    """Raises RunError when a package is missing that one of the formats needs."""
    for name in formats:
        for package in FORMATS[name].packages:
            if importlib.util.find_spec(package) is None:
                raise RunError(
                    f"--formats {name}: needs the package {package}; run `pip install -r "
                    "requirements-export.txt`, or choose other formats."
                )


def check_targets(out: Path, formats: list[str]) -> None:
    """Raises RunError when something other than an earlier export is in the way."""
    for name in formats:
        path, marker = out / FORMATS[name].path, FORMATS[name].marker
        known = (path / marker).is_file() if marker else path.is_file()
        if path.is_symlink() or (path.exists() and not known):
            raise RunError(f"{path}: is there, but no earlier export; give another --out.")


def find_images(run: Run, flags: argparse.Namespace) -> Images:
    """The run's data set; other photos, or noise, where it is not at hand and can be done without.

    Raises:
      DataError: int8 is asked for, but there are no images to calibrate it on.
    """
    import numpy as np

    from data.images import ImageFiles
    from tools.predict import find_files
    from training.saved_run import load_dataset

    dim = run.settings["original_dim"]
    is_imported = "source" in run.settings  # not trained here: its images are elsewhere
    if is_imported and flags.data_dir:
        photos = ImageFiles(find_files([str(flags.data_dir)]), dim)
        chosen = evenly(len(photos), 2 * CALIBRATION_IMAGES)
        halves = photos[chosen[::2]], photos[chosen[1::2] if len(chosen) > 1 else chosen]
        return Images(*halves, None, f"photos of {flags.data_dir}")
    try:
        run_dir = Path(run.checkpoint).parent
        dataset = load_dataset(run.settings, flags.data_dir, may_download=False, run_dir=run_dir)
    except data.DataError as error:
        if flags.data_dir is None and "tflite_int8" not in flags.formats:
            noise = np.random.default_rng(0).integers(
                0, 256, [NOISE_IMAGES, 3 * dim * dim], np.uint8
            )
            return Images(None, noise, None, "images of noise")
        if is_imported:
            raise data.DataError(
                "--formats tflite_int8: is calibrated on photos; give a folder of some with "
                "--data_dir, or choose other formats."
            ) from error
        raise data.DataError(
            f"{str(error).rstrip('.')} (tflite_int8 is calibrated on training images, and all "
            "formats are compared on test images).",
            error.argument,
            error.instead,
        ) from error
    train, test = dataset.train.records, dataset.test
    compared = evenly(len(test.labels), MOST_COMPARED_BYTES // (3 * dim * dim))
    return Images(
        train[evenly(len(train), CALIBRATION_IMAGES)],
        test.records[compared],
        test.labels[compared],
        "test images",
    )


def evenly(count: int, most: int) -> np.ndarray:
    """Indices of at most so many of count things, spread over all of them."""
    import numpy as np

    return np.linspace(0, count - 1, min(count, most)).astype(int)


def write_and_compare(
    net: ServingNet, formats: list[str], folder: Path, images: Images
) -> list[Comparison]:
    """Writes the formats into a folder, and reads each again; the checkpoint's own row is first."""
    from reporting.figures import records_to_images
    from tools.serving import READERS, WRITERS

    pixels = records_to_images(images.records, net.run.model.original_dim)
    expected = in_batches(net.probabilities, pixels)
    saved = Path(net.run.checkpoint)
    size = sum(file.stat().st_size for file in saved.parent.glob(f"{saved.name}.*"))
    rows = [compare("checkpoint", size, net.probabilities, pixels, images.labels, expected)]
    for name in formats:
        path = folder / FORMATS[name].path
        WRITERS[name](net, path, images.calibration)
        for what, function in READERS[name](path).items():
            rows.append(compare(what, size_of(path), function, pixels, images.labels, expected))
    return rows


def in_batches(function: Callable, images: np.ndarray) -> np.ndarray:
    """The probabilities of all images."""
    import numpy as np

    # At the size of CIFAR-10's images BATCH_SIZE of them, of larger ones fewer.
    size = max(1, BATCH_SIZE * 32**2 // max(32**2, images[0].size // 3))
    starts = range(0, len(images), size)
    return np.concatenate([function(images[start : start + size]) for start in starts])


def compare(
    name: str,
    size: int,
    function: Callable,
    images: np.ndarray,
    labels: np.ndarray | None,
    expected: np.ndarray,
) -> Comparison:
    """What an export makes of the images, beside the checkpoint's probabilities."""
    probs = in_batches(function, images)
    predictions = probs.argmax(axis=1)
    times = []
    for _ in range(TIMED_CALLS):
        started = time.perf_counter()
        function(images[:1])
        times.append(time.perf_counter() - started)
    return Comparison(
        name=name,
        size=size,
        accuracy=None if labels is None else float((predictions == labels).mean()),
        agreement=float((predictions == expected.argmax(axis=1)).mean()),
        difference=float(abs(probs - expected).max()),
        milliseconds=1_000 * statistics.median(times),
    )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def replace(new: Path, path: Path) -> None:
    """Moves a file or folder to its place, where an earlier export may be."""
    if path.is_dir():
        shutil.rmtree(path)
    new.replace(path)


def shown(rows: list[Comparison]) -> str:
    """The comparisons as a table of text."""
    lines = [("format", "bytes", "accuracy", "agrees", "largest difference", "ms an image")]
    for row in rows:
        lines.append(
            (
                row.name,
                f"{row.size:,}",
                percent(row.accuracy),
                f"{row.agreement:.2%}",
                f"{row.difference:.1e}",
                f"{row.milliseconds:.2f}",
            )
        )
    return aligned(lines, left=(0,))


if __name__ == "__main__":
    sys.exit(main())
