"""Reading files that others have made, and writing files that are either complete or not there."""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from base import UserError

MAX_JSON_BYTES = 16 << 20  # enough for settings with the most classes and the longest names


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading; a pipe or a device, which might never end, is refused.

    Raises OSError if it cannot be opened.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(path, "rb")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises OSError if it cannot be read, ValueError if it is not JSON of a plausible size.
    """
    with open_regular(path) as file:
        content = file.read(MAX_JSON_BYTES)  # what is cut off there is not JSON
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file as `write_file` does."""
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def write_file(path: Path, content: bytes) -> None:
    """Writes a file atomically: a reader sees either the complete old one or the complete new one.

    Raises UserError if it cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # left by a process that was killed
        new.write_bytes(content)
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free some space, fix the permissions, "
            "or choose another folder."
        ) from error
