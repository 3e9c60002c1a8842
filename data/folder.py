"""One's own pictures: a folder with a folder of picture files for each class.

pets/cat/1.jpg pets/dog/2.png ...              a fifth of each class is kept to test on
pets/train/cat/1.jpg pets/test/cat/2.jpg ...   or the folders train and test say which
"""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import DataError, Dataset, Split
from data.pictures import FORMATS, PictureFiles, looks_like_a_picture

DIM = 32  # a stored picture, as in CIFAR-10, where the chapter's net comes from
CROP = 0.75  # of it is seen by the net: 24 of 32
TEST_SHARE = 0.2
HASHED_BYTES = 16_384  # at either end of a file; with its size, enough to tell pictures apart
NAMED = 5  # files in a message; more would bury it


class File(NamedTuple):
    """A picture file: where it is, its class, and what is read of it at the start."""

    path: Path
    label: int
    digest: bytes | None


def load(folder: Path, original_dim: int | None = None) -> Dataset:
    """The pictures in a folder of class folders; they are read when they are asked for.

    Files that are no pictures, and copies of others, are left out and named on stderr.

    Args:
      folder: holds a folder per class, or folders train and test that do.
      original_dim: side in pixels to which each picture's central square is resized; None for 32.

    Raises:
      DataError: it cannot be read, has fewer than two classes, or a class has no pictures.
    """
    dim = original_dim or DIM
    parts = [folder / "train", folder / "test"]
    if not all(part.is_dir() for part in parts):
        parts = [folder]
    class_names = find_class_names(parts)
    files = [find_files(part, class_names) for part in parts]
    kept = without_copies(folder, [file for part in reversed(files) for file in part])
    files = [[file for file in part if file in kept] for part in files]
    train, test = files if len(files) == 2 else divide(files[0])
    for name, part in (("train on", train), ("test on", test)):
        for label in set(range(len(class_names))) - {file.label for file in part}:
            raise DataError(
                f"{folder}: there is no picture of the class {class_names[label]!r} to {name}; put "
                "some more into its folder, or remove the folder."
            )
    return Dataset(
        train=as_split(train, dim),
        test=as_split(test, dim),
        class_names=tuple(class_names),
        original_dim=dim,
        resize_dim=round(CROP * dim),
        mirrored=True,
    )


def find_class_names(parts: list[Path]) -> list[str]:
    """The names of the folders in one folder or several, in alphabetical order."""
    try:
        names = {entry.name for part in parts for entry in visible(part) if entry.is_dir()}
        for name in names:
            name.encode()
    except OSError as error:
        raise DataError(
            f"--dataset {parts[0]}: is neither a data set of this project nor a folder that can be "
            f"read ({error.strerror}); see --help."
        ) from error
    except UnicodeEncodeError:
        raise DataError(f"{parts[0]}/{name!a}: is not in UTF-8; rename the folder.") from None
    if len(names) < 2:
        raise DataError(
            f"{parts[0]}: holds {len(names)} class folders, where at least 2 are needed, each with "
            "the pictures of one class."
        )
    return sorted(names)


def find_files(part: Path, class_names: list[str]) -> list[File]:
    """All picture files of all classes, in the order of class and name."""
    found = []
    for label, name in enumerate(class_names):
        folder = part / name
        if folder.is_dir():
            paths = sorted(entry.path for entry in visible(folder) if not entry.is_dir())
            found += [(Path(path), label) for path in paths]
    files = [File(path, label, digest_of_picture(path)) for path, label in found]
    others = [file.path for file in files if file.digest is None]
    tell_left_out(part, others, f"no readable {', '.join(FORMATS)} files")
    return [file for file in files if file.digest is not None]


def visible(folder: Path) -> list[os.DirEntry]:
    """What is in a folder, but for hidden files."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def digest_of_picture(path: Path) -> bytes | None:
    """A hash of a picture file's size and both ends; None for a file that is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HASHED_BYTES)
            if size > HASHED_BYTES:
                file.seek(max(HASHED_BYTES, size - HASHED_BYTES))
            tail = file.read(HASHED_BYTES)
    except OSError:
        return None
    if not looks_like_a_picture(head):
        return None
    return hashlib.blake2b(b"%d " % size + head + tail, digest_size=16).digest()


def without_copies(folder: Path, files: list[File]) -> set[File]:
    """One of each picture, the first; none where copies stand in folders of several classes."""
    same = defaultdict(list)
    for file in files:
        same[file.digest].append(file)
    kept, copies, contradictions = set(files), [], []
    for first, *others in same.values():
        others = [file for file in others if filecmp.cmp(first.path, file.path, shallow=False)]
        if any(file.label != first.label for file in others):
            contradictions += [first, *others]
        else:
            copies += others
    kept -= {*copies, *contradictions}
    tell_left_out(folder, [file.path for file in copies], "copies of other pictures")
    tell_left_out(
        folder, [file.path for file in contradictions], "the same picture under several classes"
    )
    return kept


def tell_left_out(folder: Path, paths: list[Path], what: str) -> None:
    """Names files on stderr that are not used."""
    if paths:
        named = [str(path) for path in paths[:NAMED]]
        if len(paths) > NAMED:
            named.append(f"and {len(paths) - NAMED:,} more")
        print(f"{folder}: left out, as {what}: {', '.join(named)}", file=sys.stderr)


def divide(files: list[File]) -> tuple[list[File], list[File]]:
    """Training and test files: a fixed share of each class, chosen by what is in the files.

    So the same pictures are tested on wherever the folder lies and whatever the files are called,
    and a few more pictures hardly change which.
    """
    test = set()
    for _, own in itertools.groupby(files, key=lambda file: file.label):
        own = sorted(own, key=lambda file: file.digest)
        test.update(own[: max(1, round(TEST_SHARE * len(own)))])
    return [file for file in files if file not in test], [file for file in files if file in test]


def as_split(files: list[File], dim: int) -> Split:
    """Files as the records and labels that all else works with."""
    labels = np.array([file.label for file in files], np.int32)
    return Split(PictureFiles([file.path for file in files], dim), labels)
