"""Published files -> disk: one download for all processes, checked, all of it or nothing.

Not a data set itself: what those with files on the web share.
"""

import contextlib
import hashlib
import http.client
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock
from tqdm import tqdm

from data import DataError, printable
from data.files import open_regular

DEFAULT_DIR = Path("data/downloads")
TIMEOUT_SECONDS = 30  # without a byte; then the network counts as gone
CHUNK_BYTES = 1 << 18


class PublishedFile(NamedTuple):
    """A file on the web.

    Attributes:
      url: its address, which ends in its name.
      size: bytes; None where the publisher does not give it.
      hashes: algorithm -> hexadecimal digest, all of which must match; empty if what is inside has
        its own.
    """

    url: str
    size: int | None
    hashes: dict[str, str]

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


@contextlib.contextmanager
def work_dir(folder: Path, name: str) -> Iterator[Path]:
    """An empty folder to prepare files in, beside their destination, removed afterwards.

    Only one process at a time holds it; look for the destination again once inside, as another
    process may have been faster.

    Args:
      folder: created if missing, and removed if the preparation fails.
      name: of the lock and of the work folder.

    Raises:
      OSError: the folder cannot be written.
    """
    path, lock = folder / f".{name}-download", folder / f".{name}.lock"
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock):
            try:
                shutil.rmtree(path, ignore_errors=True)  # left by a process that was killed
                path.mkdir()
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)
                folder.rmdir()
        raise


def download(file: PublishedFile, path: Path, alternative: str) -> None:
    """Fetches a file, with a progress bar on the terminal, and checks its size and hashes.

    Args:
      path: where to put it; nothing may be there yet.
      alternative: what else the user can do, as the end of a sentence.

    Raises:
      DataError: the network fails or sends something else.
      OSError: the file cannot be written.
    """
    digests = {algorithm: hashlib.new(algorithm) for algorithm in file.hashes}
    with open(path, "xb") as destination:
        for chunk in fetch(file, alternative):
            destination.write(chunk)
            for digest in digests.values():
                digest.update(chunk)
    for algorithm, digest in digests.items():
        if digest.hexdigest() != file.hashes[algorithm]:
            raise DataError(
                f"{file.url}: the download has the {algorithm} {digest.hexdigest()} instead of "
                f"{file.hashes[algorithm]}, so it was discarded; try again on another network, or "
                f"{alternative}."
            )


def verify(file: PublishedFile, path: Path) -> None:
    """Checks that a file that the user has fetched is the published one.

    Raises:
      DataError: it cannot be read, or has another hash.
    """
    try:
        with open_regular(path) as fetched:
            for algorithm, expected in file.hashes.items():
                fetched.seek(0)
                found = hashlib.file_digest(fetched, algorithm).hexdigest()
                if found != expected:
                    raise DataError(
                        f"{printable(path)}: is not the file at {file.url}, or not all of it (its "
                        f"{algorithm} is {found}, not {expected}); delete it, and it will be "
                        "downloaded, or fetch it again."
                    )
    except OSError as error:
        raise DataError(
            f"{printable(path)}: cannot be read ({error.strerror}); fix or delete it."
        ) from error


def fetch(file: PublishedFile, alternative: str) -> Iterator[bytes]:
    """The bytes behind a URL, in chunks; raises DataError as `download` does."""
    received = 0
    try:
        with urllib.request.urlopen(file.url, timeout=TIMEOUT_SECONDS) as response:
            size = file.size or int(response.headers["Content-Length"] or 0)
            with tqdm(desc=file.name, total=size, unit="B", unit_scale=True) as bar:
                while received <= size and (chunk := response.read(CHUNK_BYTES)):
                    received += len(chunk)
                    bar.update(len(chunk))
                    yield chunk
        if received == size:
            return
        reason = f"received {received:,} bytes instead of {size:,}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
    raise DataError(f"{file.url}: cannot be downloaded ({printable(reason)}); {alternative}.")
