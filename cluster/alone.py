"""What the training loop needs to know of a cluster, and the answers of a process by itself."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from base.program import Interruption
from base.runtime import session_config
from squeezenet_model import tf
from training.plan import Plan
from training.recipe import WHOLE_BATCH, BatchPart, Schedule
from training.step import BatchResult


class Cluster(Protocol):
    """What the training loop needs to know of the tasks that train together."""

    @property
    def part(self) -> BatchPart:
        """Which part of every batch this task trains on."""

    @property
    def all_reduce(self) -> Callable[[BatchResult], BatchResult] | None:
        """Builds the mean over all tasks from this task's own; None for a single process."""

    def interruption(self) -> Interruption:
        """A context manager that notes when a signal has told any of the tasks to end."""

    def joined(self) -> AbstractContextManager:
        """A context in which all tasks have started and can reach each other.

        Raises UserError if they do not start.
        """

    def adapted(self, plan: Plan) -> Plan:
        """The plan with what all tasks, which have joined, have to share: the chief's precision."""

    def device(self) -> AbstractContextManager:
        """Places all operations and variables of this task in this process."""

    def session(self, interruption: Interruption) -> tf.Session:
        """A session of this task; its `run` raises UserError when another task is lost."""

    def broadcast(self, session: tf.Session, step: int, schedule: Schedule) -> int:
        """Sends the chief's variables to every task; returns the chief's step.

        Raises UserError if this task's schedule differs from the chief's.
        """

    def wait_for_all(self, session: tf.Session) -> None:
        """Returns when all tasks have called it: the chief has saved the last step."""


class Alone(Cluster):
    """A process that trains by itself."""

    part = WHOLE_BATCH
    all_reduce = None
    interruption = Interruption
    joined = device = staticmethod(nullcontext)

    def adapted(self, plan: Plan) -> Plan:
        """Returns the plan; there are no other tasks."""
        return plan

    def session(self, interruption: Interruption) -> tf.Session:
        """A plain session."""
        return tf.Session(config=session_config())

    def broadcast(self, session: tf.Session, step: int, schedule: Schedule) -> int:
        """Returns the step; there are no other tasks."""
        return step

    def wait_for_all(self, session: tf.Session) -> None:
        """Does nothing."""


ALONE = Alone()
