"""A folder of your own images, with a folder of image files for each class.

pets/cat/1.jpg pets/dog/2.png ...              about a fifth of each class becomes the test split
pets/train/cat/1.jpg pets/test/cat/2.jpg ...   the folders train and test are the splits, and the
                                               folder val, if there is one, is for validation

`python -m data.folder pets` checks such a folder: it lists all files that cannot be used, and why.
"""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import os
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import DataError, Dataset, Split, printable
from data.files import open_regular
from data.images import FORMATS, ImageFiles, is_clutter, looks_like_an_image

DIM = 32  # side of a stored image; CIFAR-10's, which the chapter's net is made for
CROP = 0.75  # how much of it the net sees, along each side: 24 of 32
SPLITS = {  # what the folders may be called, in lower case
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
TEST_BELOW = bytes([51])  # a fifth of 256: what a test image's digest is below
HASHED_BYTES = 16_384  # at either end of a file; with its size, enough to tell images apart
OUTSIDE = "outside the class folders"
NAMED = 5  # files in a message; more would bury it

LeftOut = defaultdict[str, list[Path]]  # why -> the files that are not used


class File(NamedTuple):
    """An image file: where it is, its class, and a hash of its size and both ends."""

    path: Path
    label: int
    digest: bytes


def load(
    folder: Path,
    original_dim: int | None = None,
    resize_dim: int | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """The images in a folder of class folders; they are read when they are asked for.

    Files that are not images, and copies of others, are left out and named on stderr.

    Args:
      folder: holds a folder per class, or folders train and test (and val) that do.
      original_dim: side in pixels to which each image's central square is resized; None for 32.
      resize_dim: side in pixels of the crop that the net sees; None for three quarters of that.
      skip_damaged: whether to read all images at once, and leave out those that are damaged.

    Raises:
      DataError: it cannot be read, has fewer than two classes, or a class lacks images.
    """
    left_out = defaultdict(list)
    try:
        dim = original_dim or DIM
        return read(folder, dim, resize_dim or round(CROP * dim), skip_damaged, left_out)
    finally:  # after an error, too, which what was left out may explain
        report_left_out(folder, left_out)


def read(folder: Path, dim: int, resize_dim: int, skip_damaged: bool, left_out: LeftOut) -> Dataset:
    """Loads as `load` does, and adds what is not used to left_out."""
    parts = find_parts(folder, left_out)
    classes = find_classes(folder, parts.values(), left_out)
    files = {split: find_files(part, classes, left_out) for split, part in parts.items()}
    # A copy in several splits is kept for the test, and rather for validation than for training.
    in_order = [file for split in reversed(files) for file in files[split]]
    kept = without_copies(in_order, left_out)
    images = ImageFiles([file.path for file in kept], dim)
    index = {file: number for number, file in enumerate(kept)}
    if skip_damaged:
        damaged = images.find_damage()
        left_out["damaged"] += damaged
        index = {file: number for file, number in index.items() if file.path not in damaged}
    files = {split: [file for file in found if file in index] for split, found in files.items()}
    if "all" in files:
        files = divide(files["all"])
    check_classes(folder, files, classes)
    splits = {
        split: Split(
            images.take([index[file] for file in found]),
            np.array([file.label for file in found], np.int32),
        )
        for split, found in files.items()
    }
    return Dataset(
        **splits,
        class_names=tuple(os.fsencode(name).decode() for name in classes),
        original_dim=dim,
        resize_dim=resize_dim,
        mirrored=True,
    )


def find_parts(folder: Path, left_out: LeftOut) -> dict[str, Path]:
    """The folders of the splits by name, in SPLITS' order; or the folder itself, as "all".

    Raises:
      DataError: it cannot be read, or has only one of train and test, or one of them twice.
    """
    entries = visible(folder)
    found = defaultdict(list)
    for entry in entries:
        for split, called in SPLITS.items():
            if entry.name.lower() in called and is_folder(entry):
                found[split].append(Path(entry.path))
    if not found.keys() & {"train", "test"}:  # classes may well be called valid and invalid
        return {"all": folder}
    for split, paths in found.items():
        if len(paths) > 1:
            names = " and ".join(sorted(printable(path.name) for path in paths))
            raise DataError(
                f"{printable(folder)}: holds the folders {names}, which both mean the {split} "
                "split; remove or rename one.",
                "name",
            )
    if "test" not in found:
        raise DataError(
            f"{printable(folder)}: holds a folder 'train' but none called 'test'; add it (or "
            "rename another one), or have a fifth of the training images used for the test",
            "name",
            {"name": str(found["train"][0])},
        )
    if "train" not in found:
        raise DataError(
            f"{printable(folder)}: holds a folder 'test' but none called 'train'; add or rename "
            "it, or put the class folders side by side.",
            "name",
        )
    parts = {split: found[split][0] for split in SPLITS if split in found}
    paths = [Path(entry.path) for entry in entries]
    left_out[OUTSIDE] += [path for path in paths if path not in parts.values()]
    return parts


def find_classes(folder: Path, parts: Iterable[Path], left_out: LeftOut) -> list[str]:
    """The names of the class folders in one folder or several, in alphabetical order.

    Raises:
      DataError: there are fewer than two, or one has a name that is not in UTF-8.
    """
    names = set()
    for part in parts:
        for entry in visible(part):
            path = Path(entry.path)
            if not is_folder(entry):
                left_out[OUTSIDE].append(path)
            elif entry.is_symlink() and part.resolve().is_relative_to(path.resolve()):
                left_out["links to folders that contain them"].append(path)
            else:
                names.add(entry.name)
    for name in (folder, *names):
        try:
            os.fsencode(name).decode()
        except UnicodeDecodeError:
            raise DataError(
                f"{printable(folder)}: it, or a folder in it, has a name that is not in UTF-8; "
                "rename it.",
                "name",
            ) from None
    if len(names) < 2:
        raise too_few_classes(folder, parts, names)
    return sorted(names, key=os.fsencode)


def too_few_classes(folder: Path, parts: Iterable[Path], names: set[str]) -> DataError:
    """The error for a folder that holds fewer than two classes."""
    count = "no class folders" if not names else "1 class folder"
    message = (
        f"{printable(folder)}: holds {count}; at least 2 are needed, each with the images of one "
        "class"
    )
    if list(parts) == [folder]:
        for name in names:  # as in an archive that was unpacked into a folder of its own
            inner = folder / name
            if sum(map(is_folder, visible(inner))) > 1:
                return DataError(message, "name", {"name": str(inner)})
    return DataError(f"{message}.", "name")


def find_files(part: Path, classes: list[str], left_out: LeftOut) -> list[File]:
    """All image files of all classes, in the order of class and name."""
    files = []
    for label, name in enumerate(classes):
        if not (part / name).is_dir():
            continue
        for path in files_below(part / name, left_out):
            if digest := digest_of_image(path):
                files.append(File(path, label, digest))
            else:
                left_out[f"not readable as {', '.join(FORMATS)}"].append(path)
    return files


def files_below(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """All files in a folder and in the folders below it, but for clutter.

    Links to folders are not followed: they might lead back, or into another class.
    """
    pending = [folder]
    while pending:
        for entry in sorted(visible(pending.pop()), key=lambda entry: entry.name):
            path = Path(entry.path)
            if not is_folder(entry):
                yield path
            elif entry.is_symlink():
                left_out["links to folders within class folders"].append(path)
            else:
                pending.append(path)


def visible(folder: Path) -> list[os.DirEntry]:
    """What is in a folder, but for clutter such as hidden files.

    Raises:
      DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_clutter(entry.name)]
    except OSError as error:
        raise DataError(
            f"{printable(folder)}: cannot be read ({error.strerror}); fix its permissions, or use "
            "another folder.",
        ) from error


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads nowhere is not."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def digest_of_image(path: Path) -> bytes | None:
    """A hash of an image file's size and both ends; None if it does not look like an image."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HASHED_BYTES)
            if size > HASHED_BYTES:
                file.seek(max(HASHED_BYTES, size - HASHED_BYTES))
            tail = file.read(HASHED_BYTES)
    except OSError:
        return None
    if not looks_like_an_image(head):
        return None
    return hashlib.blake2b(b"%d " % size + head + tail, digest_size=16).digest()


def without_copies(files: list[File], left_out: LeftOut) -> list[File]:
    """One of each image, the first; none if it stands in folders of several classes."""
    same = defaultdict(list)
    for file in files:
        same[file.digest].append(file)
    copies, contradictions = [], []
    for first, *others in same.values():
        others = [file for file in others if same_content(first.path, file.path)]
        if any(file.label != first.label for file in others):
            contradictions += [first, *others]
        else:
            copies += others
    left_out["copies of other images"] += [file.path for file in copies]
    left_out["the same image in several classes"] += [file.path for file in contradictions]
    dropped = {*copies, *contradictions}
    return [file for file in files if file not in dropped]


def same_content(first: Path, second: Path) -> bool:
    """Whether two files are equal, byte for byte; one that cannot be read equals none."""
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False


def divide(files: list[File]) -> dict[str, list[File]]:
    """The splits train and test: each file's own content decides.

    So the same images are tested on wherever the folder lies and whatever the files are called,
    and no image changes sides when others are added or removed. But each class has at least one
    file on either side if it has two.
    """
    test = set()
    for _, own in itertools.groupby(files, key=lambda file: file.label):
        own = sorted(own, key=lambda file: file.digest)
        below = sum(file.digest < TEST_BELOW for file in own)
        test.update(own[: min(max(1, below), max(1, len(own) - 1))])
    return {
        "train": [file for file in files if file not in test],
        "test": [file for file in files if file in test],
    }


def check_classes(folder: Path, files: dict[str, list[File]], classes: list[str]) -> None:
    """Raises DataError when a class has no images in one of the splits."""
    for split, found in files.items():
        for label in set(range(len(classes))) - {file.label for file in found}:
            raise DataError(
                f"{printable(folder)}: the class '{printable(classes[label])}' has no image in the "
                f"{split} split; add some, or remove the class.",
                "name",
            )


def report_left_out(folder: Path, left_out: LeftOut) -> None:
    """Names files that are not used on stderr, the first few of each kind."""
    for reason, paths in left_out.items():
        if paths:
            named = ", ".join(printable(path) for path in sorted(paths)[:NAMED])
            if len(paths) > NAMED:
                command = f"python -m data.folder {shlex.quote(printable(folder))}"
                named += f", and {len(paths) - NAMED:,} more ({command} lists all)"
            count = f"{len(paths):,} left out"
            print(f"{printable(folder)}: {count}, {reason}: {named}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Lists all files of a folder that are not used, a line each, damaged images included.

    Returns:
      Exit code: 0 if the folder can be used, 2 if not.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m data.folder FOLDER", file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    left_out = defaultdict(list)
    try:
        read(Path(arguments[0]), DIM, DIM, True, left_out)
        problem = None
    except DataError as error:
        problem = error
    for reason, paths in left_out.items():
        for path in sorted(paths):
            print(f"{printable(path)}: {reason}")
    if problem:
        print(f"error: {problem}", file=sys.stderr)
    return 2 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
