"""Reports a training run's progress: in the terminal, in TensorBoard, and the time of its steps."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf
from tensorflow.python.client.timeline import Timeline

from data import Dataset
from reporting.console import TrainingBar
from reporting.events import EventWriters
from squeezenet_model import SqueezeNetModel
from training.batches import batch_at
from training.evaluation import Evaluation, Evaluator
from training.recipe import Schedule
from training.run_dir import read_json, write_json, write_text
from training.saved_run import Run
from training.scope_scalars import SUMMARY_STEPS, kernel_scopes
from training.step import TrainingStep


class StepClock:
    """Measures the time of training steps, excluding pauses.

    Args:
      batch_size: images per step.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._recent = collections.deque(maxlen=SUMMARY_STEPS)
        self._seconds = 0.0
        self._steps = 0
        self._since = None

    def step_done(self) -> None:
        """Counts a step, except the first, in which TensorFlow is still setting itself up."""
        now = time.perf_counter()
        if self._since is not None:
            self._recent.append(now - self._since)
            self._seconds += now - self._since
            self._steps += 1
        self._since = now

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time inside the with block."""
        paused = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - paused

    def recent_images_per_second(self) -> float | None:
        """Over the last SUMMARY_STEPS steps; None before the second step."""
        if not self._recent:
            return None
        return self._batch_size * len(self._recent) / sum(self._recent)

    def images_per_second(self) -> float | None:
        """Over all steps; None before the second step."""
        return self._batch_size * self._steps / self._seconds if self._steps else None


class Progress:
    """Shows a run in the terminal and in TensorBoard; a context manager that closes both.

    Args:
      run_dir: folder of the run.
      model: the net that is trained.
      dataset: the images to train and evaluate on.
      schedule: the numbers of the run.

    Its methods raise RunError when the disk is full or the folder can no longer be written.
    """

    def __init__(self, run_dir: Path, model: SqueezeNetModel, dataset: Dataset, schedule: Schedule):
        self._run_dir, self._model = run_dir, model
        self._dataset, self._schedule = dataset, schedule
        self._clock = StepClock(schedule.batch_size)
        self._bar = TrainingBar(schedule.total_steps, schedule.num_epochs, dataset.evaluation_name)
        self._events: EventWriters | None = None
        self._created = time.perf_counter()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc_info) -> None:
        if self._events is not None:
            self._events.__exit__(*exc_info)
        self._bar.__exit__(*exc_info)

    def warm_started(self, init_from: Run, left_out: list[str]) -> None:
        """Shows where the weights of a new run come from, and which variables are left out."""
        source = init_from.settings.get("source", init_from.checkpoint)  # of imported weights
        self._bar.initialized(source, left_out)

    def started(self, session: tf.Session, step: int) -> None:
        """Starts the curves; a new run (step 0) writes its graph, first batch and weights.

        A resumed run makes TensorBoard discard the events of steps that will be taken again.
        """
        schedule, scopes = self._schedule, kernel_scopes()
        if step:
            evaluated_again = schedule.is_evaluated(step)
            next_steps = step + 1, step + (not evaluated_again)
            self._events = EventWriters(self._run_dir, scopes, *next_steps)
            return
        self._events = EventWriters(self._run_dir, scopes, 0, 0)
        crops, _ = batch_at(self._dataset, schedule.batch_size, schedule.seed, step=0)
        self._events.write_start(self._model, crops)
        self.write_weights(session, 0)

    def write_weights(self, session: tf.Session, step: int) -> None:
        """Adds the weights in a session to the events."""
        variables = tf.trainable_variables()
        names = [variable.op.name for variable in variables]
        self._events.write_weights(step, dict(zip(names, session.run(variables), strict=True)))

    def step_done(self, values: TrainingStep) -> None:
        """Times and shows a step; adds every SUMMARY_STEPS-th step and the last to the curves."""
        self._clock.step_done()
        speed = self._clock.recent_images_per_second()
        if len(values.scope_scalars):  # a summary step
            self._events.write_step(values, speed)
        self._bar.stepped(values, speed)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock and flushes the events so far, so that no resumed run repeats them."""
        with self._clock.paused():
            self._events.flush()
            yield

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """Shows an evaluation, and adds it and its weights to the events."""
        self._events.write_evaluation(evaluation, evaluator.weights(), evaluator.zero_shares())
        if self._schedule.summarize_layers:
            layers = evaluator.activations(), evaluator.gradients()
            self._events.write_layers(evaluation.step, *layers)
        if evaluation.step >= self._schedule.total_steps:
            split, class_names = self._dataset.evaluation_set, self._dataset.class_names
            self._events.write_end(evaluation, split, class_names, self._model.original_dim)
        self._events.flush()
        self._bar.evaluated(evaluation)

    def finished(self, evaluator: Evaluator, evaluation: Evaluation) -> dict:
        """Writes results.json from the last evaluation; returns its content."""
        results = evaluator.summarize(evaluation, self._dataset.evaluation_name)
        results["images_per_second"] = self._clock.images_per_second()
        results["wall_seconds"] = time.perf_counter() - self._created
        write_results(self._run_dir, results)
        return results

    def write_trace(self, session: tf.Session, train_op: TrainingStep) -> None:
        """Traces one more step, which is not saved, for chrome://tracing or ui.perfetto.dev."""
        metadata = tf.RunMetadata()
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        session.run(train_op, options=options, run_metadata=metadata)
        trace = Timeline(metadata.step_stats).generate_chrome_trace_format()
        write_text(self._run_dir / "trace.json", trace)


class NoProgress:
    """Stands in for Progress in all tasks of a cluster but the chief."""

    def __enter__(self) -> NoProgress:
        return self

    def __exit__(self, *exc_info) -> None:
        pass

    def started(self, session: tf.Session, step: int) -> None:
        """Nothing to show."""

    def step_done(self, values: TrainingStep) -> None:
        """Nothing to show."""

    def write_trace(self, session: tf.Session, train_op: TrainingStep) -> None:
        """Takes the step that the chief traces."""
        session.run(train_op)

    def finished(self, evaluator: Evaluator, evaluation: None) -> None:
        """Nothing to report."""


def write_results(run_dir: Path, results: dict) -> None:
    """Writes results.json, unless it exists for this step: then it has the times of the run."""
    try:
        if read_json(run_dir / "results.json")["steps"] == results["steps"]:
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass  # it does not exist yet, or cannot be read
    write_json(run_dir / "results.json", results)
