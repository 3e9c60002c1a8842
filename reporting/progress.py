"""Reports a training run's progress: in the terminal, in TensorBoard, and the time of its steps."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Protocol

import tensorflow.compat.v1 as tf

from base.files import read_json, write_json
from reporting.console import TrainingBar, print_evaluation
from reporting.events import RunEvents
from reporting.results import summarize
from training.batches import batch_at
from training.evaluation import Evaluation, Evaluator
from training.plan import Plan
from training.scope_scalars import SUMMARY_STEPS, kernel_scopes
from training.step import TrainingStep


class StepClock:
    """Measures the time of training steps, excluding pauses.

    Args:
      batch_size: images per step.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._seconds: list[float] = []
        self._since = 0.0  # until the first step, in which TensorFlow is still setting itself up

    def step_done(self) -> None:
        """Counts a step, except the first."""
        now = time.perf_counter()
        if self._since:
            self._seconds.append(now - self._since)
        self._since = now

    def resume(self) -> None:
        """Excludes the time since the last step."""
        if self._since:
            self._since = time.perf_counter()

    def images_per_second(self, steps: int = 0) -> float | None:
        """Over the last so many steps, or over all; None before the second step."""
        seconds = self._seconds[-steps:]
        return self._batch_size * len(seconds) / sum(seconds) if seconds else None


class Progress(Protocol):
    """What the training loop tells about a run; a context manager.

    Its methods raise UserError when the disk is full or the folder can no longer be written.
    """

    def __enter__(self) -> Progress:
        """Returns itself."""

    def __exit__(self, *exc_info: object) -> None:
        """The training has ended, for whatever reason."""

    def started(self, session: tf.Session) -> None:
        """The session holds the variables with which the training starts, or resumes."""

    def step_done(self, values: TrainingStep) -> None:
        """A step has been taken, with these values."""

    def flush(self) -> None:
        """A checkpoint follows: no resumed run will repeat what was told so far."""

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """A checkpoint has been evaluated."""

    def finished(self) -> dict | None:
        """The last step has been evaluated. Returns what results.json holds, if it is written."""


class Silence:
    """The progress of the tasks of a cluster that only compute: they show and write nothing."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing to close."""

    def started(self, session: tf.Session) -> None:
        """Nothing to show."""

    def step_done(self, values: TrainingStep) -> None:
        """Nothing to show."""

    def flush(self) -> None:
        """Nothing to write."""

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """Nothing to show."""

    def finished(self) -> dict | None:
        """Nothing to write."""
        return None


def progress_of(plan: Plan, step: int) -> Progress:
    """The progress of a run that starts or resumes at a step, in the default graph."""
    return Silence() if plan.run_dir is None else RunProgress(plan, plan.run_dir, step)


class RunProgress:
    """Shows a run in the terminal and in TensorBoard."""

    def __init__(self, plan: Plan, run_dir: Path, step: int):
        schedule = plan.schedule
        self._plan, self._run_dir, self._step = plan, run_dir, step
        self._clock = StepClock(schedule.batch_size)
        self._bar = TrainingBar(schedule.total_steps, schedule.num_epochs)
        self._events = RunEvents(plan, run_dir, kernel_scopes(), step)
        self._results: dict | None = None
        self._created = time.perf_counter()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._events.close()
        self._bar.close()

    def started(self, session: tf.Session) -> None:
        """Writes the graph, the first batch and the weights of a new run."""
        if self._step == 0:
            schedule = self._plan.schedule
            crops, _ = batch_at(self._plan.dataset, schedule.batch_size, schedule.seed, step=0)
            self._events.write_start(crops)
            variables = tf.trainable_variables()
            names = [variable.op.name for variable in variables]
            weights = dict(zip(names, session.run(variables), strict=True))
            self._events.write_weights(0, weights)

    def step_done(self, values: TrainingStep) -> None:
        """Times and shows a step; adds every SUMMARY_STEPS-th step and the last to the curves."""
        self._clock.step_done()
        speed = self._clock.images_per_second(SUMMARY_STEPS)
        if len(values.scope_scalars):  # a summary step
            self._events.write_step(values, speed)
        self._bar.step_done(values, speed)

    def flush(self) -> None:
        """Writes the events so far to the disk."""
        self._events.flush()

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """Shows an evaluation, and adds it and its weights to the events."""
        self._events.write_evaluation(evaluation, evaluator)
        self._events.flush()
        print_evaluation(evaluation, self._plan.dataset.evaluation_name)
        if evaluation.step >= self._plan.schedule.total_steps:
            self._results = summarize(
                evaluation,
                evaluator.split,
                self._plan.dataset.class_names,
                self._plan.dataset.evaluation_name,
                evaluator.net.variables,
            )
        self._clock.resume()

    def finished(self) -> dict | None:
        """Writes results.json, unless it exists for this step: then it has the times of the run."""
        if self._results is not None:
            path = self._run_dir / "results.json"
            self._results["images_per_second"] = self._clock.images_per_second()
            self._results["wall_seconds"] = time.perf_counter() - self._created
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
                if read_json(path)["steps"] == self._results["steps"]:
                    return self._results
            write_json(path, self._results)
        return self._results
