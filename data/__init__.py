"""Files on disk -> images and labels. Knows neither the net nor flags nor TensorFlow.

A built-in data set is a module `data/NAME.py` with a function `load(data_dir, may_download)`, and
its name is in NAMES. `folder` reads a folder of your own images.
"""

import dataclasses
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from base import UserError
from base.program import report

if TYPE_CHECKING:  # numpy would make `train.py --help` wait
    import numpy as np

    from data.images import ImageFiles


NAMES = ("cifar10", "digits")  # the built-in data sets


@dataclasses.dataclass(frozen=True)
class Split:
    """Images, in an array or what is indexed like one, with their labels."""

    # uint8 [N, 3 * original_dim * original_dim], channel-major: all red values of an image row by
    # row, then green, then blue.
    records: "np.ndarray | ImageFiles"
    labels: "np.ndarray"  # int32 [N], index into the data set's class_names


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set that has been loaded."""

    name: str  # one of NAMES, or the absolute path of a folder; `load` takes either
    train: Split
    test: Split
    class_names: tuple[str, ...]  # in the order of the labels
    original_dim: int  # side of a stored image in pixels
    resize_dim: int  # side of the crop that the net sees, in pixels
    mirrored: bool  # whether a mirrored image still belongs to its class (a digit does not)
    # Held out for choosing a checkpoint or a setting, so that the test split plays no part in it.
    validation: Split | None = None
    digest: str = ""  # of your own images, wherever they lie; none of a built-in data set

    @property
    def evaluation_set(self) -> Split:
        """What checkpoints are evaluated on: the held-out images if there are any."""
        return self.validation or self.test

    @property
    def evaluation_name(self) -> str:
        """The name of the evaluation set's split, "test" or "validation"."""
        return "validation" if self.validation else "test"


def load(
    name: str,
    data_dir: Path | None = None,
    may_download: bool = True,
    dims: tuple[int, int] | None = None,
) -> Dataset:
    """Loads a data set, downloading it first if that is needed and allowed.

    Args:
      name: one of NAMES, or else the path of a folder of your own images.
      data_dir: folder that holds the files or gets the download; None for the data set's default.
      may_download: whether missing files may be downloaded or unpacked.
      dims: original_dim and resize_dim of your own images; None for (32, 24).

    Raises:
      UserError: there is no such data set, it has other dims, or its files cannot be had or read.
    """
    if data_dir is not None and name != "cifar10":
        raise UserError(
            f"{data_dir}: is a folder for the files of cifar10, which {name} does not use; leave "
            "it out."
        )
    if name not in NAMES:
        from data import folder

        if not os.path.isdir(name):
            raise UserError(
                f"{name}: is neither a folder nor one of the data sets {', '.join(NAMES)}; check "
                "the spelling."
            )
        return folder.load(Path(os.path.realpath(name)), *(dims or (32, 24)))
    if data_dir is None and os.path.isdir(name):
        report(f"{name}: loading the built-in data set of that name; ./{name} is the folder")
    dataset = importlib.import_module(f"data.{name}").load(data_dir, may_download)
    if dims not in (None, (dataset.original_dim, dataset.resize_dim)):
        raise UserError(
            f"{name}: has images of {dataset.original_dim} x {dataset.original_dim} pixels, of "
            f"which the net sees {dataset.resize_dim} x {dataset.resize_dim}; give a folder of "
            "your own images to choose other sizes."
        )
    return dataset


def hold_out(dataset: Dataset, size: int) -> Dataset:
    """Moves training images into the validation split: of each class its part, always the same.

    Raises:
      UserError: there are too few images for that, or the data set has a validation split.
    """
    from sklearn.model_selection import train_test_split  # takes seconds to import

    if dataset.validation:
        raise UserError(
            f"{dataset.name}: has {len(dataset.validation.labels):,} validation images of its own; "
            "hold out none."
        )
    records, labels = dataset.train.records, dataset.train.labels
    try:
        parts = train_test_split(
            range(len(labels)), test_size=size, stratify=labels, random_state=0
        )
    except ValueError as error:
        raise UserError(
            f"{dataset.name}: {size:,} of {len(labels):,} training images of "
            f"{len(dataset.class_names):,} classes cannot be held out ({error}); give another "
            "number."
        ) from error
    train, validation = (Split(records.take(part, axis=0), labels[part]) for part in parts)
    return dataclasses.replace(dataset, train=train, validation=validation)


def class_counts(dataset: Dataset) -> "np.ndarray":
    """How many training images each class has: int64 [classes]."""
    import numpy as np

    return np.bincount(dataset.train.labels, minlength=len(dataset.class_names))


def class_weights(dataset: Dataset) -> "np.ndarray":
    """Weights for the training loss that give every class the same say: float32 [classes].

    Inversely proportional to how many training images a class has, and 1 on average over these
    (scikit-learn's class_weight="balanced"); 0 for a class without any.
    """
    counts = class_counts(dataset)
    weights = (counts > 0) * counts.sum() / ((counts > 0).sum() * counts.clip(1))
    return weights.astype("float32")
