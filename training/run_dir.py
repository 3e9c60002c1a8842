"""The files of a run.

runs/digits/settings.json               every flag, and the net
runs/digits/model.ckpt-176.index ...    checkpoints, the newest few
runs/digits/best.ckpt-170.index ...     the best by its evaluations, which best.json names
runs/digits/train, runs/digits/eval     TensorBoard events
runs/digits/results.json                written at the end
runs/digits/trace.json                  one step, with --profile
runs/digits/trainer.lock, trainer.json  who trains there
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from training import RunError

# What a run cannot change half-way. The rest (its length, say) may differ when it goes on.
FIXED_SETTINGS = (
    *("net", "dataset", "class_names", "original_dim", "resize_dim"),  # what its weights fit,
    *("fire_params_1", "fire_params_2"),
    # what its steps are a function of
    *("batch_size", "seed", "recipe", "held_out", "init_from"),
)

DEFAULT_NET = "squeezenet"  # the chapter's; the net of runs whose settings.json names none

BATCH_OF_ALL = " (in a cluster, of all workers together)"

# The run that comes with the project; pretrained/README.md says what it can do.
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"


@contextlib.contextmanager
def open_run_dir(run_dir: Path, settings: dict) -> Iterator[None]:
    """Makes the folder and its settings.json, and keeps every other trainer out of it.

    The lock is the operating system's: it goes with the process that holds it, however that ends.

    Raises:
      RunError: the folder cannot be written, another process trains in it, or the run in it
        contradicts the settings.
    """
    check_name(run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        # A little patience, as is_training takes the lock for a moment.
        lock = FileLock(run_dir / "trainer.lock", timeout=1).acquire()
    except Timeout:
        raise RunError(
            f"{run_dir}: {holder(run_dir)} trains there; wait for it, stop it, or give another "
            "--run_dir."
        ) from None
    except OSError as error:
        raise RunError(
            f"{error.filename or run_dir}: cannot be made ({error.strerror}); mend the folder, or "
            "give another --run_dir."
        ) from error
    with lock:
        saved = read_settings(run_dir)
        if saved is not None:
            check_same_run(run_dir, saved, settings)
        elif any(run_dir.glob("*.ckpt-*")):
            raise RunError(
                f"{run_dir}: holds checkpoints but no settings.json that says of what net they "
                "are; restore it, or give another --run_dir."
            )
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(run_dir / "trainer.json", {"process": os.getpid(), "started": started})
        write_json(run_dir / "settings.json", settings)
        yield


def output_dir(run_dir: Path) -> Path:
    """Where to put what is made of a run: its folder, but not that of PRETRAINED."""
    return run_dir if run_dir.resolve() != PRETRAINED else Path("runs", PRETRAINED.name)


def is_training(run_dir: Path) -> bool:
    """Whether a process trains there now; True too where that cannot be known."""
    path = run_dir / "trainer.lock"
    try:
        if not path.exists():
            return False
        with FileLock(path, timeout=0):
            return False
    except (Timeout, PermissionError):
        return True


def check_name(run_dir: Path) -> None:
    """Raises RunError for a name that TensorFlow would take for a pattern, or cannot encode."""
    name = str(run_dir)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RunError(f"--run_dir {name!a}: is not in UTF-8; give another one.") from None
    if wrong := set("*?[]\\\0") & set(name):
        raise RunError(
            f"--run_dir {name!r}: TensorFlow cannot keep checkpoints in a folder with "
            f"{' '.join(sorted(wrong))!r} in its name; give another one."
        )


def holder(run_dir: Path) -> str:
    """The process that trains in a folder, as far as it has said."""
    try:
        trainer = read_json(run_dir / "trainer.json")
        return f"process {trainer['process']}, started {trainer['started']},"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def check_same_run(run_dir: Path, saved: dict, settings: dict) -> None:
    """Raises RunError when a fixed setting among the given ones differs from the saved one."""
    saved = {"net": DEFAULT_NET, **saved}
    for name in FIXED_SETTINGS:
        if name in settings and settings[name] != saved.get(name):
            raise RunError(
                f"{run_dir}: the run there has {name} {saved.get(name)!r}, not {settings[name]!r}"
                f"{BATCH_OF_ALL if name == 'batch_size' else ''}; give the same {name}, or another "
                "--run_dir."
            )


def read_settings(run_dir: Path) -> dict | None:
    """The settings of the run in a folder, or None where there is no run.

    Raises:
      RunError: settings.json is there but cannot be read as one.
    """
    path = run_dir / "settings.json"
    try:
        settings = read_json(path)
        if not isinstance(settings, dict):
            raise ValueError("no JSON object")
        return settings
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror}); give another --run_dir."
        ) from error
    except ValueError as error:
        raise RunError(
            f"{path}: is not the settings of a run ({error}); restore the file, or give another "
            "--run_dir."
        ) from error


def read_json(path: Path) -> object:
    """The content of a JSON file.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(path: Path, content: dict) -> None:
    """Writes a JSON file as `write_text` does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, content: str) -> None:
    """Writes a file in one step: a reader finds the old one or the new one, whole.

    Raises:
      RunError: the folder cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(content, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); free or mend the disk, or give another "
            "--run_dir."
        ) from error
