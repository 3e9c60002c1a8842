"""How a training run is followed: the terminal, TensorBoard, and the time its steps take."""

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
    """The time that training steps take, without what happens between them.

    Args:
      batch_size: images a step.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._recent = collections.deque(maxlen=SUMMARY_STEPS)
        self._seconds = 0.0
        self._steps = 0
        self._since = None

    def step_done(self) -> None:
        """Counts a step; not the first one, in which TensorFlow is still setting itself up."""
        now = time.perf_counter()
        if self._since is not None:
            self._recent.append(now - self._since)
            self._seconds += now - self._since
            self._steps += 1
        self._since = now

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out what happens inside the with block."""
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
    """Shows a run in the terminal and writes it for TensorBoard; a context manager that ends both.

    Args:
      run_dir: folder of the run.
      model: the net that is trained.
      dataset: what it is trained and evaluated on.
      schedule: the numbers of the training.

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
        """Shows whose weights a new run starts from, and which variables do not."""
        source = init_from.settings.get("source", init_from.checkpoint)  # where they came from
        self._bar.initialized(source, left_out)

    def started(self, session: tf.Session, step: int) -> None:
        """Begins the curves; a new run (step 0) writes its graph, first batch and weights.

        Events that an interrupted process wrote of steps that will be taken again are taken back.
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
        """Adds the weights in a session to the curves."""
        variables = tf.trainable_variables()
        names = [variable.op.name for variable in variables]
        self._events.write_weights(step, dict(zip(names, session.run(variables), strict=True)))

    def step_done(self, values: TrainingStep) -> None:
        """Times and shows a step; adds every SUMMARY_STEPS-th and the last to the curves."""
        self._clock.step_done()
        speed = self._clock.recent_images_per_second()
        if len(values.scope_scalars):  # a summary step
            self._events.write_step(values, speed)
        self._bar.stepped(values, speed)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock, with all events so far on disk: a resumed run never repeats them."""
        with self._clock.paused():
            self._events.flush()
            yield

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """Shows an evaluation, and adds it and the weights it was made with to the curves."""
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
        """Writes results.json from the last evaluation; returns what it holds."""
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
    """What a task of a cluster uses that keeps no files: the chief shows the run."""

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
    """Writes results.json, unless there is one of the same step: it knows how long that took."""
    try:
        if read_json(run_dir / "results.json")["steps"] == results["steps"]:
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass  # there is none yet, or none that can be read
    write_json(run_dir / "results.json", results)
