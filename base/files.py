"""Reading files that others have made, and writing files that are either complete or not there."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from base import UserError, reason

MAX_JSON_BYTES = 16 << 20  # enough for settings with the most classes and the longest names
MARKER = ".squeezenet"  # an empty file in each folder that this project has made for its output


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading; a pipe or a device, which might never end, is refused.

    Raises OSError if it cannot be opened.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(path, "rb")


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a file. Raises OSError if it cannot be read, ValueError if it is larger."""
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return content


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises OSError if it cannot be read, ValueError if it is not JSON of a plausible size.
    """
    try:
        return json.loads(read_bytes(path, MAX_JSON_BYTES).decode("utf-8"))
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
    with writing(f"{path}:"), contextlib.ExitStack() as cleanup:
        new.unlink(missing_ok=True)  # left by a process that was killed
        cleanup.callback(new.unlink, missing_ok=True)
        new.write_bytes(content)
        os.replace(new, path)


@contextlib.contextmanager
def writing(
    what: object,
    advice: str = "free some space, fix the folder or its permissions, or choose another name",
    errors: tuple[type[Exception], ...] = (OSError,),
) -> Iterator[None]:
    """Turns errors within into a UserError: `what` (with a colon, if that is just a path) cannot be
    written; advice."""
    try:
        yield
    except errors as error:
        raise UserError(f"{what} cannot be written ({reason(error)}); {advice}.") from error


def output_folder(path: Path) -> Path:
    """Makes a folder for output, unless it is there: then it must be empty, or this project's own.

    Raises UserError if it holds anything else, or cannot be made.
    """
    with writing(f"{path}:"):
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        # Folders of earlier versions have no marker, but runs in them or around them.
        is_own = is_output(path) or is_output(path.parent) or any(path.glob("*/trainer.lock"))
        if not is_own and any(path.iterdir()):
            raise UserError(
                f"{path}: holds files that this project has not written; move them, or give a new "
                "or an empty folder."
            )
        for folder in new or [path]:
            (folder / MARKER).touch()
    return path


def is_output(folder: Path) -> bool:
    """Whether this project has written a folder, which therefore holds no photos to be read."""
    return (folder / MARKER).exists() or (folder / "trainer.lock").exists()
