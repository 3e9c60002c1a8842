"""A trained net for other programs, and for phones: python -m tools.export

Writes the formats below, loads each again with the runtime that would use it, and prints what it
makes of the test images beside the checkpoint itself. All of them take images as they are
stored, with values of 0..255: crop and standardization are inside. The names of the classes are in
labels.txt, and within the files of all formats but frozen_graph.

  saved_model    for TensorFlow and its servers: image files or pixels -> labels, probabilities;
                 unlike tools.predict, it reads neither TIFF nor AVIF, does not turn photos upright
                 as their EXIF data say, and shows transparent parts of a GIF on black
  frozen_graph   one GraphDef with the weights in it, its nodes named as in the chapter
  tflite         for phones (LiteRT), float32
  tflite_int8    the same in whole numbers, a third of the size; needs the run's images, to
                 calibrate it on, where all others can do with noise, to compare them on
  onnx           for all other runtimes
"""

import argparse
import importlib.util
import math
import shutil
import statistics
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

if not __package__:  # started as `python path/to/tools/export.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import UserError, printable
from base.program import Parser, local_path, run
from base.runtime import CHATTER, filtered_stderr, load_tensorflow_quietly
from data.images import ImageFiles
from exports import PACKAGES
from reporting.console import aligned, percent
from saved.run_dir import PRETRAINED
from tools.predict import find_files
from training.batches import records_to_images

CONVERTERS_CHATTER = rf"{CHATTER}|fully_quantize:|INFO: Created TensorFlow Lite"
CALIBRATION_IMAGES = 500
NOISE_IMAGES = 256
MAX_COMPARED_BYTES = 1 << 28  # 1,365 images of 256 x 256, all of CIFAR-10's test images
BATCH_BYTES = 250 * 3 * 32**2  # of images that are classified at once
TIMED_CALLS = 200
TITLES = ("format", "bytes", "accuracy", "agrees", "largest difference", "ms an image")

Probabilities = Callable[[np.ndarray], np.ndarray]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="python -m tools.export",
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
    add("--formats", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="default: all")
    add("--out", type=local_path, help="folder to write to (default: export in the run's folder)")
    add(
        "--data_dir",
        type=local_path,
        help="folder of the images' files, if they are not where they "
        "were when the run was trained; for published weights any folder of photos",
    )
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: export(flags))


def export(flags: argparse.Namespace) -> None:
    """Writes, compares and prints.

    Raises:
      UserError: a package or the images are missing, or something is in the way.
    """
    needed = [package for name in flags.formats for package in PACKAGES[name]]
    if missing := [package for package in needed if importlib.util.find_spec(package) is None]:
        raise UserError(
            f"--formats {' '.join(flags.formats)}: needs the package {missing[0]}; run `pip "
            "install -r requirements-export.txt`, or choose other formats."
        )
    load_tensorflow_quietly()
    from exports.formats import FORMATS
    from exports.labels import LABELS_NAME, labels_text
    from saved.run import load_run
    from training.inference import load_net

    saved = load_run(flags.run_dir)
    class_names = saved.settings["class_names"]
    calibration, images, labels = find_images(saved.settings, flags)
    out = flags.out or saved.output_dir / "export"
    out.mkdir(parents=True, exist_ok=True)
    with (
        load_net(saved) as net,
        tempfile.TemporaryDirectory(dir=out) as new,
        filtered_stderr(CONVERTERS_CHATTER),
    ):
        checkpoint = Path(saved.checkpoint)
        files = checkpoint.parent.glob(f"{checkpoint.name}.*")
        runs = [("checkpoint", [*files], net.probabilities)]
        for each in [FORMATS[name] for name in dict.fromkeys(flags.formats)]:
            path, place = Path(new, each.path), out / each.path
            if place.is_dir() and not (place / "saved_model.pb").is_file():
                raise UserError(f"{place}: is there, but no earlier export; give another --out.")
            each.write(net, path, class_names, calibration)
            read = each.run(path)
            runs += [(name, [path, *path.rglob("*")], read[name]) for name in read]
        expected = classify(net.probabilities, images)
        rows = [compare(*each, images, labels, expected) for each in runs]
        Path(new, LABELS_NAME).write_bytes(labels_text(class_names).encode())
        for path in list(Path(new).iterdir()):  # all of them are complete
            if (out / path.name).is_dir():
                shutil.rmtree(out / path.name)
            path.replace(out / path.name)
    print(f"{aligned([TITLES, *rows], left=(0,))}\n")
    if labels is None:
        what = f"photos of {flags.data_dir}" if flags.data_dir else "images of noise"
        print(printable(f"compared on {len(images):,} {what}, as the test images are missing"))
    print(f"written to {printable(out)}")


def find_images(
    settings: dict, flags: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Images of a run's data set; for weights from elsewhere, any photos; or else noise.

    Returns:
      To calibrate int8 on, uint8 [N, original_dim, original_dim, 3]; to compare with, the same of
      other images, where there are others; int32 labels of these, or None if they are unknown.

    Raises:
      UserError: the images are missing, or cannot be read.
    """
    from saved.run import load_dataset

    dim, labels = settings["original_dim"], None
    try:
        if "source" not in settings or flags.data_dir is None:
            dataset = load_dataset(settings, flags.data_dir, may_download=False)
            train, test, labels = dataset.train.records, dataset.test.records, dataset.test.labels
        else:  # weights from elsewhere, so their images are, too
            train = test = ImageFiles(find_files([flags.data_dir]), dim)
    except UserError:
        if flags.data_dir or "tflite_int8" in flags.formats:
            raise
        shape = NOISE_IMAGES, 3 * dim**2
        train = test = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    calibration = train[:: math.ceil(len(train) / CALIBRATION_IMAGES)]
    step = math.ceil(len(test) * 3 * dim**2 / MAX_COMPARED_BYTES)
    images = records_to_images(test[::step], dim)
    return records_to_images(calibration, dim), images, labels if labels is None else labels[::step]


def classify(probabilities: Probabilities, images: np.ndarray) -> np.ndarray:
    """The probabilities of all images, a batch at a time: float32 [N, classes]."""
    batches = min(len(images), math.ceil(images.nbytes / BATCH_BYTES))
    return np.concatenate([probabilities(batch) for batch in np.array_split(images, batches)])


def compare(
    name: str,
    files: Iterable[Path],
    probabilities: Probabilities,
    images: np.ndarray,
    labels: np.ndarray | None,
    expected: np.ndarray,
) -> tuple[str, ...]:
    """What a format makes of images, as a row below TITLES.

    Args:
      name: of the format, and what it is given.
      files: its files, and their folders.
      probabilities: runs it.
      images, labels: as `find_images` returns them.
      expected: float32 [N, classes], what the checkpoint makes of the images.
    """
    probs = classify(probabilities, images)
    predictions = probs.argmax(axis=1)
    seconds = timeit.repeat(lambda: probabilities(images[:1]), number=1, repeat=TIMED_CALLS)
    return (
        name,
        f"{sum(file.stat().st_size for file in files if file.is_file()):,}",
        percent(None if labels is None else np.mean(predictions == labels)),
        f"{np.mean(predictions == expected.argmax(axis=1)):.2%}",
        f"{abs(probs - expected).max():.1e}",
        f"{1_000 * statistics.median(seconds):.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
