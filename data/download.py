"""Published files -> disk: checked, and either all of a file or nothing."""

import hashlib
import http.client
import os
import tempfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from base import UserError, reason

DEFAULT_DIR = Path("data/downloads")


class PublishedFile(NamedTuple):
    """A file on the web.

    Attributes:
      url: its address, which ends in its name.
      sha256: its hash, hexadecimal; None if what is inside has its own.
    """

    url: str
    sha256: str | None

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


def fetch(file: PublishedFile, folder: Path, alternative: str) -> Path:
    """A published file in a folder, where it is downloaded unless it is there already.

    Args:
      folder: created if missing.
      alternative: what else the user can do, as the end of a sentence.

    Returns:
      The path of the verified file, folder/file.name.

    Raises:
      UserError: the network fails or sends something else, what is there is another file, or the
        folder cannot be written.
    """
    path = folder / file.name
    try:
        if path.is_file():
            if not is_verified(file, path):
                raise UserError(
                    f"{path}: is not the file at {file.url}, or not all of it; delete it, and it "
                    "will be downloaded, or fetch it again."
                )
            return path
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as work:
            new = Path(work, file.name)
            download(file, new)
            if not is_verified(file, new):
                raise ValueError(f"its SHA-256 is not {file.sha256}")
            os.replace(new, path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(
            f"{file.url}: cannot be downloaded to {folder} "
            f"({reason(getattr(error, 'reason', error))}); {alternative}."
        ) from error
    return path


def is_verified(file: PublishedFile, path: Path) -> bool:
    """Whether a file on disk has the published file's hash, if that has one."""
    with open(path, "rb") as stored:
        return file.sha256 in (None, hashlib.file_digest(stored, "sha256").hexdigest())


def download(file: PublishedFile, path: Path) -> None:
    """Writes the bytes behind a URL to a path, with a progress bar.

    Raises:
      OSError, http.client.HTTPException: the network or the disk fails.
      ValueError: it has not the size that the server said.
    """
    # After 30 seconds without a byte, the network counts as gone.
    with urllib.request.urlopen(file.url, timeout=30) as response:
        size = int(response.headers["Content-Length"] or 0)
        with (
            tqdm(desc=file.name, total=size, unit="B", unit_scale=True) as bar,
            open(path, "wb") as destination,
        ):
            while destination.tell() <= size and (chunk := response.read(1 << 18)):
                bar.update(destination.write(chunk))
    if path.stat().st_size != size:
        raise ValueError(f"received {path.stat().st_size:,} bytes instead of {size:,}")
