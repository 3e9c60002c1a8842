"""One task of a cluster: its server, its all-reduce, and how it detects that another is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import tensorflow.compat.v1 as tf

from cluster.config import START_SECONDS, Config
from training import RunError, Stopped
from training.command import Interruption
from training.recipe import Schedule, Share
from training.runtime import session_config
from training.step import Gradients, TrainingStep

PATIENCE_SECONDS = 90.0  # to wait for a task that no longer answers: it is frozen, or cut off
INTERRUPTED_SECONDS = 15.0  # for the current step to finish after a signal
REPORT_SECONDS = 30.0  # between two lines that say which tasks are being waited for
LOOK_SECONDS = 5.0  # between two checks of the other tasks while a step takes long
POLL_SECONDS = 0.5
RESUME = "start all tasks again to resume from the chief's newest checkpoint"
# TensorFlow raises these in the other tasks when one is lost, or has been restarted.
LOSSES = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError),
    *(tf.errors.DeadlineExceededError, tf.errors.InternalError, tf.errors.FailedPreconditionError),
)
SIGNALS = [getattr(signal, name) for name in Interruption.SIGNALS if hasattr(signal, name)]
GROUP_KEY = 1  # of the collective operations: all tasks are one group
REDUCE_KEY, BARRIER_KEY, SCHEDULE_KEY, FIRST_BROADCAST_KEY = 1, 2, 3, 100
# The preface of an HTTP/2 client and an empty SETTINGS frame; a gRPC server answers at once.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
ANSWERS, SILENT, CLOSED = "answers", "silent", "closed"  # states of a task's port


def probe(address: str, seconds: float = 2.0) -> str:
    """The state of a task's port. It has to answer: a frozen process still accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as connection:
            connection.sendall(GREETING)
            return ANSWERS if connection.recv(1) else CLOSED
    except (ConnectionRefusedError, ConnectionResetError):
        return CLOSED
    except OSError:  # a timeout, or the host is unreachable
        return SILENT


class SharedInterruption(Interruption):
    """An interruption whose signal counts as `received` once all tasks have agreed on it."""

    own: signal.Signals | None = None  # the signal that this process got

    def _note(self, number, frame):
        agreed = self.received
        super()._note(number, frame)
        self.own, self.received = self.received, agreed


class Task:
    """This process as one of the tasks that train together."""

    interruption = SharedInterruption  # the class that the training loop uses

    def __init__(self, config: Config):
        index = config.index + (config.job == "worker")
        self.name = list(config.tasks)[index]  # "chief" or "worker 0", for messages
        self.is_chief = index == 0  # it saves, evaluates and reports
        self.share = Share(index, len(config.tasks))  # which part of every batch it trains on
        self._config, self._server = config, None
        self._others = {n: a for n, a in config.tasks.items() if n != self.name}
        self._device = f"/job:{config.job}/task:{config.index}"
        self._group = {"group_size": self.share.count, "group_key": GROUP_KEY}

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Starts this task's server, and waits until all other tasks have started theirs.

        Raises RunError if the port is taken, or a task does not start within START_SECONDS.
        """
        job, index, addresses = self._config.job, self._config.index, self._config.addresses
        try:
            self._server = tf.train.Server(addresses, job, index, config=self._session_config())
        except tf.errors.OpError as error:
            raise RunError(
                f"{self.name}: cannot listen on {addresses[job][index]} ({error.message}); stop "
                "the program that uses the port, or correct TF_CONFIG."
            ) from None
        started, next_report = time.monotonic(), 0.0
        while absent := self.absent():
            now, whom = time.monotonic(), ", ".join(absent)
            if now - started > START_SECONDS:
                raise RunError(
                    f"{self.name}: {whom} did not start within {START_SECONDS:.0f} seconds; start "
                    "all tasks, or correct TF_CONFIG."
                )
            if now >= next_report:
                next_report = now + REPORT_SECONDS
                print(f"{self.name}: waiting for {whom} to start", flush=True)
            time.sleep(POLL_SECONDS)
        print(f"{self.name}: training with {', '.join(self._others)}", flush=True)
        yield
        print(f"{self.name}: done", flush=True)

    def device(self) -> contextlib.AbstractContextManager:
        """Places all operations and variables of this task in this process."""
        return tf.device(self._device)

    def session(self, interruption: SharedInterruption) -> tf.Session:
        """A session of this task, whose `run` detects that another task is lost."""
        return WatchedSession(self, interruption, self._server.target, self._session_config())

    def all_reduce(self, mean: Gradients) -> Gradients:
        """The mean over all tasks, as one flat vector, which also carries their signals."""
        with tf.name_scope("all_reduce"):
            self.signals = tf.placeholder(tf.float32, [len(SIGNALS)], name="signals")
            parts = [*mean.gradients, mean.loss, mean.accuracy, self.signals]
            flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
            sizes = [part.shape.num_elements() for part in parts]
            means = tf.split(self._mean_over_tasks(flat, REDUCE_KEY), sizes)
            *gradients, loss, accuracy, self.agreed = [
                tf.reshape(part, like.shape) for part, like in zip(means, parts, strict=True)
            ]
        return Gradients(gradients, loss, accuracy)

    def broadcast(self, session: tf.Session, step: int, schedule: Schedule) -> int:
        """Sends the chief's variables to every task; returns the chief's step.

        Raises RunError if this task's schedule differs from the chief's.
        """
        same = dataclasses.replace(schedule, num_towers=1, num_gpus=0)
        own = zlib.crc32(repr(same).encode())
        with tf.name_scope("broadcast"):
            chiefs = self._from_chief(tf.constant(own, tf.int64), SCHEDULE_KEY)
            copies = [
                variable.assign(self._from_chief(variable.read_value(), key), read_value=False)
                for key, variable in enumerate(tf.global_variables(), FIRST_BROADCAST_KEY)
            ]
        if session.run(chiefs) != own:
            raise RunError(
                f"{self.name}: its flags or its number of images differ from the chief's; start "
                "all tasks with the same flags and data."
            )
        session.run(copies)
        return int(session.run(tf.train.get_global_step()))

    def wait_for_all(self, session: tf.Session) -> None:
        """A barrier: when all tasks have reached it, the chief has saved the last step."""
        session.run(self._mean_over_tasks(tf.constant([0.0]), BARRIER_KEY))

    def absent(self) -> dict[str, float]:
        """The other tasks that do not answer, and for how many seconds this is tolerated."""
        with ThreadPoolExecutor(16) as threads:
            states = list(threads.map(probe, self._others.values()))
        return {
            f"{name} at {address}": LOOK_SECONDS if state is CLOSED else PATIENCE_SECONDS
            for (name, address), state in zip(self._others.items(), states, strict=True)
            if state is not ANSWERS
        }

    def lost(self, tasks: Iterable[str]) -> RunError:
        """The error that ends this task when others are lost."""
        return RunError(f"{self.name}: lost {', '.join(tasks)}; {RESUME}.")

    def lost_by(self, error: tf.errors.OpError) -> RunError:
        """The same for an error from TensorFlow, which does not say which task is lost."""
        for _ in range(6):  # a process that dies may close its port last
            if absent := self.absent():
                return self.lost(absent)
            time.sleep(POLL_SECONDS)
        return self.lost([f"a task that has been restarted since ({type(error).__name__})"])

    def _mean_over_tasks(self, vector: tf.Tensor, key: int) -> tf.Tensor:
        options = {"merge_op": "Add", "final_op": "Div", "subdiv_offsets": [0], **self._group}
        return tf.raw_ops.CollectiveReduce(input=vector, instance_key=key, **options)

    def _from_chief(self, value: tf.Tensor, key: int) -> tf.Tensor:
        options = {"shape": value.shape, "instance_key": key, **self._group}
        if self.is_chief:
            return tf.raw_ops.CollectiveBcastSend(input=value, **options)
        return tf.raw_ops.CollectiveBcastRecv(T=value.dtype, **options)

    def _session_config(self) -> tf.ConfigProto:
        config = session_config()
        config.experimental.collective_group_leader = "/job:chief/replica:0/task:0"
        config.device_filters.append(self._device)  # nothing runs on another task's devices
        return config


class WatchedSession(tf.Session):
    """A session whose `run` says which tasks it waits for, and detects that a task is lost.

    TensorFlow runs in a thread: signals reach Python only while its main thread is not inside
    TensorFlow, and a collective operation waits forever for a frozen task.
    """

    def __init__(self, task: Task, interruption: SharedInterruption, target: str, config):
        super().__init__(target, config=config)
        self._task, self._interruption = task, interruption
        self._is_waiting = False

    def run(self, fetches, feed_dict=None, **options):
        """As tf.Session.run; a TrainingStep also tells all tasks that one has received a signal.

        Raises RunError when a task is lost, and Stopped if the step does not finish within
        INTERRUPTED_SECONDS of a signal.
        """
        run = super().run
        if not isinstance(fetches, TrainingStep):
            return self._watch(lambda: run(fetches, feed_dict, **options))
        own = [float(self._interruption.own == number) for number in SIGNALS]
        values, agreed = self._watch(
            lambda: run([fetches, self._task.agreed], {self._task.signals: own}, **options)
        )
        for number, share in zip(SIGNALS, agreed, strict=True):
            if share:
                self._interruption.received = number
        return values

    def close(self):
        """Closes the session, unless a task is lost: that would wait for the lost task."""
        if not self._is_waiting:
            super().close()

    def _watch(self, function: Callable[[], object]) -> object:
        task, interruption = self._task, self._interruption
        result, now = Future(), time.monotonic()
        threading.Thread(target=settle, args=[result, function], daemon=True).start()
        next_look, next_report, deadline = now + LOOK_SECONDS, now + REPORT_SECONDS, math.inf
        absent_since: dict[str, float] = {}
        self._is_waiting = True
        while not wait([result], POLL_SECONDS).done:
            now = time.monotonic()
            if interruption.own and deadline == math.inf:  # report at once
                deadline, next_look, next_report = now + INTERRUPTED_SECONDS, now, now
            if now > deadline:
                message = f"{task.name}: stopped while waiting for other tasks; {RESUME}"
                raise Stopped(message, interruption.own)
            if now < next_look:
                continue
            next_look = now + LOOK_SECONDS
            absent = task.absent()
            absent_since = {name: absent_since.get(name, now) for name in absent}
            if lost := [n for n, since in absent_since.items() if now - since >= absent[n]]:
                raise task.lost(lost)
            if now >= next_report:
                next_report = now + REPORT_SECONDS
                whom = ", ".join(absent) or "the operation to finish; all other tasks respond"
                print(f"{task.name}: waiting for {whom}", flush=True)
        try:
            value = result.result()
        except LOSSES as error:
            raise task.lost_by(error) from error
        self._is_waiting = False
        return value


def settle(result: Future, function: Callable[[], object]) -> None:
    """Calls the function and stores its return value or exception in the result."""
    try:
        result.set_result(function())
    except BaseException as error:
        result.set_exception(error)
