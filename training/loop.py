"""The training loop: a graph built once, a MonitoredTrainingSession, and hooks around its steps."""

from __future__ import annotations

import collections
import contextlib
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import tensorflow.compat.v1 as tf

from data import Dataset
from reporting.events import EventWriters
from squeezenet_model import SqueezeNetModel
from training.batches import ALONE, batch_at
from training.checkpoints import (
    CheckpointWriter,
    checkpoint_step,
    keep_best,
    newest_checkpoint,
)
from training.evaluation import Evaluation, Evaluator
from training.health import Health
from training.hooks import (
    CheckpointHook,
    FollowHook,
    InputHook,
    LeadHook,
    ProfileHook,
    StepHook,
)
from training.initial_weights import warm_start
from training.input_pipeline import training_dataset
from training.interruption import Interruption
from training.recipe import Schedule
from training.replicas import Replica
from training.runtime import session_config
from training.saved_run import Run
from training.step import TrainingStep, build_training_step

SUMMARY_STEPS = 20  # TensorBoard draws at most 1,000 points a curve; more would cost, not show


class Training(NamedTuple):
    """What is trained, on what, how and where.

    Attributes:
      model: the net.
      dataset: its train part is trained on.
      schedule: the numbers of the training.
      run_dir: folder of the run.
      init_from: whose weights a new run begins with, where they fit; None for random ones.
      replica: of the chief, if this is a cluster's run; None for a process on its own.
    """

    model: SqueezeNetModel
    dataset: Dataset
    schedule: Schedule
    run_dir: Path
    init_from: Run | None = None
    replica: Replica | None = None


class Watcher(Protocol):
    """Who is told how the training goes (the terminal, say)."""

    def stepped(self, values: TrainingStep, images_per_second: float | None) -> None:
        """After each step, with its values as numpy scalars."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """After each evaluation."""

    def initialized(self, checkpoint: str, left_out: list[str]) -> None:
        """When the weights begin as in a checkpoint, but for the variables left out."""


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
      batch_size: images a step.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._recent = collections.deque(maxlen=SUMMARY_STEPS)
        self._seconds = 0.0
        self._steps = 0
        self._since = None

    def step_done(self, steps: int = 1) -> None:
        """Counts steps; not the first one, in which TensorFlow still sets itself up."""
        now = time.perf_counter()
        if self._since is not None:
            self._recent.append((steps, now - self._since))
            self._seconds += now - self._since
            self._steps += steps
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
        if not self._recent:
            return None
        steps, seconds = (sum(values) for values in zip(*self._recent, strict=True))
        return self._batch_size * steps / seconds

    def images_per_second(self) -> float | None:
        """Over all steps; None before the second step."""
        return self._batch_size * self._steps / self._seconds if self._steps else None


class Recorder:
    """What is written and shown of a training: its steps, checkpoints and evaluations.

    Attributes:
      evaluation: the last one, or None before the first.
      clock: the time of the steps.
    """

    def __init__(
        self,
        schedule: Schedule,
        run_dir: Path,
        evaluator: Evaluator,
        events: EventWriters,
        watcher: Watcher,
    ):
        self.evaluation: Evaluation | None = None
        self.clock = StepClock(schedule.batch_size)
        self._schedule = schedule
        self._run_dir = run_dir
        self._evaluator = evaluator
        self._events = events
        self._watcher = watcher
        self._health = Health(run_dir, evaluator.model.output_size)
        self._last_step: int | None = None

    def initialized(self, checkpoint: str, left_out: list[str]) -> None:
        """Shows what a new run begins with, if not at random."""
        self._watcher.initialized(checkpoint, left_out)

    def begin(self, session: tf.Session) -> None:
        """Adds the weights that a new run begins with."""
        variables = tf.trainable_variables()
        names = [variable.op.name for variable in variables]
        self._events.write_weights(0, dict(zip(names, session.run(variables), strict=True)))

    def step_done(self, values: TrainingStep) -> None:
        """Times, checks and shows a step; adds every SUMMARY_STEPS-th and the last to the curves.

        Raises:
          RunError: the training has died, or the curves cannot be written.
        """
        last_step = int(values.step) - 1 if self._last_step is None else self._last_step
        self._last_step = int(values.step)
        self.clock.step_done(self._last_step - last_step)
        speed = self.clock.recent_images_per_second()
        is_shown = values.step // SUMMARY_STEPS > last_step // SUMMARY_STEPS
        if is_shown or values.step >= self._schedule.total_steps:
            self._events.write_step(values, speed)
        self._watcher.stepped(values, speed)
        self._health.check(values)

    def save(
        self, checkpoints: CheckpointWriter, session: tf.Session, step: int, is_evaluated: bool
    ) -> None:
        """Writes the checkpoint of a step, and evaluates it when that is due."""
        with self.clock.stopped():
            self._events.flush()  # a resumed run writes none of the events before again
            checkpoint = checkpoints.save(session, step)
            if is_evaluated:
                self.evaluate(checkpoint)
            # In a cluster, others may have taken steps meanwhile, which must not be counted either.
            self._last_step = int(session.run(tf.train.get_global_step(session.graph)))

    def evaluate(self, checkpoint: str) -> None:
        """Evaluates a checkpoint, adds it to the curves, and keeps it if it is the best."""
        evaluator = self._evaluator
        self.evaluation = evaluator.evaluate(checkpoint)
        step = self.evaluation.step
        self._events.write_evaluation(self.evaluation, evaluator.weights())
        if self._schedule.summarize_layers:
            self._events.write_layers(step, evaluator.activations(), evaluator.gradients())
        if step >= self._schedule.total_steps:
            self._events.write_end(
                self.evaluation,
                evaluator.split,
                evaluator.class_names,
                evaluator.model.original_dim,
            )
        self._events.flush()
        keep_best(self._run_dir, checkpoint, step, self.evaluation.accuracy)
        self._watcher.evaluated(self.evaluation)


def train(
    training: Training, evaluator: Evaluator, watcher: Watcher, interruption: Interruption
) -> TrainingResult:
    """Trains from the run's newest checkpoint, or from the start, to the last step.

    Writes checkpoints into run_dir (and trace.json, if a step is to be traced), and TensorBoard
    events into run_dir/train and run_dir/eval.

    Raises:
      RunError: the folder cannot be written any more, or the training has died.
      DataError: images turn out to be damaged.
    """
    schedule, run_dir = training.schedule, training.run_dir
    checkpoint = newest_checkpoint(run_dir)
    step = checkpoint_step(checkpoint) if checkpoint else 0
    # An evaluation that is due may be missing: the process before may have died on the way to it.
    evaluate_first = checkpoint is not None and schedule.is_evaluated(step)
    next_steps = (step + 1, step + (not evaluate_first)) if checkpoint else (0, 0)
    with tf.Graph().as_default(), EventWriters(run_dir, *next_steps) as events:
        recorder = Recorder(schedule, run_dir, evaluator, events, watcher)
        if checkpoint is None:
            crops, _ = batch_at(training.dataset, schedule.batch_size, schedule.seed, step=0)
            events.write_start(training.model, crops)
        if evaluate_first:
            recorder.evaluate(checkpoint)
        # The chief of a cluster has others to tell that it is complete.
        if step < schedule.total_steps or training.replica:
            step = run_session(training, checkpoint, recorder, interruption)
    complete = step >= schedule.total_steps
    return TrainingResult(
        step, recorder.evaluation if complete else None, recorder.clock.images_per_second()
    )


def run_session(
    training: Training, checkpoint: str | None, recorder: Recorder, interruption: Interruption
) -> int:
    """Builds the training graph and runs it from a checkpoint to its end or the interruption.

    Returns:
      The last step, whose checkpoint is written.
    """
    model, dataset, schedule, run_dir, init_from, replica = training
    training_step, input_hook = build_graph(model, dataset, schedule, replica)
    if checkpoint is None and init_from is not None:
        left_out = warm_start(init_from, dataset.class_names, schedule.recipe)
        recorder.initialized(init_from.checkpoint, left_out)
    checkpoints = CheckpointWriter(run_dir)
    first_step = checkpoint_step(checkpoint) if checkpoint else 0
    save = functools.partial(recorder.save, checkpoints)

    def begin(_, session):
        if checkpoint is None:
            recorder.begin(session)
        else:
            checkpoints.restore(session, checkpoint)
        if replica:
            replica.restart(session, first_step)

    hooks = [
        input_hook,
        StepHook(training_step, recorder.step_done),
        CheckpointHook(training_step, schedule, interruption, save),
    ]
    if schedule.profile:
        hooks.append(ProfileHook(run_dir / "trace.json", schedule.total_steps - first_step))
    # MonitoredTrainingSession's own checkpoint_dir would restore the newest one, whole or not.
    scaffold = tf.train.Scaffold(init_fn=begin)
    if replica is None:
        session = tf.train.MonitoredTrainingSession(
            scaffold=scaffold, hooks=hooks, config=session_config()
        )
    else:
        replica.build_restart()
        hooks.append(LeadHook(interruption, replica))
        session = tf.train.MonitoredSession(replica.session_creator(scaffold), hooks)
    if first_step >= schedule.total_steps:
        with session:
            return first_step
    return run_steps(session, training_step, input_hook, interruption, replica)


def follow(
    model: SqueezeNetModel,
    dataset: Dataset,
    schedule: Schedule,
    replica: Replica,
    interruption: Interruption,
) -> None:
    """Trains as a worker of a cluster, until its chief has ended.

    Raises:
      RunError: the cluster has come to grief.
      DataError: images turn out to be damaged.
    """
    with tf.Graph().as_default():
        training_step, input_hook = build_graph(model, dataset, schedule, replica)
        hook = FollowHook(training_step, input_hook, interruption, replica)
        creator = replica.session_creator(tf.train.Scaffold())
        session = tf.train.MonitoredSession(creator, [input_hook, hook])
        run_steps(session, training_step, input_hook, interruption, replica)


def run_steps(
    session: tf.train.MonitoredSession,
    training_step: TrainingStep,
    input_hook: InputHook,
    interruption: Interruption,
    replica: Replica | None,
) -> int:
    """Takes steps until a hook stops the session; returns the last one."""
    take_step = functools.partial(session.run, training_step.step)
    if replica:
        take_step = functools.partial(replica.wait_for, take_step, interruption)
    with session:
        while not session.should_stop():
            with input_hook.data_errors():
                step = take_step()
    return int(step)


def build_graph(
    model: SqueezeNetModel, dataset: Dataset, schedule: Schedule, replica: Replica | None = None
) -> tuple[TrainingStep, InputHook]:
    """Builds input pipeline and towers in the default graph."""
    tf.set_random_seed(schedule.seed)
    share = replica.share if replica else ALONE
    with tf.device(replica.device_setter()) if replica else contextlib.nullcontext():
        tf.train.get_or_create_global_step()
        if replica:
            replica.build_queues()
        with tf.name_scope("input"):
            first_step = tf.placeholder(tf.int64, [], name="first_step")
            errors = []
            batches = training_dataset(
                dataset, schedule.batch_size, schedule.seed, first_step, errors, share
            )
            iterator = tf.data.make_initializable_iterator(batches)
            batch_step, crops, labels = iterator.get_next()
        training_step = build_training_step(model, batch_step, crops, labels, schedule, replica)
    return training_step, InputHook(iterator, first_step, errors, share)
