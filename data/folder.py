"""A folder of your own images, with a folder of image files for each class.

pets/cat/1.jpg pets/dog/2.png ...              about a fifth of each class becomes the test split
pets/train/cat/1.jpg pets/test/cat/2.jpg ...   the folders train and test are the splits, and the
                                               folder val, if there is one, is for validation, or
                                               for the test if there is no other

Splits may also be called seg_train, training_set, val2017, TestImages or the like, and may hold one
more folder of such a name around their class folders.
"""

import hashlib
import itertools
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from base import UserError, printable
from base.files import is_output
from base.program import report
from data import Dataset, Split
from data.images import USABLE, ImageFiles, NotAnImage, is_clutter

SPLITS = ("test", "validation", "train")  # in this order: a copy in several stays in the first
SPLIT_NAME = re.compile(  # one of these words, alone or among others
    r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
    r"(?i:(?P<test>test(?:ing)?)|(?P<validation>val(?:id(?:ation)?)?)|(?P<train>train(?:ing)?))"
    r"(?:(?![a-z])|(?=(?i:set|data|split|folder|image|img)))"
)
HASHED_BYTES = 16_384  # at either end of a file; with its size, enough to tell images apart
OUTSIDE = "outside the class folders"
MAX_LISTED = 5  # files in a message; more would bury it


class File(NamedTuple):
    """An image file: where it is, its class, and its split ("all" where none is given)."""

    path: Path
    label: int
    split: str


def load(folder: Path, original_dim: int, resize_dim: int) -> Dataset:
    """The images in a folder, resized to original_dim; all are read once. Files that cannot be
    used, and copies of others, are left out and listed on stderr.

    Raises:
      UserError: it cannot be read, has fewer than two classes, or a class lacks images.
    """
    left_out: dict[str, list] = defaultdict(list)  # why -> the files, or what is wrong with them
    parts = find_parts(folder, left_out)
    classes = find_classes(folder, parts)
    files = [
        File(path, label, split)
        for split, found in parts.items()
        for label, name in enumerate(classes)
        if name in found
        for path in find_files(found[name], left_out)
    ]
    images = ImageFiles([file.path for file in files], original_dim)
    errors = images.read_all()
    no_images = {path for path, error in errors.items() if isinstance(error, NotAnImage)}
    left_out[f"not {USABLE}"] += no_images
    left_out["unusable"] += [
        str(errors[path]).rpartition(";")[0] for path in errors.keys() - no_images
    ]
    digests = {file: digest(file.path) for file in files if file.path not in errors}
    drop_copies(digests, left_out)
    report_left_out(folder, left_out)
    sides = divide(digests) if "all" in parts else {file: file.split for file in digests}
    # What is trained on, and in which order, wherever it lies.
    identity = b"".join(b"%d %b" % (file.label, value) for file, value in digests.items())
    splits: dict[str, Any] = {}
    for split in sorted({"test", "train", *parts} - {"all"}):
        numbers = [number for number, file in enumerate(files) if sides.get(file) == split]
        labels = [files[number].label for number in numbers]
        for label in set(range(len(classes))).difference(labels):
            raise UserError(
                f"{folder}: the class '{[*classes.values()][label]}' has no image in the {split} "
                "split; add some, or remove the class."
            )
        splits[split] = Split(images.take(numbers), np.array(labels, np.int32))
    return Dataset(
        **splits,
        name=str(folder),
        class_names=tuple(classes.values()),
        original_dim=original_dim,
        resize_dim=resize_dim,
        mirrored=True,
        digest=hashlib.blake2b(identity, digest_size=16).hexdigest(),
    )


def report_left_out(folder: Path, left_out: dict[str, list]) -> None:
    """Prints a line for each reason, with the first few files."""
    for why, what in left_out.items():
        if what:
            listed = ", ".join(map(printable, sorted(what)[:MAX_LISTED]))
            more = f", and {len(what) - MAX_LISTED:,} more" if len(what) > MAX_LISTED else ""
            report(f"{printable(folder)}: {len(what):,} left out, {why}: {listed}{more}")


def find_classes(folder: Path, parts: dict[str, dict[str, Path]]) -> dict[str, str]:
    """The names of the classes in their order, by those that `find_folders` gives.

    Raises:
      UserError: there are fewer than two, or one is not in UTF-8.
    """
    names = {name: path.name for found in parts.values() for name, path in found.items()}
    if any(name.encode(errors="replace").decode() != name for name in (str(folder), *names)):
        raise UserError(
            f"{folder}: it, or a folder in it, has a name that is not in UTF-8; rename it."
        )
    if len(names) < 2:
        # An archive may have been unpacked into a folder of its own.
        deeper = [f" (if they are in {path}, give that)" for path in parts.get("all", {}).values()]
        raise UserError(
            f"{folder}: holds {'1 class folder' if names else 'no class folders'}; at least 2 "
            f"are needed, each with the images of one class{''.join(deeper)}."
        )
    return dict(sorted(names.items(), key=lambda item: item[1]))


def find_parts(folder: Path, left_out: dict[str, list]) -> dict[str, dict[str, Path]]:
    """The class folders of each split by the names of both, in SPLITS' order; or all as "all".

    Classes may be called valid and invalid, or train and bus. So folders are splits only if there
    are no others, or if those for training and for the test have class folders in common.

    Raises:
      UserError: it cannot be read, has a split twice, or leaves open what it holds.
    """
    folders = find_folders(folder, left_out)
    found = {split: called(split, folders) for split in SPLITS}
    inner = {
        split: {name for path in paths for name in find_split(path, defaultdict(list))}
        for split, paths in found.items()
    }
    is_whole = bool(found["train"] and (found["test"] or found["validation"]))
    are_alone = all(map(SPLIT_NAME.search, folders))
    if not is_whole or not (are_alone or inner["train"] & (inner["test"] or inner["validation"])):
        plain = [*filter(SPLIT_NAME.fullmatch, (p.name for p in found["train"] + found["test"]))]
        if plain and (is_whole or are_alone or any(inner.values())):
            raise UserError(
                f"{folder}: '{plain[0]}' in it may be a split or a class; if it is a split, keep "
                f"only train and test folders there, or give {folder / plain[0]} to have a fifth "
                "of its images used for the test; if it is a class, rename it."
            )
        return {"all": folders}
    for split, paths in found.items():
        if len(paths) > 1:
            raise UserError(
                f"{folder}: holds the folders {' and '.join(path.name for path in paths)}, which "
                f"both mean the {split} split; remove or rename one."
            )
    if inner["validation"] and not inner["test"]:
        found |= {"test": found["validation"], "validation": []}
        report(
            f"{printable(found['test'][0])}: is used for the test, as no test folder has classes"
        )
    left_out[OUTSIDE] += {*folders.values()}.difference(*found.values())
    return {split: find_split(paths[0], left_out) for split, paths in found.items() if paths}


def called(split: str, folders: dict[str, Path]) -> list[Path]:
    """The folders for a split; if one is called by such a word alone, only that."""
    meant = [
        name for name in folders if (word := SPLIT_NAME.search(name)) and word.lastgroup == split
    ]
    return [folders[name] for name in [*filter(SPLIT_NAME.fullmatch, meant)] or meant]


def find_split(folder: Path, left_out: dict[str, list]) -> dict[str, Path]:
    """The class folders of a split, which may be in one more folder: seg_train/seg_train."""
    folders = find_folders(folder, left_out)
    is_within = len(folders) == 1 and any(map(SPLIT_NAME.search, folders))
    return find_folders(min(folders.values()), left_out) if is_within else folders


def find_folders(folder: Path, left_out: dict[str, list]) -> dict[str, Path]:
    """The folders in a folder, by name; a link to a folder that contains it is none. The same name
    may have been written in several ways: as on a Mac, or with a blank at its end.

    Raises:
      UserError: it cannot be read, or two have the same name.
    """
    _, names, files = next(walk(folder))
    loops = [name for name in names if folder.resolve().is_relative_to((folder / name).resolve())]
    left_out["links to folders that contain them"] += [folder / name for name in loops]
    left_out[OUTSIDE] += [folder / name for name in files]
    folders = {
        unicodedata.normalize("NFC", name).strip(): folder / name
        for name in names
        if name not in loops
    }
    if others := {*names}.difference(loops, (path.name for path in folders.values())):
        raise UserError(
            f"{folder}: holds two folders called '{others.pop()}', of which one has a blank at an "
            "end or its accents in another form; rename or remove one."
        )
    return folders


def find_files(folder: Path, left_out: dict[str, list]) -> Iterator[Path]:
    """All files in a class folder and in the folders below it."""
    for parent, folders, names in walk(folder):
        yield from (parent / name for name in names)
        left_out["links to folders within class folders"] += [
            parent / name for name in folders if (parent / name).is_symlink()
        ]


def walk(folder: Path, follows: bool = False) -> Iterator[tuple[Path, list[str], list[str]]]:
    """os.walk without clutter and this project's output, in an order that must not change, as it is
    that of training. Links to folders are followed only if asked for, as they might lead into
    another class; then no folder is visited twice.

    Raises:
      UserError: a folder cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); fix its permissions, or use "
            "another folder."
        ) from error

    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=follows):
        new = {
            os.path.realpath(path) if follows else str(path): path.name
            for path in (Path(parent, name) for name in sorted(folders, reverse=True))
            if not is_clutter(path.name) and not is_output(path)
        }
        folders[:] = [name for real, name in new.items() if real not in seen]
        seen.update(new)
        yield Path(parent), folders, sorted(name for name in names if not is_clutter(name))


def digest(path: Path) -> bytes:
    """A hash of a file's size and both ends. Runs depend on it: it divides their images."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HASHED_BYTES)
        file.seek(max(HASHED_BYTES, size - HASHED_BYTES))
        return hashlib.blake2b(b"%d " % size + head + file.read(), digest_size=16).digest()


def drop_copies(digests: dict[File, bytes], left_out: dict[str, list]) -> None:
    """Leaves the first one of each image; none if it stands in folders of several classes."""
    in_order = sorted(digests, key=lambda file: digests[file])
    for _, (first, *others) in itertools.groupby(in_order, key=lambda file: digests[file]):
        copies = [file for file in others if file.path.read_bytes() == first.path.read_bytes()]
        is_clear = all(file.label == first.label for file in copies)
        reason = "copies of other images" if is_clear else "the same image in several classes"
        for file in copies if is_clear else [first, *copies]:
            left_out[reason].append(file.path)
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
        below = sum(digests[file][0] < 51 for file in own)  # a fifth of 256
        splits.update(dict.fromkeys(own[: np.clip(below, 1, max(1, len(own) - 1))], "test"))
    return splits
