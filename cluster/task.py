"""One task of a cluster: its server, its all-reduce, and how it notices that another is lost."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import tensorflow.compat.v1 as tf

from cluster.config import START_SECONDS, Config
from training import RunError, Stopped
from training.batches import Share
from training.command import Interruption
from training.runtime import session_config
from training.step import Gradients, TrainingStep

PATIENCE_SECONDS = 90.0  # with a task that no longer answers: it is frozen, or cut off
REPORT_SECONDS = 30.0  # between two lines that say who is being waited for
LOOK_SECONDS = 5.0  # between two looks at the other tasks while a step takes long
POLL_SECONDS = 0.5
INTERRUPTED_SECONDS = 5.0  # for the step in progress to end after a signal
# What TensorFlow raises in the other tasks when one is lost.
LOSSES = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError),
    *(tf.errors.DeadlineExceededError, tf.errors.InternalError),
)
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
# What an HTTP/2 client says first, with an empty SETTINGS frame; a gRPC server answers at once.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
GROUP_KEY = 1  # of the collective operations: all tasks are one group
SUM_KEY, BARRIER_KEY, FIRST_BROADCAST_KEY = 1, 2, 100
ANSWERS, SILENT, CLOSED = "answers", "silent", "closed"  # states of a task's port


def probe(address: str, seconds: float = 2.0) -> str:
    """Whether a task's server answers: a process that is frozen still accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as connection:
            connection.sendall(GREETING)
            return ANSWERS if connection.recv(1) else CLOSED
    except (ConnectionRefusedError, ConnectionResetError):
        return CLOSED
    except OSError:  # a timeout, or no way to the host
        return SILENT


def settle(result: Future, function: Callable[[], object]) -> None:
    """Calls the function and puts what it returns or raises into the result."""
    try:
        result.set_result(function())
    except BaseException as error:
        result.set_exception(error)


class SharedInterruption(Interruption):
    """An interruption that all tasks obey after the same step.

    Attributes:
      own: the signal that this process got, or None.
      received: the signal that all tasks have agreed to obey, or None.
    """

    own: signal.Signals | None = None

    def _note(self, number, frame):
        agreed = self.received
        super()._note(number, frame)
        self.own, self.received = self.received, agreed


class Task:
    """This process as one of the tasks that train together.

    Attributes:
      name: "chief" or "worker 0", for people.
      is_chief: whether it saves, evaluates and shows the run.
      share: which part of every batch it trains on.
      interruption: the kind of Interruption that the training loop obeys.
    """

    interruption = SharedInterruption

    def __init__(self, config: Config):
        index = config.index + (config.job == "worker")
        self.name = list(config.tasks)[index]
        self.is_chief = index == 0
        self.share = Share(index, len(config.tasks))
        self._config = config
        self._others = {n: a for n, a in config.tasks.items() if n != self.name}
        self._device = f"/job:{config.job}/task:{config.index}"
        self._server: tf.train.Server | None = None

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Starts this task's server, and waits until all other tasks have started theirs.

        Raises:
          RunError: the port is taken, or a task does not start within START_SECONDS.
        """
        self._server = self._start_server()
        self._wait_for_start()
        print(f"{self.name}: training with {', '.join(self._others)}", flush=True)
        yield
        print(f"{self.name}: done", flush=True)

    def device(self) -> contextlib.AbstractContextManager:
        """Where this task's operations and variables are: in this process."""
        return tf.device(self._device)

    def all_reduce(self, mean: Gradients) -> Gradients:
        """The mean over all tasks, of the signals that have come too, as one flat vector."""
        with tf.name_scope("all_reduce"):
            self.signals = tf.placeholder(tf.float32, [len(SIGNALS)], name="signals")
            parts = [*mean.gradients, mean.loss, mean.accuracy, self.signals]
            flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
            sizes = [part.shape.num_elements() for part in parts]
            means = tf.split(self._mean_over_tasks(flat, SUM_KEY), sizes)
            *gradients, loss, accuracy, self.agreed = [
                tf.reshape(part, like.shape) for part, like in zip(means, parts, strict=True)
            ]
        return Gradients(gradients, loss, accuracy)

    def session(self, interruption: SharedInterruption) -> tf.Session:
        """A session of this task alone, whose `run` notices when another task is lost."""
        return WatchedSession(self, interruption, self._server.target, self._session_config())

    def broadcast(self, session: tf.Session, step: int) -> int:
        """Gives every task the chief's variables; returns the chief's global_step.

        Args:
          session: of this task, with all variables initialized.
          step: the global_step of those.
        """
        group = {"group_size": self.share.count, "group_key": GROUP_KEY}
        copies = []
        with self.device(), tf.name_scope("broadcast"):
            for key, variable in enumerate(tf.global_variables(), FIRST_BROADCAST_KEY):
                if self.is_chief:
                    copies.append(
                        tf.raw_ops.CollectiveBcastSend(
                            input=variable.read_value(),
                            shape=variable.shape,
                            instance_key=key,
                            **group,
                        )
                    )
                else:
                    value = tf.raw_ops.CollectiveBcastRecv(
                        T=variable.dtype.base_dtype,
                        shape=variable.shape,
                        instance_key=key,
                        **group,
                    )
                    copies.append(variable.assign(value, read_value=False))
        session.run(tf.group(copies))
        return int(session.run(tf.train.get_global_step()))

    def wait_for_all(self, session: tf.Session) -> None:
        """Returns when every task has come here: then the chief has saved the last step."""
        with self.device():
            session.run(self._mean_over_tasks(tf.constant([0.0]), BARRIER_KEY))

    def lost(self, tasks: Iterable[str]) -> RunError:
        """What ends this task when others, as `absent` names them, are lost."""
        return RunError(
            f"{self.name}: lost {', '.join(tasks) or 'a task, which has been restarted since'}; "
            "start all tasks again, and they resume from the chief's newest checkpoint."
        )

    def absent(self) -> dict[str, bool]:
        """The other tasks that do not answer, and of each whether its port is closed."""
        with ThreadPoolExecutor(16) as threads:
            states = list(threads.map(probe, self._others.values()))
        return {
            f"{name} at {address}": state is CLOSED
            for (name, address), state in zip(self._others.items(), states, strict=True)
            if state is not ANSWERS
        }

    def _mean_over_tasks(self, vector: tf.Tensor, key: int) -> tf.Tensor:
        return tf.raw_ops.CollectiveReduce(
            input=vector,
            group_size=self.share.count,
            group_key=GROUP_KEY,
            instance_key=key,
            merge_op="Add",
            final_op="Div",
            subdiv_offsets=[0],
        )

    def _session_config(self) -> tf.ConfigProto:
        config = session_config()
        config.experimental.collective_group_leader = "/job:chief/replica:0/task:0"
        config.device_filters.append(self._device)  # of no use to it: what the others have
        return config

    def _start_server(self) -> tf.train.Server:
        job, index, addresses = self._config.job, self._config.index, self._config.addresses
        try:
            return tf.train.Server(addresses, job, index, config=self._session_config())
        except tf.errors.OpError as error:
            raise RunError(
                f"{self.name}: cannot listen at {addresses[job][index]} ({error.message}); stop "
                "the program that uses the port, or correct TF_CONFIG."
            ) from None

    def _wait_for_start(self) -> None:
        started = reported = time.monotonic()
        reported -= REPORT_SECONDS  # so that the first line comes at once
        while absent := self.absent():
            now = time.monotonic()
            if now - started > START_SECONDS:
                raise RunError(
                    f"{self.name}: {', '.join(absent)} did not start within {START_SECONDS:.0f} "
                    "seconds; start all tasks, or correct TF_CONFIG."
                )
            if now - reported >= REPORT_SECONDS:
                reported = now
                print(f"{self.name}: waiting for {', '.join(absent)} to start", flush=True)
            time.sleep(POLL_SECONDS)


class WatchedSession(tf.Session):
    """A session whose `run` waits for the other tasks, and notices when one is lost.

    TensorFlow runs in a thread meanwhile: signals reach Python only while its main thread is not
    inside TensorFlow, and a collective operation waits for a frozen task without end.
    """

    def __init__(
        self, task: Task, interruption: SharedInterruption, target: str, config: tf.ConfigProto
    ):
        super().__init__(target, config=config)
        self._task = task
        self._interruption = interruption
        self._is_lost = False

    def run(self, fetches, feed_dict=None, **options):
        """As tf.Session.run; a TrainingStep also tells all tasks of a signal that one has got.

        Raises:
          RunError: a task is lost.
          Stopped: a signal came, and the step did not end within INTERRUPTED_SECONDS.
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
        """Closes it, unless a task is lost: then this would wait for that task."""
        if not self._is_lost:
            super().close()

    def _watch(self, function: Callable[[], object]) -> object:
        result = Future()
        threading.Thread(target=settle, args=[result, function], daemon=True).start()
        watch = Watch(self._task, self._interruption)
        try:
            while True:
                try:
                    return result.result(POLL_SECONDS)
                except TimeoutError:
                    watch.look()
                except LOSSES as error:
                    watch.name_the_lost(error)
        except (RunError, Stopped):
            self._is_lost = True
            raise


class Watch:
    """Looks at the other tasks while this one waits for them.

    Args:
      task: this one.
      interruption: its signals.
    """

    def __init__(self, task: Task, interruption: SharedInterruption):
        self._task = task
        self._interruption = interruption
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._next_report = time.monotonic() + REPORT_SECONDS
        self._ends: float | None = None  # after a signal
        self._absent_since: dict[str, float] = {}

    def look(self) -> None:
        """Reports every REPORT_SECONDS who is being waited for.

        Raises:
          RunError: a task is gone, or has not answered for PATIENCE_SECONDS.
          Stopped: a signal came INTERRUPTED_SECONDS ago.
        """
        now = time.monotonic()
        if self._interruption.own:
            self._ends = self._ends or now + INTERRUPTED_SECONDS
            if now > self._ends:
                raise Stopped(
                    f"{self._task.name}: stopped while waiting for other tasks; start all tasks "
                    "again to resume from the chief's newest checkpoint",
                    self._interruption.own,
                )
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        absent = self._task.absent()
        self._absent_since = {name: self._absent_since.get(name, now) for name in absent}
        lost = [
            name
            for name, since in self._absent_since.items()
            if now - since >= (LOOK_SECONDS if absent[name] else PATIENCE_SECONDS)
        ]
        if lost:
            raise self._task.lost(lost)
        if now >= self._next_report:
            self._next_report = now + REPORT_SECONDS
            whom = ", ".join(absent) if absent else "the other tasks, which are busy"
            print(f"{self._task.name}: waiting for {whom}", flush=True)

    def name_the_lost(self, error: tf.errors.OpError) -> None:
        """Raises the RunError that names the tasks whose loss TensorFlow has noticed."""
        for _ in range(6):  # a process that dies may close its port last
            if absent := self._task.absent():
                break
            time.sleep(POLL_SECONDS)
        raise self._task.lost(absent) from error
