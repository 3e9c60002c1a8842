"""Bytes on disk -> (records, labels). Knows nothing of the model or of TensorFlow.

A module of this package is a data set: `data/NAME.py` with a function `load(data_dir,
may_download)` that returns a `Dataset` makes `load("NAME")` work. The exceptions are HELPERS:
`folder` reads a folder of your own images, `images` an image file.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pkgutil
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy would make `train.py --help` wait
    import numpy as np


try:
    import tqdm  # noqa: F401
except (TypeError, ValueError):  # it applies the caller's TQDM_* variables, of which one is invalid
    for name in [name for name in os.environ if name.startswith("TQDM_")]:
        del os.environ[name]

HELPERS = ("download", "files", "folder", "images")  # modules that are not data sets
IMBALANCE = 10  # how many times the images of one class another may have without a comment


class DataError(Exception):
    """A data set or an image cannot be read: a user error, told in one sentence.

    Attributes:
      argument: the parameter of `load` or `hold_out` that is wrong, if one is. The sentence then
        begins with its value, so that a command can put the name of its flag in front.
      instead: parameters of `load` that would work, by name; a command can name them as flags. One
        that is true or false has the value "".
    """

    def __init__(
        self, message: str, argument: str | None = None, instead: dict[str, str] | None = None
    ):
        super().__init__(message)
        self.argument = argument
        self.instead = instead


def printable(text: object) -> str:
    """Text of unknown origin, such as a file's name, made safe to print: one line of what it says.

    Line breaks, escape sequences, invisible characters, those that reverse the direction of
    writing, and bytes that are not UTF-8 are shown as Python would write them ("\\n", "\\x1b"), so
    that a name cannot forge output or control the terminal. Letters of all scripts, symbols and
    spaces stay as they are.
    """
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


@dataclasses.dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
      records: uint8 [N, 3 * original_dim * original_dim], channel-major: all red values of an
        image row by row, then green, then blue. An array, or an object that reads rows when they
        are indexed (`data.images.ImageFiles`).
      labels: int32 [N], index into the data set's class_names.
    """

    records: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set that has been loaded.

    Attributes:
      train, test: the two splits.
      class_names: one name per class, in the order of the labels.
      original_dim: side of a stored image in pixels.
      resize_dim: side of the crop that the net sees, in pixels.
      mirrored: whether a mirrored image still belongs to its class (a digit does not).
      validation: held-out images for choosing a checkpoint or a setting, so that the test split
        plays no part in it; or None.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    original_dim: int
    resize_dim: int
    mirrored: bool
    validation: Split | None = None

    @property
    def evaluation_set(self) -> Split:
        """What checkpoints are evaluated on: the held-out images if there are any."""
        return self.test if self.validation is None else self.validation

    @property
    def evaluation_name(self) -> str:
        """The name of the evaluation set's split, "test" or "validation"."""
        return "test" if self.validation is None else "validation"


def names() -> list[str]:
    """The built-in data sets, in alphabetical order."""
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(modules.difference(HELPERS))


def full_name(name: str) -> str:
    """What identifies a data set: one of `names()`, or the absolute path of a folder."""
    return name if name in names() else os.path.realpath(name)


def load(
    name: str,
    data_dir: Path | None = None,
    may_download: bool = True,
    original_dim: int | None = None,
    resize_dim: int | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """Loads a data set, downloading it first if that is needed and allowed.

    Args:
      name: one of `names()`, or the path of a folder of your own images. The names come first: a
        folder called digits is ./digits.
      data_dir: folder that holds the files or gets the download; None for the data set's default.
      may_download: whether missing files may be downloaded or unpacked.
      original_dim: side in pixels to which your own images are resized; None for the default. The
        built-in data sets have a fixed size.
      resize_dim: side in pixels of the crop of your own images that the net sees; None for three
        quarters of original_dim.
      skip_damaged: whether to leave out damaged images of your own, which otherwise raise an error
        when they are read. It reads all images at once.

    Raises:
      DataError: there is no such data set, a file is missing, unreadable or damaged, or the
        download failed.
    """
    if name not in names():
        if data_dir is not None:
            raise DataError(
                f"{printable(data_dir)}: does not go with a folder of your own images; leave it "
                "out.",
                "data_dir",
            )
        return load_folder(Path(name), original_dim, resize_dim, skip_damaged)
    if skip_damaged:
        raise DataError(
            f"is for folders of your own images, but {name} is built in; leave it out.",
            "skip_damaged",
        )
    note_shadowed_folder(name, data_dir)
    dataset = importlib.import_module(f"{__name__}.{name}").load(data_dir, may_download)
    if original_dim not in (None, dataset.original_dim):
        raise DataError(
            f"{original_dim}: the images of {name} have "
            f"{dataset.original_dim} x {dataset.original_dim} pixels; leave it out.",
            "original_dim",
        )
    return dataset


def load_folder(
    path: Path, original_dim: int | None, resize_dim: int | None, skip_damaged: bool
) -> Dataset:
    """Loads a folder of the user's own images; raises DataError as `load` does."""
    from data import cifar10, folder

    if version := cifar10.version_at(path):
        instead = {"name": "cifar10"}
        if version == "CIFAR-10":
            instead["data_dir"] = str(path)
        raise DataError(
            f"{printable(path)}: is {version}, not a folder of image files", "name", instead
        )
    if not os.path.isdir(path):
        raise DataError(
            f"{printable(path)}: is neither a folder nor one of the data sets "
            f"{', '.join(names())}; check the spelling.",
            "name",
        )
    return folder.load(path, original_dim, resize_dim, skip_damaged)


def note_shadowed_folder(name: str, data_dir: Path | None) -> None:
    """Says on stderr that a folder is not used, because a built-in data set has the same name."""
    if data_dir is None and os.path.isdir(name):
        print(
            f"{name}: loading the built-in data set of that name; ./{name} is the folder",
            file=sys.stderr,
        )


def hold_out(dataset: Dataset, size: int) -> Dataset:
    """Moves training images into the validation split.

    Args:
      dataset: whose training images to divide.
      size: how many to hold out; each class gives its share. They are the same every time.

    Raises:
      DataError: there are too few images for that, or the data set has a validation split.
    """
    from sklearn.model_selection import train_test_split  # takes seconds to import

    if dataset.validation is not None:
        raise DataError(
            f"{size}: the data set has {len(dataset.validation.labels):,} validation images of its "
            "own; leave it out.",
            "held_out",
        )
    records, labels = dataset.train.records, dataset.train.labels
    try:
        rest, held_out = train_test_split(
            range(len(labels)), test_size=size, stratify=labels, random_state=0
        )
    except ValueError as error:
        raise DataError(
            f"{size}: {len(labels):,} training images of {len(dataset.class_names)} classes cannot "
            f"be divided like this ({error}); give another number.",
            "held_out",
        ) from error
    train, validation = (
        Split(records.take(indices, axis=0), labels[indices]) for indices in (rest, held_out)
    )
    return dataclasses.replace(dataset, train=train, validation=validation)


def class_weights(dataset: Dataset) -> np.ndarray:
    """Weights for the training loss of images that give every class the same say.

    An image's weight is inversely proportional to how many training images its class has, and 1 on
    average over all training images (scikit-learn's class_weight="balanced").

    Returns:
      float32 [classes]; 0 for a class without training images.
    """
    import numpy as np

    labels = dataset.train.labels
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts, weights, 0).astype(np.float32)


def describe_imbalance(dataset: Dataset) -> str | None:
    """A sentence on the largest and the smallest class, if they differ by more than 10 : 1."""
    import numpy as np

    counts = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    most, fewest = counts.argmax(), counts.argmin()
    if counts[most] <= IMBALANCE * counts[fewest]:
        return None
    return (
        f"the classes are unbalanced: {counts[most]:,} training images of "
        f"{printable(dataset.class_names[most])}, but {counts[fewest]:,} of "
        f"{printable(dataset.class_names[fewest])}; weighting the classes may help"
    )
