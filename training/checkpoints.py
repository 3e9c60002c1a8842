"""Writes a run's checkpoints, and finds the newest intact one."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from data import printable
from training import RunError
from training.run_dir import read_json, write_json

CHECKPOINT_NAME = "model.ckpt"
BEST_NAME = "best.ckpt"
FILE_NAME = re.compile(
    rf"(?P<checkpoint>{re.escape(CHECKPOINT_NAME)}-(?P<step>[0-9]+))\.(index|data-[0-9]+-of-[0-9]+)"
)
ENDING = re.compile(r"\.(index|meta|data-[0-9]+-of-[0-9]+)$")  # of a checkpoint's files
KEPT = 3
# Limit for each file of a checkpoint, and for its variables. SqueezeNet v1.0 with ImageNet-21k's
# classes has 48 MB of variables, and an optimizer triples that.
MOST_BYTES = 512 << 20


class Checkpoints:
    """The checkpoints of a run: restores the newest intact one, saves new ones, keeps a few.

    Create it once the default graph is complete. TensorFlow writes a checkpoint under temporary
    names and renames its files at the end, the index last, so a process that dies in between leaves
    earlier checkpoints intact.

    Args:
      run_dir: folder of the run; None for a task of a cluster that writes no files.

    Attributes:
      newest: path (without extension) of the newest intact checkpoint, or None.
    """

    def __init__(self, run_dir: Path | None):
        self._run_dir = run_dir
        self.newest = run_dir and newest_checkpoint(run_dir)
        self._initialize = tf.global_variables_initializer()
        self._saver = tf.train.Saver(max_to_keep=0)  # delete_old deletes instead
        if run_dir:
            delete_leftovers(run_dir)

    def restore_or_initialize(self, session: tf.Session) -> int:
        """Restores the newest checkpoint, or initializes all variables; returns the global_step."""
        if self.newest is None:
            session.run(self._initialize)
            return 0
        self._saver.restore(session, self.newest)
        return checkpoint_step(self.newest)

    def save(self, session: tf.Session, step: int) -> None:
        """Writes the checkpoint of a step.

        Raises:
          RunError: the disk is full, or the folder can no longer be written.
        """
        try:
            path = str(self._run_dir / CHECKPOINT_NAME)
            self.newest = self._saver.save(session, path, step, write_meta_graph=False)
        except (tf.errors.OpError, OSError, ValueError) as error:
            delete_leftovers(self._run_dir)
            raise RunError(
                f"{self._run_dir}: the checkpoint of step {step} cannot be written "
                f"({reason(error)}); free some space or fix the disk, then run the same command "
                "again to resume from the previous checkpoint."
            ) from error
        delete_old(self._run_dir, step)

    @contextlib.contextmanager
    def saved_if_output_is_lost(self, session: tf.Session) -> Iterator[None]:
        """Saves the step reached if a line cannot be printed: the terminal or pipe is closed."""
        try:
            yield
        except OSError:
            if self._run_dir:
                self.save(session, int(session.run(tf.train.get_global_step())))
            raise

    def keep_best(self, step: int, accuracy: float) -> None:
        """Keeps the newest checkpoint as the best one if its accuracy is the highest so far."""
        keep_best(self._run_dir, self.newest, step, accuracy)


def check_fits(checkpoint: str, variables: list[tf.Variable]) -> None:
    """Raises RunError if a checkpoint lacks a variable, or has it with a different shape."""
    shapes = dict(tf.train.list_variables(checkpoint))
    for variable in variables:
        name, shape = variable.op.name, variable.shape.as_list()
        if shapes.get(name) != shape:
            raise RunError(
                f"{checkpoint}: its {name} has shape {shapes.get(name)}, but settings.json "
                f"describes a net with {shape}; restore the settings.json that belongs to it."
            )


def delete_old(run_dir: Path, step: int) -> None:
    """Deletes all checkpoints up to a step, which has just been written, except the newest KEPT.

    Checkpoints of later steps stay: they are damaged, but their owner may be able to repair them.
    The remains of a checkpoint whose deletion was interrupted count as a checkpoint, too. A
    checkpoint that cannot be deleted does not end the run.
    """
    written = [path for path in all_checkpoints(run_dir) if int(path.rsplit("-", 1)[1]) <= step]
    for checkpoint in written[:-KEPT]:
        delete(files_of(checkpoint))


def delete_leftovers(run_dir: Path) -> None:
    """Deletes files left by processes that were killed, or ran out of space, while writing.

    Call it only from the process that trains in run_dir.
    """
    # TensorFlow's unfinished checkpoints and index files, and this program's own files.
    patterns = (
        f"{CHECKPOINT_NAME}-*.tempstate*",
        "checkpoint.tmp*",
        f".{BEST_NAME}.*",
        ".*.json.new",
    )
    delete(path for pattern in patterns for path in run_dir.glob(pattern))
    best = best_checkpoint(run_dir)
    for path in run_dir.glob(f"{BEST_NAME}-*"):
        has_index = path.with_suffix(".index").exists()
        if not has_index or (best and path.stem != best):
            delete([path])


def best_checkpoint(run_dir: Path) -> str | None:
    """The name of the checkpoint that best.json names; None if there is none."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        name = f"{BEST_NAME}-{read_json(run_dir / 'best.json')['step']}"
        return name if (run_dir / f"{name}.index").exists() else None
    return None


def files_of(checkpoint: str) -> list[Path]:
    """The files of a checkpoint, the index first: without it, the rest is not a checkpoint."""
    name = Path(checkpoint).name
    with contextlib.suppress(OSError), os.scandir(Path(checkpoint).parent) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.startswith(f"{name}.")]
        return sorted(found, key=lambda path: (path.suffix != ".index", path))
    return []


def delete(paths: Iterable[Path]) -> None:
    """Deletes files where possible; another process may be reading or deleting them."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def keep_best(run_dir: Path, checkpoint: str, step: int, accuracy: float) -> None:
    """Copies a checkpoint to best.ckpt-<step> if it is more accurate than the previous best.

    If the process dies in between, the previous best stays, and best.json still names it.

    Args:
      run_dir: folder of the run.
      checkpoint: path without extension.
      step: its global_step.
      accuracy: from its evaluation, 0..1.

    Raises:
      RunError: the disk is full, or the folder can no longer be written.
    """
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # of a damaged file
        if best_checkpoint(run_dir) and accuracy <= read_json(run_dir / "best.json")["accuracy"]:
            return
    name = f"{BEST_NAME}-{step}"
    delete_leftovers(run_dir)
    try:
        for path in reversed(files_of(checkpoint)):  # data, then index
            copy = shutil.copyfile(path, run_dir / f".{BEST_NAME}{path.suffix}")
            copy.replace(run_dir / f"{name}{path.suffix}")
        write_json(run_dir / "best.json", {"step": step, "accuracy": accuracy})
    except OSError as error:
        raise RunError(
            f"{error.filename or run_dir}: the best checkpoint cannot be saved ({error.strerror}); "
            "free some space or fix the disk, then run the same command again."
        ) from error
    finally:  # the previous best or, after an error, the remains of this one
        delete_leftovers(run_dir)


def all_checkpoints(run_dir: Path) -> list[str]:
    """Paths (without extension) of the run's checkpoints, oldest first, intact or not."""
    steps = {}
    for path in run_dir.glob(f"{CHECKPOINT_NAME}-*"):
        if match := FILE_NAME.fullmatch(path.name):
            steps[str(run_dir / match["checkpoint"])] = int(match["step"])
    return sorted(steps, key=steps.get)


def without_ending(path: Path) -> str:
    """The checkpoint that a user means by one of its files, or by its path without extension."""
    return ENDING.sub("", str(path))


def newest_checkpoint(run_dir: Path, while_training: bool = False) -> str | None:
    """The newest intact checkpoint, or None; names the damaged ones that it skips on stderr.

    Looks at the files themselves, not at TensorFlow's index file `checkpoint`, which may be missing
    or out of date.

    Args:
      run_dir: folder of the run.
      while_training: whether another process may be writing a checkpoint. Its index comes last, so
        one without an index is then unfinished, not damaged.
    """
    for checkpoint in reversed(all_checkpoints(run_dir)):
        if while_training and not Path(f"{checkpoint}.index").exists():
            continue
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint
        message = f"{checkpoint}: skipped because it is damaged ({damage})"
        print(printable(message), file=sys.stderr)
    return None


def find_damage(checkpoint: str) -> str | None:
    """Reads every variable of a checkpoint (TensorFlow checks CRCs); says what failed, or None."""
    try:
        for path in files_of(checkpoint):
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                return f"{path.suffix} is not a regular file of up to {MOST_BYTES >> 20} MB"
        reader = tf.train.NewCheckpointReader(checkpoint)
        types = reader.get_variable_to_dtype_map()
        shapes = reader.get_variable_to_shape_map()
        if sum(math.prod(shapes[name]) * types[name].size for name in shapes) > MOST_BYTES:
            return f"its variables take more than {MOST_BYTES >> 20} MB"
        for name in shapes:
            reader.get_tensor(name)
        if not reader.has_tensor("global_step"):
            return "it has no global_step"
    except (tf.errors.OpError, OSError, IndexError, TypeError, ValueError, RuntimeError) as error:
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """The message of TensorFlow's C++ side, without the pages that its Python side adds."""
    if isinstance(error, tf.errors.OpError) and isinstance(error.__context__, tf.errors.OpError):
        error = error.__context__
    return (str(getattr(error, "message", "")) or str(error)).splitlines()[0]


def checkpoint_step(checkpoint: str) -> int:
    """The global_step that a checkpoint was saved at."""
    return int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))
