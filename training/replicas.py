"""A training step that several processes take together, through parameter servers (ps).

The variables, and the steps of the optimizers on them, are on the ps. In each step every worker
reads the variables and pushes the gradient of its own images. What happens then:

- Synchronously, the chief takes one gradient of each worker, has their mean applied, and hands
  every worker the number of the next step. tf.train.SyncReplicasOptimizer means to do the same, but
  counts gradients, whoever they are from: a worker may fetch the token of another, and then some
  images count twice and others not at all. It also hands out tokens from a thread that the last
  step leaves waiting. Here each worker has an accumulator and a queue of its own. So the mean is
  that of one process with the whole batch, to rounding, and a worker that is killed and started
  again can only say again what it has said before.
- Asynchronously, each worker has its own gradient applied, and goes on.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Callable

import tensorflow.compat.v1 as tf

from cluster.config import POLL_SECONDS, WAIT_SECONDS, Cluster, answers, lost_members
from training import RunError
from training.batches import Share
from training.interruption import Interruption
from training.runtime import session_config

STOP = -1  # in place of the number of the next step: the chief trains no more
LOSSES = (tf.errors.AbortedError, tf.errors.UnavailableError)  # what gRPC says when a ps is gone
OUT_OF_DATE = -1  # as the step of a gradient: accumulators drop what is older than their own step
FINISH_SECONDS = 10.0  # that workers are given to end by themselves
INTERRUPTED_SECONDS = 5.0  # that a step is given to end after Ctrl-C
WATCH_SECONDS = 5.0  # from one look at the other ps to the next


def ps_queue(name: str, index: int = 0) -> tf.FIFOQueue:
    """A queue of numbers that all processes share, on one of the ps."""
    with tf.device(f"/job:ps/task:{index}"):
        return tf.FIFOQueue(-1, [tf.int64], [[]], shared_name=name, name=name)


class LeastBytes:
    """For replica_device_setter: a variable goes to the ps with the fewest bytes so far.

    In turn, as is its default, two ps would get all kernels and all biases.
    """

    def __init__(self, num_ps: int):
        self.loads = [0] * num_ps

    def __call__(self, variable: tf.Operation) -> int:
        """The number of the ps for a VarHandleOp."""
        shape = tf.TensorShape(variable.get_attr("shape"))
        place = self.loads.index(min(self.loads))
        self.loads[place] += shape.num_elements() * variable.get_attr("dtype").size
        return place


class Replica:
    """This process's part in the cluster's training.

    Args:
      cluster: with this process as chief or worker.
      asynchronous: whether gradients are applied as they come.

    Attributes:
      is_chief: whether it saves, evaluates and shows the training.
      share: which images it trains on.
      device: where its own operations are.
    """

    def __init__(self, cluster: Cluster, asynchronous: bool):
        self.cluster = cluster
        self.asynchronous = asynchronous
        self.is_chief = cluster.job == "chief"
        self.share = Share(cluster.worker_index, cluster.num_workers, asynchronous)
        self.device = f"/job:{cluster.job}/task:{cluster.index}"
        self._server = start_server(cluster)

    def device_setter(self) -> Callable[[tf.Operation], str]:
        """For tf.device: variables go to the ps with the fewest bytes, all else to this process."""
        jobs = {job: own for job, own in self.cluster.addresses.items() if own}
        return tf.train.replica_device_setter(
            worker_device=self.device, cluster=jobs, ps_strategy=LeastBytes(len(jobs["ps"]))
        )

    def session_creator(self, scaffold: tf.train.Scaffold) -> tf.train.SessionCreator:
        """Of one session that knows of the ps and this process alone: others may come and go."""
        config = session_config()
        config.device_filters.extend(["/job:ps", self.device])
        return ClusterSessionCreator(self, scaffold, self._server.target, config)

    def build_queues(self) -> None:
        """Adds to the graph what the processes tell each other by."""
        count = self.cluster.num_workers
        self._next_steps = [ps_queue(f"next_step_of_{index}") for index in range(1, count)]
        self._stopped, self._finished = ps_queue("stopped"), ps_queue("finished")
        self._done = [
            ps_queue(f"done_{index}", index) for index in range(len(self.cluster.addresses["ps"]))
        ]
        self._number = tf.placeholder(tf.int64, [], name="number")
        self._tell_next_step = [queue.enqueue(self._number) for queue in self._next_steps]
        self._tell_stopped = self._stopped.enqueue(self._number)
        self._tell_finished = self._finished.enqueue(self._number)
        self._tell_done = [queue.enqueue(self._number) for queue in self._done]
        self._sizes = [queue.size() for queue in self._next_steps]
        self._empty = [queue.dequeue() for queue in self._next_steps]
        self._old_news = [(q.size(), q.dequeue()) for q in (self._stopped, self._finished)]
        self._num_finished = self._finished.size()
        self._accumulators = []

    def push(
        self, gradients: list[tf.Tensor], numbers: list[tf.Tensor], step: tf.Tensor
    ) -> list[tf.Operation]:
        """Pushes this worker's gradients, and some numbers with them.

        Those of the variables of one ps travel as one vector, so that all of them arrive or none.

        Args:
          gradients: of the trainable variables.
          numbers: float32 scalars whose mean over all workers is wanted too.
          step: int64 scalar that the batch is of; if it is not the cluster's, nothing is pushed.
        """
        variables = tf.trainable_variables()
        global_step = tf.train.get_global_step()
        local_step = tf.where(tf.equal(step, global_step), step, tf.cast(OUT_OF_DATE, tf.int64))
        by_ps: dict[str, list[int]] = {}
        for place, variable in enumerate(variables):
            by_ps.setdefault(variable.device, []).append(place)
        self._layout, pushes = [], []
        for number, (device, places) in enumerate(by_ps.items()):
            tensors = [gradients[place] for place in places]
            if number == 0:
                tensors += numbers
            flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
            with tf.device(device):
                own = [
                    tf.ConditionalAccumulator(
                        tf.float32, flat.shape, shared_name=f"gradients_{number}_of_{worker}"
                    )
                    for worker in range(self.cluster.num_workers)
                ]
            pushes.append(own[self.share.index].apply_grad(flat, local_step))
            self._layout.append((device, places, [tensor.shape for tensor in tensors]))
            self._accumulators.append(own)
        return pushes

    def take_means(self) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Waits for one push of each worker; the means of their gradients and of their numbers."""
        means, numbers = {}, []
        for own, (device, places, shapes) in zip(self._accumulators, self._layout, strict=True):
            with tf.device(device):
                total = tf.add_n([accumulator.take_grad(1) for accumulator in own])
                sizes = [shape.num_elements() for shape in shapes]
                parts = tf.split(total / len(own), sizes)
                parts = [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
            means.update(zip(places, parts[: len(places)], strict=True))
            numbers += parts[len(places) :]
        return [means[place] for place in sorted(means)], numbers

    def tell_others(self, step: tf.Tensor) -> tf.Tensor:
        """The step that was taken, told to whoever waits for it; STOP if the chief has stopped."""
        if self.asynchronous and self.is_chief:
            return step
        if self.asynchronous:
            return tf.where(self._stopped.size() > 0, tf.cast(STOP, tf.int64), step)
        with tf.control_dependencies([queue.enqueue(step) for queue in self._next_steps]):
            return tf.identity(step)

    def next_step(self) -> tf.Tensor:
        """Waits until the chief lets this worker go on; the step to go on with."""
        return self._next_steps[self.cluster.index].dequeue()

    def build_restart(self) -> None:
        """Adds what a chief that is started again needs, to begin where its checkpoint is."""
        self._num_pushed = [
            accumulator.num_accumulated() for own in self._accumulators for accumulator in own
        ]
        self._drop = [accumulator.take_grad(1) for own in self._accumulators for accumulator in own]
        self._set_steps = [
            accumulator.set_global_step(self._number)
            for own in self._accumulators
            for accumulator in own
        ]

    def restart(self, session: tf.Session, step: int) -> None:
        """Forgets what came of another chief's steps, and tells the workers where to go on."""
        for size, old in self._old_news:
            take_all(session, size, old)
        if self.asynchronous:
            return
        session.run(self._set_steps, {self._number: step})
        for count, gradient in zip(self._num_pushed, self._drop, strict=True):
            take_all(session, count, gradient)
        session.run(self._set_steps, {self._number: step})  # taking a gradient has moved them on
        for size, old in zip(self._sizes, self._empty, strict=True):
            take_all(session, size, old)
        session.run(self._tell_next_step, {self._number: step})

    def wait_for(
        self, function: Callable[[], object], interruption: Interruption | None = None
    ) -> object:
        """What a function returns that may have to wait for other members of the cluster.

        It runs in a thread: signals reach Python only while its main thread is not inside
        TensorFlow, and some of TensorFlow's own waits know no end.

        Args:
          function: takes a step, say.
          interruption: one that comes while the function waits ends the process as if it were
            killed.

        Raises:
          RunError: a ps is lost.
        """
        result = concurrent.futures.Future()
        graph = tf.get_default_graph()

        def run():
            try:
                with graph.as_default():
                    result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        interrupted_at, next_look, was_lost = None, time.monotonic() + WATCH_SECONDS, False
        while True:
            with contextlib.suppress(TimeoutError):
                return result.result(timeout=POLL_SECONDS)
            now = time.monotonic()
            if interruption and interruption.received:
                interrupted_at = interrupted_at or now
                if now - interrupted_at > INTERRUPTED_SECONDS:
                    self._leave(interruption)
            if now > next_look:
                next_look = now + WATCH_SECONDS
                is_lost = not all(map(answers, self.cluster.addresses["ps"]))
                if is_lost and was_lost:
                    raise ps_lost(self.cluster)
                was_lost = is_lost

    def _leave(self, interruption: Interruption) -> None:
        print(
            f"{self.cluster.name}: stopped while it waited for others; the same command goes on "
            "from the newest checkpoint",
            flush=True,
        )
        os.kill(os.getpid(), interruption.received)

    def finish(self, session: tf.Session) -> None:
        """As a worker, says that it is done; as chief, ends the workers and then the ps."""
        if not self.is_chief:
            session.run(self._tell_finished, {self._number: 1})
            return
        session.run([self._tell_stopped, *self._tell_next_step], {self._number: STOP})
        ends = time.monotonic() + FINISH_SECONDS
        while (
            session.run(self._num_finished) < self.cluster.num_workers - 1
            and time.monotonic() < ends
        ):
            time.sleep(0.1)
        session.run(self._tell_done, {self._number: 1})


def take_all(session: tf.Session, count: tf.Tensor, item: tf.Tensor) -> None:
    """Takes items until there are none, or until somebody else has taken the last one."""
    with contextlib.suppress(tf.errors.DeadlineExceededError):
        while session.run(count):
            session.run(item.op, options=tf.RunOptions(timeout_in_ms=1_000))


class ClusterSessionCreator(tf.train.SessionCreator):
    """Makes a session that ends in one sentence when a ps is lost.

    MonitoredSession would close it, which waits for the lost ps, and then make another one, which
    waits too, both without end. But nothing can go on: the variables are lost.
    """

    def __init__(
        self, replica: Replica, scaffold: tf.train.Scaffold, target: str, config: tf.ConfigProto
    ):
        self._replica = replica
        self._scaffold = scaffold
        self._target = target
        self._config = config

    def create_session(self) -> tf.Session:
        """The session, with all variables initialized.

        Raises:
          RunError: the chief does not initialize the variables.
        """
        cluster = self._replica.cluster
        try:
            create = self._chief_session if self._replica.is_chief else self._worker_session
            session = self._replica.wait_for(create)
        except tf.errors.DeadlineExceededError:
            raise RunError(
                f"{cluster.name}: the chief at {cluster.addresses['chief'][0]} has not initialized "
                f"the variables within {WAIT_SECONDS:.0f} seconds; look what it says."
            ) from None
        except LOSSES as error:
            raise ps_lost(cluster) from error
        return guarded(session, cluster)

    def _chief_session(self) -> tf.Session:
        creator = tf.train.ChiefSessionCreator(self._scaffold, self._target, self._config)
        return creator.create_session()

    def _worker_session(self) -> tf.Session:
        scaffold = self._scaffold.finalize()
        manager = tf.train.SessionManager(
            local_init_op=scaffold.local_init_op,
            ready_op=scaffold.ready_op,
            ready_for_local_init_op=scaffold.ready_for_local_init_op,
            recovery_wait_secs=POLL_SECONDS,
        )
        return manager.wait_for_session(self._target, self._config, WAIT_SECONDS)


def ps_lost(cluster: Cluster) -> RunError:
    """What ends a member of a cluster that has lost its variables."""
    return RunError(
        f"{cluster.name}: lost {lost_members(cluster)} and the variables with it; start all tasks "
        "again, and the chief goes on from the newest checkpoint."
    )


def guarded(session: tf.Session, cluster: Cluster) -> tf.Session:
    """The session, whose `run` raises RunError when a ps is lost, and which then is not closed."""
    run = session.run

    def run_guarded(*args, **kwargs):
        try:
            return run(*args, **kwargs)
        except LOSSES as error:
            session.close = lambda: None
            raise ps_lost(cluster) from error

    session.run = run_guarded
    return session


def start_server(cluster: Cluster) -> tf.train.Server:
    """TensorFlow's server of this task.

    Raises:
      RunError: its port cannot be opened.
    """
    jobs = {job: own for job, own in cluster.addresses.items() if own}
    try:
        return tf.train.Server(jobs, cluster.job, cluster.index, config=session_config())
    except tf.errors.OpError as error:
        address = cluster.addresses[cluster.job][cluster.index]
        raise RunError(
            f"{cluster.name}: cannot listen at {address} ({error.message}); end what else listens "
            "there, or correct TF_CONFIG."
        ) from error


def serve(cluster: Cluster) -> None:
    """Holds variables, as a ps, until the chief has ended.

    Raises:
      RunError: its port cannot be opened, or another ps is lost.
    """
    server = start_server(cluster)
    print(f"{cluster.name}: serves at {cluster.addresses['ps'][cluster.index]}", flush=True)
    with tf.Graph().as_default():
        size = ps_queue(f"done_{cluster.index}", cluster.index).size()
        config = tf.ConfigProto(device_filters=[f"/job:ps/task:{cluster.index}"])
        with tf.Session(server.target, config=config) as session:
            were_there, lost, next_look = set(), set(), time.monotonic()
            while not session.run(size):
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + WATCH_SECONDS
                    if lost:  # and not because all are about to end
                        raise ps_lost(cluster)
                    there = {address for address in cluster.addresses["ps"] if answers(address)}
                    were_there |= there
                    lost = were_there - there
                time.sleep(POLL_SECONDS)
    print(f"{cluster.name}: done", flush=True)
