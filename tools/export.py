"""A trained net for other programs, and for phones: python -m tools.export

Writes the formats below, loads each again with the runtime that would use it, and prints what it
makes of the test images beside the checkpoint itself. All of them take images as they are
stored, with values of 0..255: crop and standardization are inside. The names of the classes are in
labels.txt, and within the files of all formats but frozen_graph.

  saved_model    for TensorFlow and its servers: image files or pixels -> labels, probabilities;
                 unlike tools.predict, it reads neither TIFF, AVIF nor HEIC, refuses an animated
                 WebP and a BMP with a palette, compression or bit masks, does not turn photos
                 upright as their EXIF data say, and shows black where the first image of a GIF is
                 transparent or smaller than the whole
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
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

# For `python path/to/tools/export.py`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import UserError, printable
from base.files import output_folder
from base.program import Parser, local_path, run
from base.runtime import CHATTER, filtered_stderr, load_tensorflow_quietly
from data.images import ImageFiles
from exports import PACKAGES
from reporting.console import aligned, percent
from saved.run_dir import PRETRAINED
from tools.predict import find_files
from training.batches import records_to_images

CALIBRATION_IMAGES = 500
NOISE_IMAGES = 256
MAX_COMPARED_BYTES = 1 << 28  # 1,365 images of 256 x 256, all of CIFAR-10's test images
BATCH_BYTES = 250 * 3 * 32**2  # of images that are classified at once


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(
        prog="python -m tools.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run_dir",
        type=local_path,
        default=PRETRAINED,
        help="a run's folder, or a checkpoint in one (default: the included CIFAR-10 model)",
    )
    parser.add_argument(
        "--formats", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="default: all"
    )
    parser.add_argument(
        "--out", type=local_path, help="folder to write to (default: export in the run's folder)"
    )
    parser.add_argument(
        "--data_dir",
        type=local_path,
        help="folder of the images' files, if they are not where they "
        "were when the run was trained; for published weights any folder of photos",
    )
    return run(parser.prog, lambda: export(parser.parse_args(arguments)))


def export(flags: argparse.Namespace) -> None:
    """Writes, compares and prints; raises UserError if a package or the images are missing, or
    something is in the way."""
    for name in flags.formats:
        if missing := [each for each in PACKAGES[name] if importlib.util.find_spec(each) is None]:
            raise UserError(
                f"--formats {name}: needs the package {missing[0]}; run `pip install -r "
                "requirements-export.txt`, or choose other formats."
            )
    load_tensorflow_quietly()
    from evaluation.inference import load_net
    from exports.formats import FORMATS, LABELS_NAME, labels_text
    from saved.run import load_run

    saved = load_run(flags.run_dir)
    class_names = saved.settings["class_names"]
    calibration, images, labels, what = find_images(saved.settings, flags)
    out = output_folder(flags.out or saved.output_dir / "export")
    with (
        load_net(saved) as net,
        tempfile.TemporaryDirectory(dir=out) as new,
        filtered_stderr(rf"{CHATTER}|fully_quantize:|INFO: Created TensorFlow Lite"),
    ):
        expected = classify(net.probabilities, images)
        files = Path(saved.checkpoint).parent.glob(f"{Path(saved.checkpoint).name}.*")
        rows = [
            ("format", "bytes", "accuracy", "agrees", "largest difference", "ms an image"),
            compare("checkpoint", files, net.probabilities, images, labels, expected),
        ]
        for file_name, write in [FORMATS[name] for name in dict.fromkeys(flags.formats)]:
            path = Path(new, file_name)
            rows += [
                compare(name, [path, *path.rglob("*")], read, images, labels, expected)
                for name, read in write(net, path, class_names, calibration).items()
            ]
        Path(new, LABELS_NAME).write_bytes(labels_text(class_names).encode())
        for path in [*Path(new).iterdir()]:  # all of them are complete
            shutil.rmtree(out / path.name, ignore_errors=True)  # an earlier export, if a folder
            path.replace(out / path.name)
    print(f"{aligned(rows, left=(0,))}\n")
    print(printable(f"compared on {len(images):,} {what}; written to {out}"))


def find_images(
    settings: dict, flags: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """Images of a run's data set; for weights from elsewhere, any photos; or else noise.

    Returns:
      uint8 [N, original_dim, original_dim, 3] to calibrate int8 on; the same of other images, to
      compare with (of photos, every second one); int32 labels of these, or None; what these are.
    """
    from saved.run import load_dataset

    dim, labels, what = settings["original_dim"], None, "test images"
    try:
        if flags.data_dir is None or "source" not in settings:
            dataset = load_dataset(settings, flags.data_dir, may_download=False)
            train, test, labels = dataset.train.records, dataset.test.records, dataset.test.labels
        else:  # not trained here: its images are elsewhere
            paths, what = find_files([flags.data_dir]), f"photos of {flags.data_dir}"
            train, test = ImageFiles(paths[::2], dim), ImageFiles(paths[1::2] or paths, dim)
    except UserError:
        if flags.data_dir or "tflite_int8" in flags.formats:
            raise
        shape, what = (NOISE_IMAGES, 3 * dim**2), "images of noise, as the test images are missing"
        train = test = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    calibration = train[:: math.ceil(len(train) / CALIBRATION_IMAGES)]
    chosen = slice(None, None, math.ceil(len(test) * 3 * dim**2 / MAX_COMPARED_BYTES))
    return (
        records_to_images(calibration, dim),
        records_to_images(test[chosen], dim),
        None if labels is None else labels[chosen],
        what,
    )


def classify(probabilities: Callable, images: np.ndarray) -> np.ndarray:
    """The probabilities of all images, a batch at a time: float32 [N, classes]."""
    batches = np.array_split(images, min(len(images), math.ceil(images.nbytes / BATCH_BYTES)))
    return np.concatenate([probabilities(batch) for batch in batches])


def compare(
    name: str,
    files: Iterable[Path],
    probabilities: Callable,
    images: np.ndarray,
    labels: np.ndarray | None,
    expected: np.ndarray,
) -> tuple[str, ...]:
    """A row of the table: what a format, in these files (and folders), makes of the images, which
    `find_images` returns; expected are the checkpoint's probabilities, float32 [N, classes]."""
    probs = classify(probabilities, images)
    predictions = probs.argmax(axis=1)
    seconds = timeit.repeat(lambda: probabilities(images[:1]), number=1, repeat=200)
    return (
        name,
        f"{sum(file.stat().st_size for file in files if file.is_file()):,}",
        percent(None if labels is None else np.mean(predictions == labels)),
        f"{np.mean(predictions == expected.argmax(axis=1)):.2%}",
        f"{abs(probs - expected).max():.1e}",
        f"{1_000 * np.median(seconds):.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
