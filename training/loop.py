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
from training.checkpoints import newest_checkpoint
from training.evaluation import Evaluation, Evaluator
from training.events import EventWriters
from training.hooks import CheckpointHook, InputHook, StepHook
from training.input_pipeline import training_dataset
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
      evaluation: of the last checkpoint.
      images_per_second: over the steps taken, evaluations and checkpoints left out; None where the
        run was complete already.
    """

    evaluation: Evaluation
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
) -> TrainingResult:
    """Trains from the run's newest checkpoint, or from the start, to the last step.

    Writes checkpoints into run_dir, and TensorBoard events into run_dir/train and run_dir/eval.

    Raises:
      RunError: a checkpoint cannot be written.
    """
    checkpoint = newest_checkpoint(run_dir)
    first_step = checkpoint_step(checkpoint) if checkpoint else 0
    clock = StepClock(schedule.batch_size)
    evaluations = []
    with tf.Graph().as_default(), EventWriters(run_dir, first_step, model) as events:

        def evaluate(checkpoint):
            with clock.stopped():
                evaluations.append(evaluator.evaluate(checkpoint))
                events.write_evaluation(evaluations[-1])
                watcher.evaluated(evaluations[-1])

        def step_done(values):
            clock.step_done()
            speed = clock.recent_images_per_second()
            if values.step % SUMMARY_STEPS == 0:
                events.write_step(values, speed)
            watcher.stepped(values, speed)

        if checkpoint:
            evaluate(checkpoint)
        if first_step < schedule.total_steps:
            training_step, input_hook = build_graph(model, dataset, schedule)
            checkpoint_hook = CheckpointHook(
                training_step,
                run_dir,
                schedule.eval_every,
                schedule.total_steps,
                before_save=events.train.flush,
                after_save=evaluate,
            )
            with tf.train.MonitoredTrainingSession(
                scaffold=scaffold(checkpoint),
                hooks=[input_hook, StepHook(training_step, step_done), checkpoint_hook],
                config=session_config(schedule.num_towers),
            ) as session:
                while not session.should_stop():
                    session.run(training_step.step)
    return TrainingResult(evaluations[-1], clock.images_per_second())


def checkpoint_step(checkpoint: str) -> int:
    """The global_step that a checkpoint was saved at."""
    return int(tf.train.NewCheckpointReader(checkpoint).get_tensor("global_step"))


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


def scaffold(checkpoint: str | None) -> tf.train.Scaffold:
    """Has the session start from a checkpoint, or from new weights where there is none.

    MonitoredTrainingSession's own checkpoint_dir would take the newest checkpoint, whole or not.
    """
    saver = tf.train.Saver()

    def restore(_, session):
        if checkpoint:
            saver.restore(session, checkpoint)

    return tf.train.Scaffold(saver=saver, init_fn=restore)


def session_config(num_towers: int) -> tf.ConfigProto:
    """Several towers keep the cores busy by themselves; splitting each op too would cost."""
    if num_towers == 1:
        return tf.ConfigProto()
    return tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=os.cpu_count()
    )
