"""The folder of a run, its lock and its settings.

settings.json               every flag, and the net
model.ckpt-141.index ...    checkpoints, the newest few
best.ckpt-116.index ...     the most accurate checkpoint; best.json has its accuracy
train, eval                 TensorBoard events
results.json                written at the end
trainer.lock, trainer.json  the process that trains there
"""

import contextlib
import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from base import UserError, reason
from base.files import output_folder, read_json, write_json
from saved.settings import FIRE_STACKS, check_settings

# Settings that a run cannot change halfway. Others, such as its length, may differ when it resumes.
FIXED_SETTINGS = (
    *("net", "class_names", "original_dim", "resize_dim", *FIRE_STACKS, "batch_size", "seed"),
    *("recipe", "learning_rate", "precision", "held_out", "init_from", "class_weights", "no_flip"),
)
CHECKPOINT_NAME = "model.ckpt"
ENDING = re.compile(r"\.(index|meta|data-[0-9]+-of-[0-9]+)$")  # of a checkpoint's files
SOFT_LOCK = "trainer.lock.soft"  # the lock where the file system has none
# The run included in the project; pretrained/README.md describes it.
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"


@contextlib.contextmanager
def open_run_dir(run_dir: Path, settings: dict) -> Iterator[None]:
    """Creates the folder and its settings.json, and locks out all other trainers until the end.

    The settings of a complete run stay as they are: they say how it was trained. Raises UserError
    if the folder cannot be written, belongs to another run, or another process trains in it.
    """
    check_name(run_dir)
    try:
        check_settings(settings)
        if read_settings(run_dir) is None and not all_checkpoints(run_dir):
            output_folder(run_dir)
        lock = trainer_lock(run_dir, timeout=1)  # since is_training takes it for a moment
    except ValueError as error:
        raise UserError(f"{run_dir}: cannot hold such a run ({error}); change that.") from error
    except Timeout:
        soft = run_dir / SOFT_LOCK
        stale = f" (if it has ended, delete {soft})" if soft.exists() else ""
        raise UserError(
            f"{run_dir}: {describe_trainer(run_dir)} is training there; wait for it, stop it, or "
            f"give another --run_dir{stale}."
        ) from None
    with lock:
        saved = read_settings(run_dir)
        steps = max(map(step_of, all_checkpoints(run_dir)), default=0)
        if saved is not None:
            check_same_run(run_dir, settings, saved)
        elif steps:
            raise UserError(
                f"{run_dir}: holds checkpoints but no settings.json, which describes their net; "
                "restore it, or give another --run_dir."
            )
        if steps > settings["total_steps"]:
            raise UserError(
                f"{run_dir}: the run there has taken {steps:,} steps, more than the "
                f"{settings['total_steps']:,} of {settings['num_epochs']:g} epochs; give a larger "
                "--num_epochs, or another --run_dir."
            )
        if saved is None or steps < settings["total_steps"]:
            write_json(run_dir / "settings.json", settings)
        host, started = socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S")
        trainer = {"process": os.getpid(), "host": host, "started": started}
        write_json(run_dir / "trainer.json", trainer)
        yield


def trainer_lock(run_dir: Path, timeout: float) -> AbstractContextManager:
    """The lock of the folder's only trainer, which the operating system releases when the process
    ends, however it ends. Where the file system has no locks, a file takes its place.

    Raises Timeout if another process has it, OSError if it cannot be had.
    """
    try:
        return FileLock(run_dir / "trainer.lock", timeout=timeout).acquire()
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return SoftFileLock(run_dir / SOFT_LOCK, timeout=timeout).acquire()


def all_checkpoints(run_dir: Path) -> list[str]:
    """Paths (without extension) of a run's checkpoints, oldest first, intact or not."""
    found = {ENDING.sub("", str(path)) for path in run_dir.glob(f"{CHECKPOINT_NAME}-*")}
    return sorted((path for path in found if path.rpartition("-")[2].isdecimal()), key=step_of)


def step_of(checkpoint: str) -> int:
    """The step of a checkpoint, by its name."""
    return int(checkpoint.rpartition("-")[2])


def check_same_run(run_dir: Path, settings: dict, saved: dict) -> None:
    """Raises UserError if a run with these settings would not continue the one that was saved.

    Its images and initial weights may lie elsewhere by now: the images' digest has to be the same,
    and the last part of the weights' path.
    """
    images = "images" if "images" in saved else "dataset"  # as earlier versions wrote it
    if settings[images] != saved[images]:
        raise UserError(
            f"{run_dir}: the run there was trained on other images, those of {saved['dataset']}; "
            "give these as they were, or another --run_dir."
        )
    for name in FIXED_SETTINGS:
        value, before = settings.get(name), saved.get(name)
        if name == "init_from" and value and before:
            value, before = os.path.basename(value), os.path.basename(before)
        if name in settings and value != before:
            in_all = " (in a cluster, of all tasks)" if name == "batch_size" else ""
            raise UserError(
                f"{run_dir}: the run there has {name} {before!s:.200}, not {value!s:.200}{in_all}; "
                f"give the same {name}, or another --run_dir."
            )


def describe_trainer(run_dir: Path) -> str:
    """The process that is training in a folder, for a message."""
    try:
        trainer = read_json(run_dir / "trainer.json")
        host = f" on {trainer['host']:.80}" if "host" in trainer else ""
        return f"process {trainer['process']:d}{host}, started {trainer['started']:.19},"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def check_name(run_dir: Path) -> None:
    """Raises UserError for a name that TensorFlow would treat as a pattern or cannot encode."""
    name = str(run_dir)
    if (set("*?[]\\\0") - {os.sep}) & set(name) or name != name.encode(errors="ignore").decode():
        raise UserError(
            f"{name}: TensorFlow cannot keep checkpoints in a folder of that name; rename it, or "
            "give another --run_dir, in UTF-8 and without any of * ? [ ] \\."
        )


def is_training(run_dir: Path) -> bool:
    """Whether a process is training there now; True if that cannot be determined."""
    is_locked = any((run_dir / name).is_file() for name in ("trainer.lock", SOFT_LOCK))
    try:
        with trainer_lock(run_dir, timeout=0) if is_locked else contextlib.nullcontext():
            return False
    except (Timeout, OSError):
        return True


def output_dir(run_dir: Path) -> Path:
    """The folder for a run's outputs: its own, or one in runs/ for PRETRAINED."""
    return run_dir if run_dir.resolve() != PRETRAINED else Path("runs", PRETRAINED.name)


def read_settings(run_dir: Path) -> dict | None:
    """The checked settings of the run in a folder, or None if there is no run.

    Raises UserError if settings.json cannot be read, or does not describe a run.
    """
    path = run_dir / "settings.json"
    try:
        return check_settings(read_json(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: does not hold the settings of a run ({reason(error)}); restore the file, or "
            "give another --run_dir."
        ) from error
