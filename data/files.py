"""Opening files that others have made."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file for reading; a pipe or a device, which might never end, is refused.

    Raises:
      OSError: it is not a regular file, or cannot be opened.
    """
    check_regular(path, os.stat(path))  # opening a device could already do something
    with open(path, "rb", opener=open_without_waiting) as file:
        check_regular(path, os.fstat(file.fileno()))  # it may have been replaced meanwhile
        yield file


def open_without_waiting(path: str, flags: int) -> int:
    """os.open for a file that may have become a pipe, which must not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # which Windows lacks


def check_regular(path: Path, status: os.stat_result) -> None:
    """Raises OSError if a path's status is not that of a regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
