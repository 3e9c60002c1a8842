"""CIFAR-10 from its official binary files, downloaded once and verified.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009). The layout of
the files, "binary version", is described at https://www.cs.toronto.edu/~kriz/cifar.html: each has
10,000 records of one label byte and 3,072 channel-major pixel bytes.
"""

import os
import shutil
import tarfile
import zlib
from pathlib import Path

import numpy as np

from data import DataError, Dataset, Split, printable
from data.download import DEFAULT_DIR, PublishedFile, download, verify, work_dir
from data.files import open_regular

ARCHIVE = PublishedFile(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,
    hashes={
        "md5": "c32a1d4ab5d03f1284b67883e8d87530",  # from the official page
        # Not on the official page, which gives only the MD5: the value that several independent
        # public projects pin for this URL.
        "sha256": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
)
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)]
TEST_FILES = ["test_batch.bin"]
# Other versions, which are not read here, and the names that tell them.
OTHER_VERSIONS = {
    "the Python version of CIFAR-10": (
        *("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1", "batches.meta"),
    ),
    "the Matlab version of CIFAR-10": (
        *("cifar-10-batches-mat", "cifar-10-matlab.tar.gz", "data_batch_1.mat"),
    ),
    "CIFAR-100": ("fine_label_names.txt",),
}

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
        archive. None for data/downloads.
      may_download: whether to download or unpack what is missing.

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
    """The folder of the batch files; unpacks or downloads them if there are none yet.

    Raises:
      DataError: there are none, and none can be had.
    """
    shown = printable(data_dir)
    try:
        folder, archive = data_dir, data_dir / ARCHIVE.name
        if data_dir.is_file():
            folder, archive = data_dir.parent, data_dir
        for batches in (folder, folder / FOLDER):
            if has_batches(batches):
                return batches
        is_packed = archive.exists()
        version = version_at(data_dir)
    except OSError as error:
        raise DataError(
            f"{shown}: cannot be searched for CIFAR-10 ({error.strerror}); fix its permissions or "
            "give another folder.",
            "data_dir",
        ) from error
    if version not in (None, "CIFAR-10"):
        raise DataError(
            f"{shown}: is or holds {version}, but the binary version of CIFAR-10 is needed; give "
            "an empty folder, and it will be downloaded there.",
            "data_dir",
        )
    if archive == data_dir and data_dir.suffix not in (".gz", ".tgz"):
        raise DataError(
            f"{shown}: is neither a folder nor the archive of CIFAR-10; give one of them.",
            "data_dir",
        )
    if not may_download:
        raise DataError(f"{shown}: holds no CIFAR-10; give the folder that does.", "data_dir")
    install(folder, archive if is_packed else None)
    return folder / FOLDER


def has_batches(folder: Path) -> bool:
    """Whether a folder holds at least one of the batch files."""
    return any((folder / name).exists() for name in TRAIN_FILES + TEST_FILES)


def version_at(path: Path) -> str | None:
    """Which version of CIFAR a path is, or a folder holds: "CIFAR-10" is the one read here."""
    try:
        is_binary = path.name == ARCHIVE.name or (path / ARCHIVE.name).exists()
        if is_binary or has_batches(path) or has_batches(path / FOLDER):
            return "CIFAR-10"
        for version, names in OTHER_VERSIONS.items():
            if path.name in names or any((path / name).exists() for name in names):
                return version
    except OSError:  # it cannot be searched
        pass
    return None


def read_batches(paths: list[Path]) -> Split:
    """Reads batch files and checks every record's label.

    Raises:
      DataError: a file cannot be read, is not the size of 10,000 records, or has a label above 9.
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
    name = printable(path)
    advice = f"replace it with the one in {ARCHIVE.url}, or give another folder."
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != records.nbytes or file.readinto(records.data) != size:
                raise DataError(
                    f"{name}: {size:,} bytes, where a CIFAR-10 batch has {records.nbytes:,} "
                    f"({RECORDS_PER_FILE:,} records of {RECORD_BYTES:,}); {advice}"
                )
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}); {advice}") from error
    wrong = np.flatnonzero(records[:, 0] >= len(CLASS_NAMES))
    if wrong.size:
        raise DataError(
            f"{name}: record {wrong[0]:,} (counted from 0) has the label {records[wrong[0], 0]}, "
            f"but CIFAR-10's labels are 0 to {len(CLASS_NAMES) - 1}; {advice}"
        )


def install(folder: Path, archive: Path | None = None) -> None:
    """Verifies and unpacks CIFAR-10 into a folder, all of it or nothing.

    Args:
      folder: created if missing.
      archive: the official archive, if the user has it already; it stays. None to download it.

    Raises:
      DataError: no network, a damaged archive, or a folder that cannot be written.
    """
    alternative = (
        f"fetch that file by hand and put it into {printable(folder)}, or use the data set digits, "
        "which needs no download"
    )
    try:
        with work_dir(folder, "cifar10") as work:
            if (folder / FOLDER).exists():  # another process was faster
                return
            if archive is None:
                archive = work / ARCHIVE.name
                download(ARCHIVE, archive, alternative)
            else:
                verify(ARCHIVE, archive)
            (work / FOLDER).mkdir()
            unpack(archive, work / FOLDER)
            (work / FOLDER).rename(folder / FOLDER)
    except OSError as error:
        raise DataError(
            f"{printable(error.filename or folder)}: CIFAR-10 cannot be stored there "
            f"({error.strerror}); free some space or fix the disk, give another folder, or use the "
            "data set digits.",
            "data_dir",
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Copies the batch files out of the archive by their known names; its own paths are not used.

    Raises:
      DataError: the archive lacks a batch file, or has something else under its name.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in TRAIN_FILES + TEST_FILES:
                member = tar.extractfile(f"{FOLDER}/{name}")
                if member is None:
                    raise KeyError(f"{name} is not a file in it")
                with open(folder / name, "xb") as file:
                    shutil.copyfileobj(member, file)
    except (KeyError, tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(
            f"{ARCHIVE.url}: the archive cannot be unpacked ({printable(error)}); nothing was kept."
        ) from error
