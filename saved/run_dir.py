"""The folder of a run, its lock and its settings.

settings.json               every flag, and the net
model.ckpt-141.index ...    checkpoints, the newest few
best.ckpt-116.index ...     the most accurate checkpoint; best.json has its accuracy
train, eval                 TensorBoard events
results.json                written at the end
trainer.lock, trainer.json  the process that trains there
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from base import UserError, reason
from base.files import read_json, write_json
from imagenet import DEFAULT_NET
from saved.settings import FIRE_STACKS, check_settings

# Settings that a run cannot change halfway. Others, such as its length, may differ when it resumes.
FIXED_SETTINGS = (
    *("net", "dataset", "class_names", "original_dim", "resize_dim", *FIRE_STACKS),
    *("batch_size", "seed", "recipe", "held_out", "init_from", "class_weights"),
)
# The run included in the project; pretrained/README.md describes it.
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"


@contextlib.contextmanager
def open_run_dir(run_dir: Path, settings: dict) -> Iterator[None]:
    """Creates the folder and its settings.json, and locks out all other trainers until the end.

    The operating system releases the lock when the process ends, however it ends. Raises UserError
    if the folder cannot be written, belongs to another run, or another process trains in it.
    """
    check_name(run_dir)
    try:
        check_settings(settings)
        run_dir.mkdir(parents=True, exist_ok=True)
        # Waits a little, because is_training takes the lock for a moment.
        lock = FileLock(run_dir / "trainer.lock", timeout=1).acquire()
    except ValueError as error:
        raise UserError(f"{run_dir}: cannot hold such a run ({error}); change that.") from error
    except Timeout:
        raise UserError(
            f"{run_dir}: {describe_trainer(run_dir)} is training there; wait for it, stop it, or "
            "give another --run_dir."
        ) from None
    except OSError as error:
        raise UserError(
            f"{error.filename or run_dir}: cannot be created ({reason(error)}); fix the folder, or "
            "give another --run_dir."
        ) from error
    with lock:
        saved = read_settings(run_dir)
        if saved is not None:
            saved = {"net": DEFAULT_NET, "class_weights": False, **saved}
            for name in FIXED_SETTINGS:
                if name in settings and settings[name] != saved.get(name):
                    in_all = " (in a cluster, of all tasks)" if name == "batch_size" else ""
                    raise UserError(
                        f"{run_dir}: the run there has {name} {saved.get(name)!s:.200}, not "
                        f"{settings[name]!s:.200}{in_all}; give the same {name}, or another "
                        "--run_dir."
                    )
        elif any(run_dir.glob("*.ckpt-*")):
            raise UserError(
                f"{run_dir}: holds checkpoints but no settings.json, which describes their net; "
                "restore it, or give another --run_dir."
            )
        write_json(run_dir / "settings.json", settings)
        trainer = {"process": os.getpid(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_json(run_dir / "trainer.json", trainer)
        yield


def describe_trainer(run_dir: Path) -> str:
    """The process that is training in a folder, for a message."""
    try:
        trainer = read_json(run_dir / "trainer.json")
        return f"process {trainer['process']:d}, started {trainer['started']:.19},"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def check_name(run_dir: Path) -> None:
    """Raises UserError for a name that TensorFlow would treat as a pattern or cannot encode."""
    name = str(run_dir)
    if set("*?[]\\\0") & set(name) or name != name.encode(errors="ignore").decode():
        raise UserError(
            f"--run_dir {name}: TensorFlow cannot keep checkpoints in a folder of that name; give "
            "another one, in UTF-8 and without any of * ? [ ] \\."
        )


def is_training(run_dir: Path) -> bool:
    """Whether a process is training there now; True if that cannot be determined."""
    path = run_dir / "trainer.lock"
    try:
        with FileLock(path, timeout=0) if path.is_file() else contextlib.nullcontext():
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
