"""Writing a run's checkpoints, and finding the newest that is whole."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import tensorflow.compat.v1 as tf

from training import RunError
from training.run_dir import read_json, write_json

CHECKPOINT_NAME = "model.ckpt"
BEST_NAME = "best.ckpt"
FILE_NAME = re.compile(
    rf"(?P<checkpoint>{re.escape(CHECKPOINT_NAME)}-(?P<step>\d+))\.(index|data-\d+-of-\d+)"
)
KEPT = 3


class Checkpoints:
    """The checkpoints of a run: restores the newest intact one, saves new ones, keeps a few.

    To be created when the graph in use is complete. TensorFlow writes a checkpoint under temporary
    names and renames them at the end, the index last, so a process that dies meanwhile leaves the
    earlier checkpoints as they were.

    Args:
      run_dir: folder of the run; None for a task of a cluster that keeps no files.

    Attributes:
      newest: path (without extension) of the newest intact checkpoint, or None.
    """

    def __init__(self, run_dir: Path | None):
        self._run_dir = run_dir
        self.newest = run_dir and newest_checkpoint(run_dir)
        self._initialize = tf.global_variables_initializer()
        self._saver = tf.train.Saver(max_to_keep=KEPT)
        if run_dir:
            self._saver.recover_last_checkpoints(all_checkpoints(run_dir))
            for leftover in run_dir.glob(f"{CHECKPOINT_NAME}-*.tempstate*"):
                leftover.unlink()

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
            raise RunError(
                f"{self._run_dir}: the checkpoint of step {step} cannot be written "
                f"({reason(error)}); free some space or fix the disk, then run the same command "
                "again: it resumes from the checkpoint before."
            ) from error

    def keep_best(self, step: int, accuracy: float) -> None:
        """Keeps the newest checkpoint as the best one if its accuracy is the highest so far."""
        keep_best(self._run_dir, self.newest, step, accuracy)


def check_fits(checkpoint: str, variables: list[tf.Variable]) -> None:
    """Raises RunError when a checkpoint lacks a variable, or has it in another shape."""
    shapes = dict(tf.train.list_variables(checkpoint))
    for variable in variables:
        name, shape = variable.op.name, variable.shape.as_list()
        if shapes.get(name) != shape:
            raise RunError(
                f"{checkpoint}: its {name} has the shape {shapes.get(name)}, where settings.json "
                f"describes a net with {shape}; restore the settings that belong to it."
            )


def keep_best(run_dir: Path, checkpoint: str, step: int, accuracy: float) -> None:
    """Copies a checkpoint to best.ckpt-<step> when it is more accurate than the best before.

    Args:
      run_dir: folder of the run.
      checkpoint: path without extension.
      step: its global_step.
      accuracy: what its evaluation gave, 0..1.

    Raises:
      RunError: the disk is full, or the folder cannot be written any more.
    """
    try:
        best = read_json(run_dir / "best.json")
        if accuracy <= best["accuracy"]:
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass  # there is none yet, or none that can be read
    name = f"{BEST_NAME}-{step}"
    try:
        for path in sorted(run_dir.glob(f"{Path(checkpoint).name}.*")):  # data, then index
            copy = shutil.copyfile(path, run_dir / f".{BEST_NAME}{path.suffix}")
            copy.replace(run_dir / f"{name}{path.suffix}")
        for path in run_dir.glob(f"{BEST_NAME}-*"):
            if path.stem != name:
                path.unlink()
        write_json(run_dir / "best.json", {"step": step, "accuracy": accuracy})
    except OSError as error:
        raise RunError(
            f"{error.filename or run_dir}: the best checkpoint cannot be kept ({error.strerror}); "
            "free or mend the disk, then run the same command again."
        ) from error


def all_checkpoints(run_dir: Path) -> list[str]:
    """Paths (without extension) of the run's checkpoints, oldest first, whole or not."""
    steps = {}
    for path in run_dir.glob(f"{CHECKPOINT_NAME}-*"):
        if match := FILE_NAME.fullmatch(path.name):
            steps[str(run_dir / match["checkpoint"])] = int(match["step"])
    return sorted(steps, key=steps.get)


def newest_checkpoint(run_dir: Path, while_training: bool = False) -> str | None:
    """The newest checkpoint that can be read whole, or None; names on stderr what it passes over.

    The files themselves are asked, not TensorFlow's index file `checkpoint`, which may be missing
    or older than they are.

    Args:
      run_dir: folder of the run.
      while_training: whether another process may be writing one, whose index comes last. Without
        an index it is no damaged one then.
    """
    for checkpoint in reversed(all_checkpoints(run_dir)):
        if while_training and not Path(f"{checkpoint}.index").exists():
            continue
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint
        print(f"{checkpoint}: passed over, it is damaged ({damage})", file=sys.stderr)
    return None


def find_damage(checkpoint: str) -> str | None:
    """Reads every variable of a checkpoint (TensorFlow checks their CRCs); what failed, or None."""
    try:
        reader = tf.train.NewCheckpointReader(checkpoint)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
        if not reader.has_tensor("global_step"):
            return "no global_step in it"
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """What TensorFlow's C++ side said, out of the pages that its Python side wraps around it."""
    if isinstance(error, tf.errors.OpError) and isinstance(error.__context__, tf.errors.OpError):
        error = error.__context__
    return (str(getattr(error, "message", "")) or str(error)).splitlines()[0]


def checkpoint_step(checkpoint: str) -> int:
    """The global_step that a checkpoint was saved at."""
    return int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))
