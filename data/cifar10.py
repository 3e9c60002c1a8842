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
from base.files import read_bytes
from data import Dataset, Split
from data.download import DEFAULT_DIR, PublishedFile, fetch
from data.images import is_clutter

ARCHIVE = PublishedFile(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    # The official page gives only an MD5; several independent public projects pin this value.
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)]
TEST_FILES = ["test_batch.bin"]

CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
RECORD_BYTES = 1 + 3 * 32 * 32
RECORDS_PER_FILE = 10_000


def load(data_dir: Path | None = None, may_download: bool = True) -> Dataset:
    """50,000 train and 10,000 test images of 32 x 32.

    Args:
      data_dir: a folder with the .bin files, or with a folder cifar-10-batches-bin of them; the
        official archive, or a folder with it, where it is verified and unpacked; or a new or empty
        folder for the download. None for data/downloads.
      may_download: whether to download or unpack what is missing.

    Raises:
      UserError: a file is missing, unreadable or damaged, or the download failed.
    """
    folder = find_batches(data_dir, may_download)
    return Dataset(
        name="cifar10",
        train=read_split([folder / name for name in TRAIN_FILES]),
        test=read_split([folder / name for name in TEST_FILES]),
        class_names=CLASS_NAMES,
        original_dim=32,
        resize_dim=24,
        mirrored=True,
    )


def find_batches(data_dir: Path | None, may_download: bool) -> Path:
    """The folder of the batch files, unpacked or downloaded if need be; UserError if it cannot."""
    folder = data_dir or DEFAULT_DIR
    folder = folder.parent if folder.name == ARCHIVE.name else folder
    found = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    if found.intersection(TRAIN_FILES + TEST_FILES):
        return folder
    if FOLDER not in found:
        if not may_download or not (
            data_dir is None or ARCHIVE.name in found or all(map(is_clutter, found))
        ):
            raise UserError(
                f"{folder}: holds no CIFAR-10 (binary version); give the folder that does, or an "
                "empty one, into which training downloads it; if these are images of your own, "
                "choose their folder as the data set instead of cifar10."
            )
        install(folder)
    return folder / FOLDER


def install(folder: Path) -> None:
    """Unpacks the archive that is in a folder, or a new download: all of it or nothing.

    Raises:
      UserError: no network, a damaged archive, or a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=folder) as work:
            archive = fetch(
                ARCHIVE,
                folder if (folder / ARCHIVE.name).is_file() else Path(work),
                f"fetch that file by hand and put it into {folder}, or use the data set digits, "
                "which needs no download",
            )
            with tarfile.open(archive) as tar:
                # Nothing outside the folder; before Python 3.11.4, the hash has to be enough.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(work)
            Path(work, FOLDER).rename(folder / FOLDER)
    except (OSError, tarfile.TarError) as error:
        if not (folder / FOLDER).exists():  # no other process was faster
            raise UserError(
                f"{folder}: CIFAR-10 cannot be unpacked there ({reason(error)}); free some space, "
                "fix the folder or give another one, or use the data set digits."
            ) from error


def read_split(paths: list[Path]) -> Split:
    """The images of batch files; raises UserError as `read_batch` does."""
    records = np.concatenate([read_batch(path) for path in paths])
    return Split(np.ascontiguousarray(records[:, 1:]), records[:, 0].astype(np.int32))


def read_batch(path: Path) -> np.ndarray:
    """The records of one batch file, uint8 [10000, 3073].

    Raises:
      UserError: it cannot be read, is not the size of 10,000 records, or has a label above 9.
    """
    size = RECORDS_PER_FILE * RECORD_BYTES
    advice = f"replace it with the one in {ARCHIVE.url}, or give another folder."
    try:
        content = np.frombuffer(read_bytes(path, size), np.uint8)
        records = content.reshape(RECORDS_PER_FILE, RECORD_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as the {size:,} bytes of a CIFAR-10 batch ({reason(error)}); "
            f"{advice}"
        ) from error
    if records[:, 0].max() >= len(CLASS_NAMES):
        raise UserError(
            f"{path}: record {records[:, 0].argmax():,} (counted from 0) has the label "
            f"{records[:, 0].max()}, but CIFAR-10's are 0 to {len(CLASS_NAMES) - 1}; {advice}"
        )
    return records
