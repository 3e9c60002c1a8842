"""The files of a run.

runs/digits/settings.json               every flag, and the net
runs/digits/model.ckpt-141.index ...    checkpoints, the newest few
runs/digits/best.ckpt-116.index ...     the most accurate checkpoint; best.json names it
runs/digits/train, runs/digits/eval     TensorBoard events
runs/digits/results.json                written at the end
runs/digits/trace.json                  one step, with --profile
runs/digits/trainer.lock, trainer.json  the process that trains there
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from data.files import open_regular
from training import RunError
from training.settings import DEFAULT_NET, validated

MOST_JSON_BYTES = 16 << 20  # enough for the most classes with the longest names
MOST_SHOWN_LETTERS = 200  # of a setting, in a message
OWN_SECONDS = 2.0  # to wait for a trainer that is just starting

# Settings that a run cannot change halfway. Others, such as its length, may differ when it resumes.
FIXED_SETTINGS = (
    # What the weights depend on,
    *("net", "dataset", "class_names", "original_dim", "resize_dim"),
    *("fire_params_1", "fire_params_2"),
    # and what the steps depend on.
    *("batch_size", "seed", "recipe", "held_out", "init_from", "class_weights"),
)


BATCH_OF_ALL = " (in a cluster, of all tasks together)"

# The run included in the project; pretrained/README.md describes it.
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"


@contextlib.contextmanager
def open_run_dir(run_dir: Path, settings: dict) -> Iterator[None]:
    """Creates the folder and its settings.json, and locks out all other trainers.

    The operating system releases the lock when the process ends, however it ends. trainer.json
    names the process, and identifies the settings.json that it wrote.

    Raises:
      RunError: the folder cannot be written, another process trains in it, or the run in it has
        different settings.
    """
    check_name(run_dir)
    try:
        validated(json.loads(json.dumps(settings)))
    except ValueError as error:
        raise RunError(
            f"{run_dir}: cannot hold a run with these settings: {error}; change that setting."
        ) from error
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        # Waits a little, because is_training takes the lock for a moment.
        lock = FileLock(run_dir / "trainer.lock", timeout=1).acquire()
    except Timeout:
        raise RunError(
            f"{run_dir}: {holder(run_dir)} is training there; wait for it, stop it, or give "
            "another --run_dir."
        ) from None
    except OSError as error:
        raise RunError(
            f"{error.filename or run_dir}: cannot be created ({error.strerror}); fix the folder, "
            "or give another --run_dir."
        ) from error
    with lock:
        saved = read_settings(run_dir)
        if saved is not None:
            check_same_run(run_dir, saved, settings)
        elif any(run_dir.glob("*.ckpt-*")):
            raise RunError(
                f"{run_dir}: holds checkpoints but no settings.json, which describes their net; "
                "restore it, or give another --run_dir."
            )
        write_json(run_dir / "settings.json", settings)
        trainer = {
            "process": os.getpid(),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "settings": identity(run_dir / "settings.json"),
        }
        write_json(run_dir / "trainer.json", trainer)
        yield


def output_dir(run_dir: Path) -> Path:
    """The folder for a run's outputs: its own, or one in runs/ for PRETRAINED."""
    return run_dir if run_dir.resolve() != PRETRAINED else Path("runs", PRETRAINED.name)


def is_own(run_dir: Path) -> bool:
    """Whether this user's own command wrote the settings.json there, on this machine.

    The paths in it may be used only then: if the run was copied, unpacked or edited, they could
    name any folder.
    """
    ends = time.monotonic() + OWN_SECONDS
    while not is_written_by_own_trainer(run_dir / "settings.json"):
        if time.monotonic() > ends or not is_training(run_dir):
            return False
        time.sleep(OWN_SECONDS / 20)  # it may be between writing the two files
    return True


def is_written_by_own_trainer(path: Path) -> bool:
    """Whether this user's trainer.json next to a settings.json identifies that very file."""
    try:
        is_the_users = not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
        trainer = read_json(path.with_name("trainer.json"))
        return is_the_users and trainer["settings"] == identity(path)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def identity(path: Path) -> list[int]:
    """What distinguishes a file from every copy of it: its inode and its change time in ns.

    (Unlike the modification time, nobody can set the change time. On Windows it is the time of
    creation.)
    """
    status = path.stat()
    return [status.st_ino, status.st_ctime_ns]


def is_training(run_dir: Path) -> bool:
    """Whether a process is training there now; True if that cannot be determined."""
    path = run_dir / "trainer.lock"
    try:
        if not path.is_file():
            return False
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def check_name(run_dir: Path) -> None:
    """Raises RunError for a name that TensorFlow would treat as a pattern or cannot encode."""
    name = str(run_dir)
    if wrong := set("*?[]\\\0") & set(name):
        raise RunError(
            f"--run_dir {name!r}: TensorFlow cannot keep checkpoints in a folder with "
            f"{' '.join(sorted(wrong))!r} in its name; give another one."
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        if encoding != "utf-8":
            raise RunError(
                f"--run_dir {name!a}: TensorFlow needs names in UTF-8, but this Python reads them "
                f"as {encoding}; set PYTHONUTF8=1."
            ) from None
        raise RunError(f"--run_dir {name!a}: is not in UTF-8; give another one.") from None


def holder(run_dir: Path) -> str:
    """The process that is training in a folder, for a message."""
    try:
        trainer = read_json(run_dir / "trainer.json")
        return f"process {shown(trainer['process'])}, started {shown(trainer['started'])},"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def shown(value: object) -> str:
    """A value from JSON for a message, shortened."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:MOST_SHOWN_LETTERS]}{'...' * (len(text) > MOST_SHOWN_LETTERS)}"


def check_same_run(run_dir: Path, saved: dict, settings: dict) -> None:
    """Raises RunError if a fixed setting differs from the saved one."""
    saved = {"net": DEFAULT_NET, "class_weights": False, **saved}
    for name in FIXED_SETTINGS:
        if name in settings and settings[name] != saved.get(name):
            raise RunError(
                f"{run_dir}: the run there has {name} {shown(saved.get(name))}, not "
                f"{shown(settings[name])}{BATCH_OF_ALL if name == 'batch_size' else ''}; give the "
                f"same {name}, or another --run_dir."
            )


def read_settings(run_dir: Path) -> dict | None:
    """The valid settings of the run in a folder, or None if there is no run.

    Raises:
      RunError: settings.json cannot be read, or does not describe a run.
    """
    path = run_dir / "settings.json"
    try:
        return validated(read_json(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror}); fix it, or give another --run_dir."
        ) from error
    except ValueError as error:
        raise RunError(
            f"{path}: does not hold the settings of a run ({error}); restore the file, or give "
            "another --run_dir."
        ) from error


def read_json(path: Path) -> object:
    """The content of a JSON file.

    Raises:
      OSError: it cannot be read, or is not a regular file of a plausible size.
      ValueError: it is not JSON.
    """
    with open_regular(path) as file:
        content = file.read(MOST_JSON_BYTES + 1)
    if len(content) > MOST_JSON_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(path: Path, content: dict) -> None:
    """Writes a JSON file as `write_text` does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, content: str) -> None:
    """Writes a file as `write_file` does, in UTF-8.

    Raises:
      RunError: the folder cannot be written.
    """
    try:
        write_file(path, content.encode("utf-8"))
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); free some space or fix the disk, or "
            "give another --run_dir."
        ) from error


def write_file(path: Path, content: bytes) -> None:
    """Writes a file atomically: a reader sees either the complete old one or the complete new one.

    A symbolic link of that name is replaced; its target stays as it is.

    Raises:
      OSError: the folder cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # left by a killed process, or planted as a trap
        with open(new, "xb") as file:
            file.write(content)
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
