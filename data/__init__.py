"""Bytes on disk -> (records, labels). Knows nothing of the model or of TensorFlow.

A module of this package is a data set: `data/NAME.py` with a function `load(data_dir,
may_download)` that returns a `Dataset` is all that `--dataset NAME` needs. (`folder` reads one's
own images instead, `images` an image file.)
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pkgutil
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy would make `train.py --help` wait
    import numpy as np


HELPERS = ("files", "folder", "images")  # modules that are not data sets


class DataError(Exception):
    """The images cannot be had; the message is one sentence for the user that names the file."""


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
      records: uint8 [N, 3 * original_dim * original_dim], channel-major: all red values of a
        image row by row, then green, then blue. An array, or something that reads the rows it
        is asked for (`data.images.ImageFiles`).
      labels: int32 [N], index into the data set's class_names.
    """

    records: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set, read.

    Attributes:
      train, test: the two splits.
      class_names: one name per class, in the order of the labels.
      original_dim: side of a stored image in pixels.
      resize_dim: side of the crop that the net sees, in pixels.
      mirrored: whether an image seen in a mirror is still of its class (a digit is not).
      validation: held-out training images, to choose by in place of the test split; or None.
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
    """The data sets there are, in alphabetical order."""
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    return sorted(modules.difference(HELPERS))


def full_name(name: str) -> str:
    """What --dataset means: one of `names()`, or the whole path of a folder."""
    return name if name in names() else os.path.realpath(name)


def load(
    name: str,
    data_dir: Path | None = None,
    may_download: bool = True,
    original_dim: int | None = None,
) -> Dataset:
    """Reads a data set, downloading it first where that is needed and allowed.

    Args:
      name: one of `names()`, or the path of a folder of one's own images.
      data_dir: folder that holds the files or gets the download; None for the data set's own
        default.
      may_download: whether files that are not there may be downloaded.
      original_dim: side in pixels to which one's own images are resized; None for the default.
        The other data sets have their own.

    Raises:
      DataError: there is no such data set, a file is missing, unreadable or damaged, or the
        download failed.
    """
    if name not in names():
        if data_dir is not None:
            raise DataError("--data_dir: --dataset names the folder itself; leave it out.")
        if not os.path.isdir(name):
            raise DataError(
                f"--dataset {name}: is no folder, and none of the data sets {', '.join(names())}; "
                "see --help."
            )
        return importlib.import_module(f"{__name__}.folder").load(Path(name), original_dim)
    dataset = importlib.import_module(f"{__name__}.{name}").load(data_dir, may_download)
    if original_dim not in (None, dataset.original_dim):
        raise DataError(
            f"--original_dim {original_dim}: the images of {name} have "
            f"{dataset.original_dim} x {dataset.original_dim} pixels; leave it out."
        )
    return dataset


def hold_out(dataset: Dataset, size: int) -> Dataset:
    """Moves training images into the validation split, to choose by in place of the test split.

    Args:
      dataset: whose training images to divide.
      size: how many to hold out; every class gives its share. They are the same each time.

    Raises:
      DataError: there are too few images for that.
    """
    from sklearn.model_selection import train_test_split  # takes seconds to import

    records, labels = dataset.train.records, dataset.train.labels
    try:
        rest, held_out = train_test_split(
            range(len(labels)), test_size=size, stratify=labels, random_state=0
        )
    except ValueError as error:
        raise DataError(
            f"--held_out {size}: {len(labels):,} training images of {len(dataset.class_names)} "
            f"classes cannot be divided so ({error}); give another number."
        ) from error
    train, validation = (
        Split(records.take(indices, axis=0), labels[indices]) for indices in (rest, held_out)
    )
    return dataclasses.replace(dataset, train=train, validation=validation)
