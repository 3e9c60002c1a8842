"""CIFAR-10 from its official binary files, downloaded once and verified.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009). The layout of
the files, "binary version", is described at https://www.cs.toronto.edu/~kriz/cifar.html: each has
10,000 records of one label byte and 3,072 channel-major pixel bytes.
"""

import os
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from base import UserError, reason
from base.files import open_regular
from data import Dataset, Split
from data.download import DEFAULT_DIR, PublishedFile, fetch
from data.images import is_clutter

ARCHIVE = PublishedFile(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    # Not on the official page, which gives only an MD5: the value that several independent public
    # projects pin for this URL.
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)]
TEST_FILES = ["test_batch.bin"]

CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
DIM = 32
RECORD_BYTES = 1 + 3 * DIM * DIM
RECORDS_PER_FILE = 10_000


def load(data_dir: Path | None = None, may_download: bool = True) -> Dataset:
    """All 60,000 images; downloads them if data_dir does not hold them yet.

    Args:
      data_dir: folder with the .bin files, with a folder cifar-10-batches-bin that has them, or
        with the official archive, which is then verified and unpacked there; or the path of that
        archive; or a new or empty folder for the download. None for data/downloads.
      may_download: whether to download or unpack what is missing.

    Returns:
      50,000 train and 10,000 test images of 32 x 32.

    Raises:
      UserError: a file is missing, unreadable or damaged, or the download failed.
    """
    folder = find_batches(data_dir, may_download)
    return Dataset(
        name="cifar10",
        train=read_batches([folder / name for name in TRAIN_FILES]),
        test=read_batches([folder / name for name in TEST_FILES]),
        class_names=CLASS_NAMES,
        original_dim=DIM,
        resize_dim=24,
        mirrored=True,
    )


def is_at(path: Path) -> bool:
    """Whether a path is CIFAR-10's archive, or a folder that holds it or its batch files."""
    return path.name == ARCHIVE.name or any(
        os.path.exists(path / name) for name in (ARCHIVE.name, FOLDER, *TRAIN_FILES, *TEST_FILES)
    )


def find_batches(data_dir: Path | None, may_download: bool) -> Path:
    """The folder of the batch files; unpacks or downloads them if there are none yet.

    Raises:
      UserError: there are none, and none can be had.
    """
    folder = data_dir or DEFAULT_DIR
    if folder.name == ARCHIVE.name:
        folder = folder.parent
    found = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    if found.intersection(TRAIN_FILES + TEST_FILES):
        return folder
    if FOLDER not in found:
        is_free = data_dir is None or ARCHIVE.name in found or all(map(is_clutter, found))
        if not (is_free and may_download):
            raise UserError(
                f"{folder}: holds no CIFAR-10 (binary version); give the folder that does, or an "
                "empty one, into which training downloads it; if these are images of your own, "
                "choose their folder as the data set instead of cifar10."
            )
        install(folder)
    return folder / FOLDER


def read_batches(paths: list[Path]) -> Split:
    """Reads batch files and checks every record's label.

    Raises:
      UserError: a file cannot be read, is not the size of 10,000 records, or has a label above 9.
    """
    records = np.empty([len(paths) * RECORDS_PER_FILE, RECORD_BYTES], np.uint8)
    for path, batch in zip(paths, np.split(records, len(paths)), strict=True):
        read_batch(path, batch)
    return Split(
        records=np.ascontiguousarray(records[:, 1:]), labels=records[:, 0].astype(np.int32)
    )


def read_batch(path: Path, records: np.ndarray) -> None:
    """Reads one batch file into records, uint8 [10000, 3073]; raises UserError as read_batches."""
    advice = f"replace it with the one in {ARCHIVE.url}, or give another folder."
    try:
        with open_regular(path) as file:
            content = file.read(records.nbytes + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    if len(content) != records.nbytes:
        raise UserError(
            f"{path}: has not the {records.nbytes:,} bytes of a CIFAR-10 batch "
            f"({len(records):,} records of {RECORD_BYTES:,}); {advice}"
        )
    records[:] = np.frombuffer(content, np.uint8).reshape(records.shape)
    wrong = np.flatnonzero(records[:, 0] >= len(CLASS_NAMES))
    if wrong.size:
        raise UserError(
            f"{path}: record {wrong[0]:,} (counted from 0) has the label {records[wrong[0], 0]}, "
            f"but CIFAR-10's labels are 0 to {len(CLASS_NAMES) - 1}; {advice}"
        )


def install(folder: Path) -> None:
    """Unpacks CIFAR-10 into a folder, all of it or nothing.

    An archive that is there already is used, and stays; otherwise it is downloaded.

    Raises:
      UserError: no network, a damaged archive, or a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=folder) as work:
            is_there = (folder / ARCHIVE.name).is_file()
            archive = fetch(
                ARCHIVE,
                folder if is_there else Path(work),
                f"fetch that file by hand and put it into {folder}, or use the data set digits, "
                "which needs no download",
            )
            unpack(archive, Path(work, FOLDER))
            Path(work, FOLDER).rename(folder / FOLDER)
    except (OSError, KeyError, tarfile.TarError) as error:
        if (folder / FOLDER).exists():  # another process was faster
            return
        raise UserError(
            f"{folder}: CIFAR-10 cannot be unpacked there ({reason(error)}); free some space, fix "
            "the folder or give another one, or use the data set digits."
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Copies the batch files out of the archive by their known names; its own paths are not used.

    Raises:
      OSError, KeyError, tarfile.TarError: it lacks one of them, or has something else under its
        name.
    """
    folder.mkdir()
    with tarfile.open(archive, "r:gz") as tar:
        for name in TRAIN_FILES + TEST_FILES:
            member = tar.extractfile(f"{FOLDER}/{name}")
            if member is None:
                raise KeyError(f"{name} is not a file in it")
            (folder / name).write_bytes(member.read())
