"""What happens around the steps of a training session, as TF1 session hooks of one job each."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow.compat.v1 as tf
from tensorflow.python.client.timeline import Timeline

from data import DataError
from training.batches import ALONE, Share
from training.interruption import Interruption
from training.recipe import Schedule
from training.run_dir import write_text
from training.step import TrainingStep

if TYPE_CHECKING:
    from training.replicas import Replica

PROFILED_STEP = 10  # of the session; the first ones are not like the rest


class InputHook(tf.train.SessionRunHook):
    """Starts the input pipeline at the step that the session starts from.

    Args:
      iterator: over the pipeline's batches.
      first_step: placeholder of the step it starts at.
      errors: what its threads have raised.
      share: which batches are this process's.
    """

    def __init__(
        self,
        iterator: tf.data.Iterator,
        first_step: tf.Tensor,
        errors: list[DataError],
        share: Share = ALONE,
    ):
        self._iterator = iterator
        self._errors = errors
        self._first_step = first_step
        self._share = share
        self._global_step = tf.train.get_global_step()

    def after_create_session(self, session, coord):
        self.start_at(session, session.run(self._global_step))

    def start_at(self, session: tf.Session, step: int) -> None:
        """Goes to the batch that follows so many steps."""
        first_batch = self._share.first_batch(int(step))
        session.run(self._iterator.initializer, {self._first_step: first_batch})

    @contextlib.contextmanager
    def data_errors(self) -> Iterator[None]:
        """Raises what went wrong in the pipeline, in place of TensorFlow's account of it."""
        try:
            yield
        except tf.errors.OpError:
            if self._errors:
                raise self._errors[0] from None
            raise


class StepHook(tf.train.SessionRunHook):
    """Calls a function with each step's values, a TrainingStep of numpy scalars."""

    def __init__(self, training_step: TrainingStep, function: Callable[[TrainingStep], None]):
        self._training_step = training_step
        self._function = function

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._training_step)

    def after_run(self, run_context, run_values):
        self._function(run_values.results)


class ProfileHook(tf.train.SessionRunHook):
    """Writes what TensorFlow did in one step, for chrome://tracing or ui.perfetto.dev.

    (tf.train.ProfilerHook would leave an events file beside it, an empty run to TensorBoard.)

    Args:
      path: the file to write.
      num_steps: of the session; a short one has its last step traced.
    """

    def __init__(self, path: Path, num_steps: int):
        self._path = path
        self._steps_to_go = min(PROFILED_STEP, num_steps)

    def before_run(self, run_context):
        self._steps_to_go -= 1
        trace_level = tf.RunOptions.FULL_TRACE if self._steps_to_go == 0 else 0
        return tf.train.SessionRunArgs(None, options=tf.RunOptions(trace_level=trace_level))

    def after_run(self, run_context, run_values):
        if self._steps_to_go == 0:
            timeline = Timeline(run_values.run_metadata.step_stats)
            write_text(self._path, timeline.generate_chrome_trace_format())


class FollowHook(tf.train.SessionRunHook):
    """Lets a worker go where the chief is, which may have gone back to a checkpoint, and stop.

    Args:
      training_step: whose step is asked.
      input_hook: of the pipeline that has to go there.
      interruption: when it has come, the step in hand is the last one.
      replica: the worker.
    """

    def __init__(
        self,
        training_step: TrainingStep,
        input_hook: InputHook,
        interruption: Interruption,
        replica: Replica,
    ):
        self._step = training_step.step
        self._input_hook = input_hook
        self._interruption = interruption
        self._replica = replica
        self._global_step = tf.train.get_global_step()

    def after_create_session(self, session, coord):
        self._expected = session.run(self._global_step) + 1

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, run_context, run_values):
        step = int(run_values.results)
        # Not after the last step: until the chief has saved that, it may have to be taken again.
        if step < 0 or self._interruption.received:
            run_context.request_stop()
        elif step != self._expected and not self._replica.asynchronous:
            self._input_hook.start_at(run_context.session, step)
        self._expected = step + 1

    def end(self, session):
        if not self._interruption.received:
            self._replica.finish(session)


class LeadHook(tf.train.SessionRunHook):
    """Lets the cluster end when its chief does.

    But not after SIGTERM, with which a system moves a process to another machine: then the others
    wait for it, as they do when it is killed.

    Args:
      interruption: what has come.
      replica: the chief.
    """

    def __init__(self, interruption: Interruption, replica: Replica):
        self._interruption = interruption
        self._replica = replica

    def end(self, session):
        if self._interruption.received != signal.SIGTERM:
            self._replica.finish(session)


class CheckpointHook(tf.train.SessionRunHook):
    """Saves the run when it is time to, and ends the session after the last step.

    Args:
      training_step: whose step is asked.
      schedule: says which steps to save, and which is the last.
      interruption: when it has come, the step in hand is saved and is the last one.
      save: called with the session, the step, and whether it is to be evaluated.
    """

    def __init__(
        self,
        training_step: TrainingStep,
        schedule: Schedule,
        interruption: Interruption,
        save: Callable[[tf.Session, int, bool], None],
    ):
        self._step = training_step.step
        self._schedule = schedule
        self._interruption = interruption
        self._save = save
        self._global_step = tf.train.get_global_step()

    def after_create_session(self, session, coord):
        self._last_step = int(session.run(self._global_step))

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, run_context, run_values):
        step = int(run_values.results)
        ends = step >= self._schedule.total_steps or self._interruption.received is not None
        is_evaluated = self._schedule.is_evaluated(step, self._last_step)
        if ends or is_evaluated:
            self._save(run_context.session, step, is_evaluated)
        if ends:
            run_context.request_stop()
        self._last_step = step
