"""What happens around the steps of a training session, as TF1 session hooks of one job each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow.compat.v1 as tf

from training.checkpoints import CHECKPOINT_NAME, KEPT, all_checkpoints, reason
from training.run_dir import RunError
from training.towers import TrainingStep


class InputHook(tf.train.SessionRunHook):
    """Starts the input pipeline at the step that the session starts from."""

    def __init__(self, iterator: tf.data.Iterator, first_step: tf.Tensor):
        self._iterator = iterator
        self._first_step = first_step
        self._global_step = tf.train.get_global_step()

    def after_create_session(self, session, coord):
        step = session.run(self._global_step)
        session.run(self._iterator.initializer, {self._first_step: step})


class StepHook(tf.train.SessionRunHook):
    """Calls a function with each step's values, a TrainingStep of numpy scalars."""

    def __init__(self, training_step: TrainingStep, function: Callable[[TrainingStep], None]):
        self._training_step = training_step
        self._function = function

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._training_step)

    def after_run(self, run_context, run_values):
        self._function(run_values.results)


class CheckpointHook(tf.train.SessionRunHook):
    """Saves the run every so many steps and after the last one; the newest few are kept.

    Args:
      training_step: whose step is asked.
      run_dir: folder for the checkpoints.
      every_steps: steps from one to the next.
      last_step: the step that ends the session.
      before_save: called first (what the checkpoint presumes must be on disk before it is).
      after_save: called with the new checkpoint's path, without extension.
    """

    def __init__(
        self,
        training_step: TrainingStep,
        run_dir: Path,
        every_steps: int,
        last_step: int,
        before_save: Callable[[], None],
        after_save: Callable[[str], None],
    ):
        self._step = training_step.step
        self._run_dir = run_dir
        self._every_steps = every_steps
        self._last_step = last_step
        self._before_save = before_save
        self._after_save = after_save
        self._saver = tf.train.Saver(max_to_keep=KEPT)
        self._saver.recover_last_checkpoints(all_checkpoints(run_dir))

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, run_context, run_values):
        step = int(run_values.results)
        if step % self._every_steps == 0 or step >= self._last_step:
            self._before_save()
            self._after_save(self._save(run_context.session, step))
        if step >= self._last_step:
            run_context.request_stop()

    def _save(self, session: tf.Session, step: int) -> str:
        try:
            path = str(self._run_dir / CHECKPOINT_NAME)
            return self._saver.save(session, path, step, write_meta_graph=False)
        except (tf.errors.OpError, OSError, ValueError) as error:
            raise RunError(
                f"{self._run_dir}: the checkpoint of step {step:,} cannot be written "
                f"({reason(error)}); free or mend the disk, then run the same command "
                "again: it goes on from the checkpoint before."
            ) from error
