"""A folder of your own images, with a folder of image files for each class.

pets/cat/1.jpg pets/dog/2.png ...              about a fifth of each class becomes the test split
pets/train/cat/1.jpg pets/test/cat/2.jpg ...   the folders train and test are the splits, and the
                                               folder val, if there is one, is for validation
"""

import filecmp
import hashlib
import itertools
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from base import UserError, printable
from base.files import open_regular
from data import Dataset, Split
from data.images import USABLE, ImageFiles, NotAnImage, is_clutter

SPLITS = {  # what the folders may be called, in lower case
    "test": ("test", "testing"),  # first, as a copy in several splits stays in the first
    "validation": ("val", "valid", "validation"),
    "train": ("train", "training"),
}
TEST_BELOW = bytes([51])  # a fifth of 256: what a test image's digest is below
HASHED_BYTES = 16_384  # at either end of a file; with its size, enough to tell images apart
OUTSIDE = "outside the class folders"
MAX_LISTED = 5  # files in a message; more would bury it


class File(NamedTuple):
    """An image file: where it is, its class, and its split ("all" where none is given)."""

    path: Path
    label: int
    split: str


def load(folder: Path, original_dim: int, resize_dim: int) -> Dataset:
    """The images in a folder of class folders, which are all read once.

    Files that cannot be used, and copies of others, are left out and listed on stderr.

    Args:
      folder: holds a folder per class, or folders train and test (and val) that do.
      original_dim: side in pixels to which each image's central square is resized.
      resize_dim: side in pixels of the crop that the net sees.

    Raises:
      UserError: it cannot be read, has fewer than two classes, or a class lacks images.
    """
    left_out: dict[str, list] = defaultdict(list)  # why -> the files, or what is wrong with them
    parts = {
        split: find_classes(part, left_out) for split, part in find_parts(folder, left_out).items()
    }
    classes = sorted({name for found in parts.values() for name in found})
    check_names(folder, classes, parts)
    files = [
        File(path, label, split)
        for split, found in parts.items()
        for label, name in enumerate(classes)
        if name in found
        for path in find_files(found[name], left_out)
    ]
    images = ImageFiles([file.path for file in files], original_dim)
    errors = images.read_all()
    for path, error in errors.items():
        if isinstance(error, NotAnImage):
            left_out[f"not {USABLE}"].append(path)
        else:
            left_out["unusable"].append(str(error).rpartition(";")[0])
    digests = {file: digest(file.path) for file in files if file.path not in errors}
    drop_copies(digests, left_out)
    report_left_out(folder, left_out)
    sides = divide(digests) if "all" in parts else {file: file.split for file in digests}
    splits = {}
    for split in ("test", "train") if "all" in parts else parts:
        numbers = [number for number, file in enumerate(files) if sides.get(file) == split]
        labels = np.array([files[number].label for number in numbers], np.int32)
        for label in set(range(len(classes))).difference(labels):
            raise UserError(
                f"{folder}: the class '{classes[label]}' has no image in the {split} split; add "
                "some, or remove the class."
            )
        splits[split] = Split(images.take(numbers), labels)
    return Dataset(
        **splits,
        name=str(folder),
        class_names=tuple(classes),
        original_dim=original_dim,
        resize_dim=resize_dim,
        mirrored=True,
    )


def find_parts(folder: Path, left_out: dict[str, list]) -> dict[str, Path]:
    """The folders of the splits by name, in SPLITS' order; or the folder itself, as "all".

    Raises:
      UserError: it cannot be read, or has only one of train and test, or one of them twice.
    """
    _, folders, names = next(walk(folder))
    found = {
        split: [folder / name for name in folders if name.lower() in called]
        for split, called in SPLITS.items()
    }
    if not found["train"] and not found["test"]:  # classes may well be called valid and invalid
        return {"all": folder}
    for split, paths in found.items():
        if len(paths) > 1:
            raise UserError(
                f"{folder}: holds the folders {' and '.join(path.name for path in paths)}, which "
                f"both mean the {split} split; remove or rename one."
            )
        if not paths and split != "validation":
            raise UserError(
                f"{folder}: holds no folder called '{split}'; add it, or give "
                f"{(found['train'] or found['test'])[0]} to have a fifth of its images used for "
                "the test."
            )
    parts = {split: paths[0] for split, paths in found.items() if paths}
    left_out[OUTSIDE] += {folder / name for name in folders + names}.difference(parts.values())
    return parts


def find_classes(part: Path, left_out: dict[str, list]) -> dict[str, Path]:
    """The class folders in a folder, by name; a link to a folder that contains it is none."""
    _, folders, names = next(walk(part))
    left_out[OUTSIDE] += [part / name for name in names]
    paths = [part / name for name in folders]
    loops = [path for path in paths if part.resolve().is_relative_to(path.resolve())]
    left_out["links to folders that contain them"] += loops
    return {path.name: path for path in paths if path not in loops}


def check_names(folder: Path, classes: list[str], parts: dict[str, dict[str, Path]]) -> None:
    """Raises UserError for fewer than two classes, and for names that are not in UTF-8."""
    if any(name.encode(errors="replace").decode() != name for name in (str(folder), *classes)):
        raise UserError(
            f"{folder}: it, or a folder in it, has a name that is not in UTF-8; rename it."
        )
    if len(classes) < 2:
        # An archive may have been unpacked into a folder of its own.
        deeper = [f" (if they are in {path}, give that)" for path in parts.get("all", {}).values()]
        raise UserError(
            f"{folder}: holds {'1 class folder' if classes else 'no class folders'}; at least 2 "
            f"are needed, each with the images of one class{''.join(deeper)}."
        )


def find_files(folder: Path, left_out: dict[str, list]) -> Iterator[Path]:
    """All files in a class folder and in the folders below it."""
    for parent, folders, names in walk(folder):
        yield from (parent / name for name in names)
        links = [parent / name for name in folders if (parent / name).is_symlink()]
        left_out["links to folders within class folders"] += links


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """os.walk without clutter, in an order that must not change, as it is that of training.

    Links to folders are not followed: they might lead back, or into another class.

    Raises:
      UserError: a folder cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); fix its permissions, or use "
            "another folder."
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted((name for name in folders if not is_clutter(name)), reverse=True)
        yield Path(parent), folders, sorted(name for name in names if not is_clutter(name))


def digest(path: Path) -> bytes:
    """A hash of a file's size and both ends. Runs depend on it: it divides their images."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HASHED_BYTES)
        file.seek(max(HASHED_BYTES, size - HASHED_BYTES))
        tail = file.read(HASHED_BYTES)
    return hashlib.blake2b(b"%d " % size + head + tail, digest_size=16).digest()


def drop_copies(digests: dict[File, bytes], left_out: dict[str, list]) -> None:
    """Leaves the first one of each image; none if it stands in folders of several classes."""
    same = defaultdict(list)
    for file, its_digest in digests.items():
        same[its_digest].append(file)
    for first, *others in same.values():
        copies = [file for file in others if filecmp.cmp(first.path, file.path, shallow=False)]
        is_clear = all(file.label == first.label for file in copies)
        dropped = copies if is_clear else [first, *copies]
        reason = "copies of other images" if is_clear else "the same image in several classes"
        left_out[reason] += [file.path for file in dropped]
        for file in dropped:
            del digests[file]


def divide(digests: dict[File, bytes]) -> dict[File, str]:
    """The splits of files, train or test: each file's own content decides.

    So the same images are tested on wherever the folder lies and whatever the files are called,
    and no image changes sides when others are added or removed. But each class has at least one
    file on either side if it has two.
    """
    splits = dict.fromkeys(digests, "train")
    for _, group in itertools.groupby(digests, key=lambda file: file.label):
        own = sorted(group, key=lambda file: digests[file])
        below = sum(digests[file] < TEST_BELOW for file in own)
        splits.update(dict.fromkeys(own[: min(max(1, below), max(1, len(own) - 1))], "test"))
    return splits


def report_left_out(folder: Path, left_out: dict[str, list]) -> None:
    """Lists on stderr what is not used, the first few of each kind."""
    for reason, files in left_out.items():
        if files:
            listed = ", ".join(printable(file) for file in sorted(files)[:MAX_LISTED])
            more = f", and {len(files) - MAX_LISTED:,} more" if len(files) > MAX_LISTED else ""
            print(
                f"{printable(folder)}: {len(files):,} left out, {reason}: {listed}{more}",
                file=sys.stderr,
            )
