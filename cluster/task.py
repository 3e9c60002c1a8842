"""One task of a cluster: its server, its all-reduce, and how it detects that another is lost."""

import contextlib
import dataclasses
import os
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

from base import Stopped, UserError
from base.program import Interruption
from base.runtime import session_config
from cluster.config import START_SECONDS, Config
from squeezenet_model import tf
from training.plan import Plan
from training.recipe import PRECISIONS, BatchPart, Schedule
from training.step import BatchResult, TrainingStep

SILENCE_SECONDS = 90.0  # to wait for a task that does not answer: it is frozen, or cut off
CLOSED_SECONDS = 5.0  # to wait for one whose port is closed: its process has ended
INTERRUPTED_SECONDS = 15.0  # for the current step to finish after a signal
REPORT_SECONDS = 30.0  # between two lines that say which tasks are being waited for
LOOK_SECONDS = 1.0  # between two looks at the other tasks while a step takes long
DYING_SECONDS = 2.0  # for a process that dies to close its port, too
RESUME = "start all tasks again to resume from the chief's newest checkpoint"
# TensorFlow raises these in the other tasks when one is lost, or has been restarted.
LOST_TASK_ERRORS = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError),
    *(tf.errors.DeadlineExceededError, tf.errors.InternalError, tf.errors.FailedPreconditionError),
)
JOB = "train"  # TensorFlow's name for all tasks, the chief and the workers
REDUCE_KEY, BARRIER_KEY, PARTING_KEY, SCHEDULE_KEY, PRECISION_KEY = range(1, 6)
FIRST_BROADCAST_KEY = 100  # of the variables


def patience(address: str, timeout: float = 2.0) -> float:
    """How many seconds to wait for a task, by the state of its port: 0 if it answers.

    A frozen process still accepts connections, so it has to answer.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as connection:
            # The preface of HTTP/2 and an empty SETTINGS frame; a gRPC server answers at once.
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            return 0.0 if connection.recv(1) else CLOSED_SECONDS
    except ConnectionError:
        return CLOSED_SECONDS
    except OSError:  # a timeout, or the host is unreachable
        return SILENCE_SECONDS


class SharedInterruption(Interruption):
    """An interruption whose signal counts as `received` once all tasks have agreed on it.

    Attributes:
      own: the signal that this process got, or None.
      since: when it got it, in seconds.
    """

    own: int | None = None
    since = 0.0

    def _note(self, number, frame):
        agreed = self.received
        super()._note(number, frame)
        self.own, self.received = self.received, agreed
        self.since = self.since or time.monotonic()  # systems may repeat a signal


class Task:
    """This process as one of the tasks that train together; a Cluster.

    Attributes:
      name: "chief" or "worker 0", for messages.
      signals, agreed: the tensors by which the tasks tell each other of their signals, once there
        is an all-reduce: float32 [signals], 1 for those that this task got; their mean over all.
    """

    interruption = SharedInterruption

    def __init__(self, config: Config):
        self.name, self.is_chief = config.name, config.job == "chief"
        self.part = BatchPart(list(config.tasks).index(self.name), len(config.tasks))
        self._tasks = config.tasks
        self._others = {name: at for name, at in config.tasks.items() if name != self.name}
        self._device = f"/job:{JOB}/replica:0/task:{self.part.index}"
        self._group = {"group_size": self.part.count, "group_key": 1}
        self._config = session_config()
        self._config.experimental.collective_group_leader = f"/job:{JOB}/replica:0/task:0"
        self._config.device_filters.append(self._device)  # nothing runs on other tasks' devices

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Starts this task's server, and waits until all other tasks have started theirs.

        Raises UserError if the port is taken, or a task does not start within START_SECONDS.
        """
        # Whatever proxies the environment names; gRPC prefers this variable to no_proxy.
        hosts = [address.rpartition(":")[0].strip("[]") for address in self._tasks.values()]
        os.environ.update(no_grpc_proxy=",".join(hosts))
        try:
            self._server = tf.train.Server(
                {JOB: list(self._tasks.values())}, JOB, self.part.index, config=self._config
            )
        except tf.errors.OpError as error:
            raise UserError(
                f"{self.name}: cannot listen on {self._tasks[self.name]} ({error.message}); stop "
                "the program that uses the port, or correct TF_CONFIG."
            ) from None
        started, next_report = time.monotonic(), 0.0
        while absent := ", ".join(self.absent()):
            now = time.monotonic()
            if now >= next_report:
                next_report = now + REPORT_SECONDS
                print(f"{self.name}: waiting for {absent} to start", flush=True)
            if now - started > START_SECONDS:
                raise UserError(
                    f"{self.name}: {absent} did not start within {START_SECONDS:.0f} seconds; "
                    "start all tasks, or correct TF_CONFIG."
                )
            time.sleep(LOOK_SECONDS)
        print(f"{self.name}: training with {', '.join(self._others)}", flush=True)
        yield
        print(f"{self.name}: done", flush=True)

    def adapted(self, plan: Plan) -> Plan:
        """The plan with the chief's precision: by default each would have its own processor's."""
        own, interruption = PRECISIONS.index(plan.schedule.precision), SharedInterruption()
        with tf.Graph().as_default(), self.device(), self.session(interruption) as session:
            chiefs = session.run(self._from_chief(tf.constant(own, tf.int64), PRECISION_KEY))
        schedule = dataclasses.replace(plan.schedule, precision=PRECISIONS[chiefs])
        return dataclasses.replace(plan, schedule=schedule)

    def device(self) -> contextlib.AbstractContextManager:
        """Places all operations and variables of this task in this process."""
        return tf.device(self._device)

    def session(self, interruption: Interruption) -> tf.Session:
        """A session of this task, whose `run` detects that another task is lost."""
        assert isinstance(interruption, SharedInterruption)
        return WatchedSession(self, interruption, self._server.target, self._config)

    def all_reduce(self, mean: BatchResult) -> BatchResult:
        """The mean over all tasks, as one flat vector, which also carries their signals."""
        with tf.name_scope("all_reduce"):
            self.signals = tf.placeholder(tf.float32, [len(Interruption.SIGNALS)], name="signals")
            parts = [*mean.gradients, mean.loss, mean.accuracy, self.signals]
            flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
            sizes = [part.shape.num_elements() for part in parts]
            means = tf.split(self._mean_over_tasks(flat, REDUCE_KEY), sizes)
            *gradients, loss, accuracy, self.agreed = [
                tf.reshape(part, like.shape) for part, like in zip(means, parts, strict=True)
            ]
        return BatchResult(gradients, loss, accuracy)

    def broadcast(self, session: tf.Session, step: int, schedule: Schedule) -> int:
        """Sends the chief's variables to every task; returns the chief's step.

        Raises UserError if this task's schedule differs from the chief's.
        """
        own = zlib.crc32(repr(dataclasses.replace(schedule, num_towers=1, num_gpus=0)).encode())
        with tf.name_scope("broadcast"):
            chiefs = self._from_chief(tf.constant(own, tf.int64), SCHEDULE_KEY)
            copies = [
                variable.assign(self._from_chief(variable.read_value(), key), read_value=False)
                for key, variable in enumerate(tf.global_variables(), FIRST_BROADCAST_KEY)
            ]
        if session.run(chiefs) != own:
            raise UserError(
                f"{self.name}: its flags or its number of images differ from the chief's; start "
                "all tasks with the same flags and data."
            )
        session.run(copies)
        return int(session.run(tf.train.get_global_step()))

    def wait_for_all(self, session: tf.Session) -> None:
        """A barrier: when all tasks have reached it, the chief has saved the last step.

        A task must not end while another still needs its answer to pass the barrier. So there is a
        second one, which all can reach only after they have passed the first; whoever passes it
        may end, whatever happens to the others there.
        """
        session.run(self._mean_over_tasks(tf.constant([0.0]), BARRIER_KEY))
        with contextlib.suppress(UserError):
            session.run(self._mean_over_tasks(tf.constant([0.0]), PARTING_KEY))

    def absent(self) -> dict[str, float]:
        """The other tasks that do not answer, and for how many seconds this is tolerated."""
        with ThreadPoolExecutor(16) as threads:
            limits = threads.map(patience, self._others.values())
        others = zip(self._others.items(), limits, strict=True)
        return {f"{name} at {address}": limit for (name, address), limit in others if limit}

    def lost(self, tasks: Iterable[str]) -> UserError:
        """The error that ends this task when others are lost."""
        return UserError(f"{self.name}: lost {', '.join(tasks)}; {RESUME}.")

    def _mean_over_tasks(self, vector: tf.Tensor, key: int) -> tf.Tensor:
        how = {"merge_op": "Add", "final_op": "Div", "subdiv_offsets": [0]}
        return tf.raw_ops.CollectiveReduce(input=vector, instance_key=key, **how, **self._group)

    def _from_chief(self, value: tf.Tensor, key: int) -> tf.Tensor:
        how = {"shape": value.shape, "instance_key": key, **self._group}
        if self.is_chief:
            return tf.raw_ops.CollectiveBcastSend(input=value, **how)
        return tf.raw_ops.CollectiveBcastRecv(T=value.dtype, **how)


class WatchedSession(tf.Session):
    """A session whose `run` says which tasks it waits for, and detects that a task is lost.

    TensorFlow runs in a thread: signals reach Python only while its main thread is not inside
    TensorFlow, and a collective operation waits forever for a frozen task.
    """

    def __init__(self, task: Task, interruption: SharedInterruption, target: str, config: Any):
        super().__init__(target, config=config)
        self._task, self._interruption = task, interruption
        self._thread = ThreadPool(1)  # for whose end Python does not wait

    def run(self, fetches: Any, *feeds: Any, **options: Any) -> Any:
        """As tf.Session.run; a TrainingStep also tells all tasks that one has received a signal.

        Raises UserError when a task is lost, and Stopped if the step does not finish within
        INTERRUPTED_SECONDS of a signal.
        """
        if not isinstance(fetches, TrainingStep):
            return self._watch(fetches, *feeds, **options)
        numbers, interruption = Interruption.SIGNALS, self._interruption
        own = {self._task.signals: [float(number == interruption.own) for number in numbers]}
        values, agreed = self._watch([fetches, self._task.agreed], own)
        received = (number for number, mean in zip(numbers, agreed, strict=True) if mean)
        interruption.received = next(received, None)
        return values

    def close(self) -> None:
        """Does nothing: it would wait for a task that is lost, and the process ends anyway."""

    def _watch(self, *arguments: Any, **options: Any) -> Any:
        """Calls tf.Session.run in a thread, and looks at the other tasks until it returns."""
        task, interruption = self._task, self._interruption
        started = reported = time.monotonic()
        absent_since: dict[str, float] = {}
        result = self._thread.apply_async(super().run, arguments, options)
        while True:
            result.wait(LOOK_SECONDS)
            if result.ready():
                break
            now, absent = time.monotonic(), task.absent()
            absent_since = {name: absent_since.get(name, now) for name in absent}
            if lost := [n for n, limit in absent.items() if now - absent_since[n] >= limit]:
                raise task.lost(lost)
            whom = ", ".join(absent) or "the operation to finish; all other tasks respond"
            if interruption.own and now - max(started, interruption.since) > INTERRUPTED_SECONDS:
                raise Stopped(
                    f"{task.name}: stopped while waiting for {whom}; {RESUME}", interruption.own
                )
            if now - reported >= REPORT_SECONDS:
                reported = now
                print(f"{task.name}: waiting for {whom}", flush=True)
        try:
            return result.get()
        except LOST_TASK_ERRORS as error:  # which does not say which task it is
            time.sleep(DYING_SECONDS)
            restarted = [f"a task that has been restarted since ({type(error).__name__})"]
            raise task.lost(task.absent() or restarted) from error
