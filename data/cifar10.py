"""CIFAR-10 from its official binary batches, downloaded once and checked.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009). The layout of
the files, "binary version", is described at https://www.cs.toronto.edu/~kriz/cifar.html: 10,000
records a file, each one label byte and 3,072 channel-major pixel bytes.
"""

import shutil
import tarfile
import zlib
from pathlib import Path

import numpy as np

from data import DataError, Dataset, Split
from data.download import DEFAULT_DIR, PublishedFile, download, work_dir

ARCHIVE = PublishedFile(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,
    hashes={
        "md5": "c32a1d4ab5d03f1284b67883e8d87530",  # as the official page gives it
        # Not on the official page, which gives only MD5; the value that several independent public
        # projects pin for this URL.
        "sha256": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
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
    """All 60,000 images; downloads them when data_dir does not hold them yet.

    Args:
      data_dir: folder with the .bin files, or with a folder cifar-10-batches-bin that has them;
        None for data/downloads.
      may_download: whether to download files that are not there.

    Returns:
      50,000 train and 10,000 test images of 32 x 32.

    Raises:
      DataError: a file is missing, unreadable or damaged, or the download failed.
    """
    folder = find_batches(data_dir or DEFAULT_DIR, may_download)
    return Dataset(
        train=read_batches([folder / name for name in TRAIN_FILES]),
        test=read_batches([folder / name for name in TEST_FILES]),
        class_names=CLASS_NAMES,
        original_dim=DIM,
        resize_dim=24,
        mirrored=True,
    )


def find_batches(data_dir: Path, may_download: bool = True) -> Path:
    """The folder that holds the batch files, after a download where neither place has any."""
    try:
        for folder in (data_dir, data_dir / FOLDER):
            if any((folder / name).exists() for name in TRAIN_FILES + TEST_FILES):
                return folder
    except OSError as error:
        raise DataError(
            f"{data_dir}: cannot be searched for CIFAR-10 ({error.strerror}); "
            "mend its permissions or give another --data_dir."
        ) from error
    if not may_download:
        raise DataError(f"{data_dir}: holds no CIFAR-10; give the --data_dir that does.")
    install(data_dir)
    return data_dir / FOLDER


def read_batches(paths: list[Path]) -> Split:
    """Reads batch files whole and checks every record's label.

    Raises:
      DataError: a file cannot be read, has another size than 10,000 records, or a label over 9.
    """
    content = np.empty([len(paths), RECORDS_PER_FILE, RECORD_BYTES], np.uint8)
    for path, records in zip(paths, content, strict=True):
        read_batch(path, records)
    records = content.reshape(-1, RECORD_BYTES)
    return Split(
        records=np.ascontiguousarray(records[:, 1:]), labels=records[:, 0].astype(np.int32)
    )


def read_batch(path: Path, records: np.ndarray) -> None:
    """Reads one batch file into records, uint8 [10000, 3073]; raises DataError as read_batches."""
    mend = f"replace it with the one in {ARCHIVE.url}, or give another --data_dir."
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            if size != records.nbytes or file.readinto(records.data) != size:
                raise DataError(
                    f"{path}: {size:,} bytes, where a CIFAR-10 batch has {records.nbytes:,} "
                    f"({RECORDS_PER_FILE:,} records of {RECORD_BYTES:,}); {mend}"
                )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {mend}") from error
    wrong = np.flatnonzero(records[:, 0] >= len(CLASS_NAMES))
    if wrong.size:
        raise DataError(
            f"{path}: record {wrong[0]:,} (counted from 0) has the label {records[wrong[0], 0]}, "
            f"where CIFAR-10 has 0 to {len(CLASS_NAMES) - 1}; {mend}"
        )


def install(data_dir: Path) -> None:
    """Downloads, verifies and unpacks CIFAR-10 into data_dir, all of it or nothing.

    Raises:
      DataError: no network, a damaged download, or a folder that cannot be written.
    """
    try:
        with work_dir(data_dir, "cifar10") as work:
            if (data_dir / FOLDER).exists():  # another process was faster
                return
            download(
                ARCHIVE,
                work / ARCHIVE.name,
                f"fetch that file by hand and unpack it in {data_dir}, or use --dataset digits, "
                "which needs no download",
            )
            (work / FOLDER).mkdir()
            unpack(work / ARCHIVE.name, work / FOLDER)
            (work / FOLDER).rename(data_dir / FOLDER)
    except OSError as error:
        raise DataError(
            f"{error.filename or data_dir}: CIFAR-10 cannot be stored there ({error.strerror}); "
            "free some space or fix the disk, give another --data_dir, or use --dataset digits."
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Copies the batch files out of the archive, by their known names; its own paths stay unused.

    Raises:
      DataError: the archive lacks a batch file, or has something else in its place.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in TRAIN_FILES + TEST_FILES:
                member = tar.extractfile(f"{FOLDER}/{name}")
                if member is None:
                    raise KeyError(f"{name} is no file in it")
                with open(folder / name, "xb") as file:
                    shutil.copyfileobj(member, file)
    except (KeyError, tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(
            f"{ARCHIVE.url}: the archive cannot be unpacked ({error}); nothing was kept."
        ) from error
