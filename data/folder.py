"""One's own images: a folder with a folder of image files for each class.

pets/cat/1.jpg pets/dog/2.png ...              about a fifth of each class is to test on
pets/train/cat/1.jpg pets/test/cat/2.jpg ...   or the folders train and test say which
"""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import os
import stat
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import DataError, Dataset, Split
from data.images import FORMATS, ImageFiles, looks_like_an_image

DIM = 32  # a stored image, as in CIFAR-10, where the chapter's net comes from
CROP = 0.75  # of it is seen by the net: 24 of 32
TEST_BELOW = bytes([51])  # a fifth of 256: what a test image's digest is below
HASHED_BYTES = 16_384  # at either end of a file; with its size, enough to tell images apart
NAMED = 5  # files in a message; more would bury it


class File(NamedTuple):
    """An image file: where it is, its class, and what is read of it at the start."""

    path: Path
    label: int
    digest: bytes


def load(folder: Path, original_dim: int | None = None, resize_dim: int | None = None) -> Dataset:
    """The images in a folder of class folders; they are read when they are asked for.

    Files that are no images, and copies of others, are left out and named on stderr.

    Args:
      folder: holds a folder per class, or folders train and test that do.
      original_dim: side in pixels to which each image's central square is resized; None for 32.
      resize_dim: side in pixels of the crop that the net sees; None for three quarters of that.

    Raises:
      DataError: it cannot be read, has fewer than two classes, or a class has no images.
    """
    dim = original_dim or DIM
    parts = parts_of(folder)
    class_names = find_class_names(parts)
    files = [find_files(part, class_names) for part in parts]
    kept = without_copies(folder, [file for part in reversed(files) for file in part])
    files = [[file for file in part if file in kept] for part in files]
    train, test = files if len(files) == 2 else divide(files[0])
    for name, part in (("train on", train), ("test on", test)):
        for label in set(range(len(class_names))) - {file.label for file in part}:
            raise DataError(
                f"{folder}: there is no image of the class {class_names[label]!r} to {name}; put "
                "some more into its folder, or remove the folder."
            )
    return Dataset(
        train=as_split(train, dim),
        test=as_split(test, dim),
        class_names=tuple(class_names),
        original_dim=dim,
        resize_dim=resize_dim or round(CROP * dim),
        mirrored=True,
    )


def parts_of(folder: Path) -> list[Path]:
    """The folders train and test in a folder, or the folder itself.

    Raises:
      DataError: it cannot be read, or has only one of the two.
    """
    names = {entry.name for entry in visible(folder) if entry.is_dir()}
    found = names & {"train", "test"}
    if len(found) == 1:
        there = found.pop()
        missing = "test" if there == "train" else "train"
        raise DataError(
            f"{folder}: holds a folder {there!r} but none called {missing!r}; add or rename it, or "
            "put the class folders side by side."
        )
    return [folder / "train", folder / "test"] if found else [folder]


def find_class_names(parts: list[Path]) -> list[str]:
    """The names of the folders in one folder or several, in alphabetical order."""
    entries = [entry for part in parts for entry in visible(part)]
    names = sorted({entry.name for entry in entries if entry.is_dir()})
    try:
        str(parts[0]).encode()
        for name in names:
            name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{str(parts[0])!a}: it, or a folder in it, has a name that is not in UTF-8; rename it."
        ) from None
    if len(names) < 2:
        raise DataError(
            f"{parts[0]}: holds {len(names)} class folders, where at least 2 are needed, each with "
            "the images of one class."
        )
    loose = [Path(entry.path) for entry in entries if not entry.is_dir()]
    tell_left_out(parts[0], sorted(loose), "outside of the class folders")
    return names


def find_files(part: Path, class_names: list[str]) -> list[File]:
    """All image files of all classes, in the order of class and name."""
    files, others, nested = [], [], []
    for label, name in enumerate(class_names):
        folder = part / name
        entries = visible(folder) if folder.is_dir() else []
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.is_dir():
                nested.append(path)
            elif digest := digest_of_image(path):
                files.append(File(path, label, digest))
            else:
                others.append(path)
    tell_left_out(part, nested, "folders within class folders")
    tell_left_out(part, others, f"no readable {', '.join(FORMATS)} files")
    return files


def visible(folder: Path) -> list[os.DirEntry]:
    """What is in a folder, but for hidden files.

    Raises:
      DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror}); mend its permissions, or give another "
            "--dataset."
        ) from error


def digest_of_image(path: Path) -> bytes | None:
    """A hash of an image file's size and both ends; None for a file that is none."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # reading a pipe could wait for ever
            return None
        size = status.st_size
        with open(path, "rb", buffering=0) as file:
            head = file.read(HASHED_BYTES)
            if size > HASHED_BYTES:
                file.seek(max(HASHED_BYTES, size - HASHED_BYTES))
            tail = file.read(HASHED_BYTES)
    except OSError:
        return None
    if not looks_like_an_image(head):
        return None
    return hashlib.blake2b(b"%d " % size + head + tail, digest_size=16).digest()


def without_copies(folder: Path, files: list[File]) -> set[File]:
    """One of each image, the first; none where copies stand in folders of several classes."""
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
    tell_left_out(folder, [file.path for file in copies], "copies of other images")
    tell_left_out(
        folder, [file.path for file in contradictions], "the same image under several classes"
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
    """Training and test files: each file's own content decides.

    So the same images are tested on wherever the folder lies and whatever the files are called,
    and no image changes sides when others are added or removed. But each class has at least one
    file on either side, if it has two.
    """
    test = set()
    for _, own in itertools.groupby(files, key=lambda file: file.label):
        own = sorted(own, key=lambda file: file.digest)
        below = sum(file.digest < TEST_BELOW for file in own)
        test.update(own[: min(max(1, below), max(1, len(own) - 1))])
    return [file for file in files if file not in test], [file for file in files if file in test]


def as_split(files: list[File], dim: int) -> Split:
    """Files as the records and labels that all else works with."""
    labels = np.array([file.label for file in files], np.int32)
    return Split(ImageFiles([file.path for file in files], dim), labels)
