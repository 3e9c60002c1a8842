"""Writes a run's checkpoints, and finds the newest intact one."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from base import UserError, printable, reason
from base.files import read_json, write_json, writing
from base.program import report
from saved.run_dir import CHECKPOINT_NAME, ENDING, all_checkpoints, step_of

BEST_NAME = "best.ckpt"
KEPT = 3
# Limit for each file of a checkpoint, and for its variables. SqueezeNet v1.0 with ImageNet-21k's
# classes has 48 MB of variables, and an optimizer triples that.
MAX_BYTES = 512 << 20


class Checkpoints:
    """The checkpoints of a run: restores the newest intact one, saves new ones, keeps a few.

    Create it once the default graph is complete; run_dir is None for a task of a cluster that
    writes no files. TensorFlow renames a checkpoint's files when all are written, the index last,
    so a process that dies in between leaves earlier checkpoints intact.

    Attributes:
      newest: path (without extension) of the newest intact checkpoint; "" if there is none.
      step: the global_step that it was saved at; 0 if there is none.
    """

    def __init__(self, run_dir: Path | None):
        self._run_dir = run_dir
        self._saver = tf.train.Saver(max_to_keep=KEPT, save_relative_paths=True)
        self.newest, self.step, self._best_accuracy = "", 0, -1.0
        if run_dir is None:
            return
        self.newest = newest_checkpoint(run_dir) or ""
        self.step = step_of(self.newest) if self.newest else 0
        for unfinished in run_dir.glob("*.ckpt-*.tempstate*"):  # by processes that were killed
            unfinished.unlink()
        self._saver.recover_last_checkpoints(all_checkpoints(run_dir))
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # none, or damaged
            best = read_json(run_dir / "best.json")
            if (run_dir / f"{BEST_NAME}-{best['step']}.index").exists():
                self._best_accuracy = float(best["accuracy"])

    def restore_or_initialize(self, session: tf.Session) -> int:
        """Restores the newest checkpoint, or initializes all variables; returns the global_step."""
        if self.newest:
            self._saver.restore(session, self.newest)
        else:
            session.run(tf.global_variables_initializer())
        return self.step

    def save(self, session: tf.Session, step: int) -> None:
        """Writes the checkpoint of a step; deletes the oldest. Raises UserError if it cannot."""
        self.newest = self._write(session, CHECKPOINT_NAME, step)

    def keep_best(self, session: tf.Session, step: int, accuracy: float) -> None:
        """Also saves the step as the best checkpoint, if its accuracy is the highest so far.

        A run that is killed meanwhile evaluates this step again, and comes back here.
        """
        if self._run_dir and accuracy > self._best_accuracy:
            self._write(session, BEST_NAME, step)
            for path in self._run_dir.glob(f"{BEST_NAME}-*"):
                if not path.name.startswith(f"{BEST_NAME}-{step}."):
                    path.unlink()
            write_json(self._run_dir / "best.json", {"step": step, "accuracy": accuracy})
            self._best_accuracy = accuracy

    @contextlib.contextmanager
    def saved_if_output_is_lost(self, session: tf.Session) -> Iterator[None]:
        """Saves the step reached if a line cannot be printed: the terminal or pipe is closed, or
        the disk behind it is full."""
        try:
            yield
        except OSError:
            if self._run_dir:
                self.save(session, int(session.run(tf.train.get_global_step())))
            raise

    def _write(self, session: tf.Session, name: str, step: int) -> str:
        """Writes a checkpoint; returns its path without extension."""
        with writing(
            f"{self._run_dir}: the checkpoint of step {step}",
            "free some space or fix the disk, then run the same command again to resume from the "
            "previous checkpoint",
            (OSError, tf.errors.OpError, ValueError),
        ):
            return self._saver.save(
                session,
                f"{self._run_dir}/{name}",
                step,
                write_meta_graph=False,
                write_state=name == CHECKPOINT_NAME,  # the best one is not deleted when it is old
            )


def check_fits(checkpoint: str, variables: list[tf.Variable]) -> None:
    """Raises UserError if a checkpoint lacks a variable, or has it with a different shape."""
    shapes = dict(tf.train.list_variables(checkpoint))
    for variable in variables:
        name, shape = variable.op.name, variable.shape.as_list()
        if shapes.get(name) != shape:
            raise UserError(
                f"{checkpoint}: its {name} has shape {shapes.get(name)}, but settings.json "
                f"describes a net with {shape}; restore the settings.json that belongs to it."
            )


def newest_checkpoint(run_dir: Path, while_training: bool = False) -> str | None:
    """The newest intact checkpoint, or None; names the damaged ones that it skips on stderr.

    Looks at the files themselves, not at TensorFlow's index file `checkpoint`, which may be missing
    or out of date. If another process may be writing a checkpoint (while_training), one without an
    index, which comes last, is unfinished, not damaged.
    """
    for checkpoint in reversed(all_checkpoints(run_dir)):
        if while_training and not Path(f"{checkpoint}.index").exists():
            continue
        if not (damage := find_damage(checkpoint)):
            return checkpoint
        report(printable(f"{checkpoint}: skipped because it is damaged ({damage})"))
    return None


def intact_checkpoint(path: Path, is_of_run: bool = True) -> str:
    """The checkpoint that a user means by one of its files, or by its path without extension.

    Raises UserError if `find_damage` finds any.
    """
    checkpoint = ENDING.sub("", str(path))
    if damage := find_damage(checkpoint, is_of_run):
        raise UserError(f"{checkpoint}: is not an intact checkpoint ({damage}); give another one.")
    return checkpoint


def find_damage(checkpoint: str, is_of_run: bool = True) -> str | None:
    """Reads every variable of a checkpoint (TensorFlow checks CRCs); says what failed, or None.

    One that is_of_run must have a global_step; other programs' may lack it.
    """
    try:
        for path in Path(checkpoint).parent.glob(f"{Path(checkpoint).name}.*"):
            if not path.is_file() or path.stat().st_size > MAX_BYTES:
                return f"{path.suffix} is not a regular file of up to {MAX_BYTES >> 20} MB"
        reader = tf.train.NewCheckpointReader(checkpoint)
        types, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
        if sum(math.prod(shapes[name]) * types[name].size for name in shapes) > MAX_BYTES:
            return f"its variables take more than {MAX_BYTES >> 20} MB"
        for name in shapes:
            reader.get_tensor(name)
        return "it has no global_step" if is_of_run and "global_step" not in shapes else None
    except (tf.errors.OpError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        return reason(error)
