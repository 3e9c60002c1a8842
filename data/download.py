"""Published files -> disk: checked, and either all of a file or nothing."""

import hashlib
import http.client
import tempfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from base import UserError, reason

DEFAULT_DIR = Path("data/downloads")


class PublishedFile(NamedTuple):
    """A file on the web: its address, and its hash in hexadecimal, None if what is inside has one
    of its own."""

    url: str
    sha256: str | None

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


def fetch(file: PublishedFile, folder: Path, alternative: str) -> Path:
    """The path of a verified file in a folder, which is created, and the file downloaded, if need
    be; alternative is what else the user can do, as the end of a sentence.

    Raises:
      UserError: the network fails or sends something else, what is there is another file, or the
        folder cannot be written.
    """
    path = folder / file.name
    try:
        if not path.is_file():
            download(file, path)
        elif not is_verified(file, path):
            raise UserError(
                f"{path}: is not the file at {file.url}, or not all of it; delete it, and it will "
                "be downloaded, or fetch it again."
            )
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(
            f"{file.url}: cannot be downloaded to {folder} "
            f"({reason(getattr(error, 'reason', error))}); {alternative}."
        ) from error
    return path


def is_verified(file: PublishedFile, path: Path) -> bool:
    """Whether a file on disk has the published file's hash, if that has one."""
    with path.open("rb") as stored:
        return file.sha256 in (None, hashlib.file_digest(stored, "sha256").hexdigest())


def download(file: PublishedFile, path: Path) -> None:
    """Downloads a file to a path, all of it or nothing, with a progress bar.

    Raises:
      OSError, http.client.HTTPException: the network or the disk fails.
      ValueError: it has not the published hash, or the size that the server said.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as work:
        new = Path(work, file.name)
        # After 30 seconds without a byte, the network counts as gone.
        with urllib.request.urlopen(file.url, timeout=30) as response, new.open("wb") as stored:
            size = int(response.headers["Content-Length"] or 0)
            with tqdm(desc=file.name, total=size, unit="B", unit_scale=True) as bar:
                while stored.tell() <= size and (chunk := response.read(1 << 18)):
                    bar.update(stored.write(chunk))
        if new.stat().st_size != size:
            raise ValueError(f"received {new.stat().st_size:,} bytes instead of {size:,}")
        if not is_verified(file, new):
            raise ValueError(f"its SHA-256 is not {file.sha256}")
        new.replace(path)
