"""The training loop: a graph built once, a MonitoredTrainingSession, and hooks around its steps."""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import tensorflow.compat.v1 as tf

from data import Dataset
from squeezenet_model import SqueezeNetModel
from training import optimization
from training.checkpoints import (
    CheckpointWriter,
    checkpoint_step,
    keep_best,
    newest_checkpoint,
)
from training.evaluation import Evaluation, Evaluator
from training.events import EventWriters
from training.hooks import CheckpointHook, InputHook, StepHook
from training.input_pipeline import training_dataset
from training.interruption import Interruption
from training.recipe import Schedule
from training.towers import TrainingStep, build_training_step

SUMMARY_STEPS = 20  # TensorBoard draws at most 1,000 points a curve; more would cost, not show


class Watcher(Protocol):
    """Who is told how the training goes (the terminal, say)."""

    def stepped(self, values: TrainingStep, images_per_second: float | None) -> None:
        """After each step, with its values as numpy scalars."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """After each evaluation."""


class TrainingResult(NamedTuple):
    """What train() ends with.

    Attributes:
      step: global_step of the last checkpoint.
      evaluation: of that checkpoint; None where the training was interrupted.
      images_per_second: over the steps taken, evaluations and checkpoints left out; None where the
        run was complete already.
    """

    step: int
    evaluation: Evaluation | None
    images_per_second: float | None


class StepClock:
    """The time that training steps take, without what happens between them.

    Args:
      batch_size: pictures a step.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._recent = collections.deque(maxlen=SUMMARY_STEPS)
        self._seconds = 0.0
        self._steps = 0
        self._since = None

    def step_done(self) -> None:
        """Counts a step; not the first one, in which TensorFlow still sets itself up."""
        now = time.perf_counter()
        if self._since is not None:
            self._recent.append(now - self._since)
            self._seconds += now - self._since
            self._steps += 1
        self._since = now

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Leaves out of the count what happens inside the with block."""
        stopped = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - stopped

    def recent_images_per_second(self) -> float | None:
        """Over the last SUMMARY_STEPS steps; None before the second step."""
        return self._batch_size * len(self._recent) / sum(self._recent) if self._recent else None

    def images_per_second(self) -> float | None:
        """Over all steps; None before the second step."""
        return self._batch_size * self._steps / self._seconds if self._steps else None


def train(
    model: SqueezeNetModel,
    dataset: Dataset,
    schedule: Schedule,
    run_dir: Path,
    evaluator: Evaluator,
    watcher: Watcher,
    interruption: Interruption,
) -> TrainingResult:
    """Trains from the run's newest checkpoint, or from the start, to the last step.

    Writes checkpoints into run_dir, and TensorBoard events into run_dir/train and run_dir/eval.

    Raises:
      RunError: the folder cannot be written any more.
    """
    checkpoint = newest_checkpoint(run_dir)
    step = checkpoint_step(checkpoint) if checkpoint else 0
    evaluation = None
    clock = StepClock(schedule.batch_size)
    # An evaluation that is due may be missing: the process before may have died on the way to it.
    evaluate_first = checkpoint is not None and schedule.is_evaluated(step)
    with (
        tf.Graph().as_default(),
        EventWriters(run_dir, step + 1, step + (not evaluate_first), model) as events,
    ):

        def evaluate(checkpoint):
            nonlocal evaluation
            evaluation = evaluator.evaluate(checkpoint)
            events.write_evaluation(evaluation)
            keep_best(run_dir, checkpoint, evaluation.step, evaluation.accuracy)
            watcher.evaluated(evaluation)

        def step_done(values):
            nonlocal step
            step = int(values.step)
            clock.step_done()
            speed = clock.recent_images_per_second()
            if step % SUMMARY_STEPS == 0 or step == schedule.total_steps:
                events.write_step(values, speed)
            watcher.stepped(values, speed)

        def save(session, step):
            with clock.stopped():
                events.flush()  # a resumed run writes none of the events before again
                checkpoint = checkpoints.save(session, step)
                if schedule.is_evaluated(step):
                    evaluate(checkpoint)

        if evaluate_first:
            evaluate(checkpoint)
        if step < schedule.total_steps:
            training_step, input_hook = build_graph(model, dataset, schedule)
            checkpoints = CheckpointWriter(run_dir)
            hooks = [
                input_hook,
                StepHook(training_step, step_done),
                CheckpointHook(training_step, schedule, interruption, save),
            ]
            with tf.train.MonitoredTrainingSession(
                # Its own checkpoint_dir would restore the newest checkpoint, whole or not.
                scaffold=tf.train.Scaffold(
                    init_fn=lambda _, session: (
                        checkpoint and checkpoints.restore(session, checkpoint)
                    )
                ),
                hooks=hooks,
                config=session_config(schedule.num_towers),
            ) as session:
                while not session.should_stop():
                    session.run(training_step.step)
    complete = step >= schedule.total_steps
    return TrainingResult(step, evaluation if complete else None, clock.images_per_second())


def build_graph(
    model: SqueezeNetModel, dataset: Dataset, schedule: Schedule
) -> tuple[TrainingStep, InputHook]:
    """Builds input pipeline, learning rate and towers in the default graph."""
    tf.set_random_seed(schedule.seed)
    global_step = tf.train.get_or_create_global_step()
    with tf.name_scope("input"):
        first_step = tf.placeholder(tf.int64, [], name="first_step")
        batches = training_dataset(
            dataset.train,
            model,
            schedule.batch_size,
            dataset.mirrored,
            schedule.seed,
            first_step,
        )
        iterator = tf.data.make_initializable_iterator(batches)
        crops, labels = iterator.get_next()
    learning_rate = optimization.learning_rate(
        global_step, schedule.learning_rate, schedule.warm_up_steps, schedule.total_steps
    )
    training_step = build_training_step(
        model, crops, labels, learning_rate, schedule.num_towers, schedule.seed
    )
    return training_step, InputHook(iterator, first_step)


def session_config(num_towers: int) -> tf.ConfigProto:
    """Several towers keep the cores busy by themselves; splitting each op too would cost."""
    if num_towers == 1:
        return tf.ConfigProto()
    return tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=os.cpu_count()
    )
