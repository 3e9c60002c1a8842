"""Training in a cluster: several tasks take every step together, by all-reduce.

Each task holds the whole net and runs the same `train.train` on its own part of every batch. One
operation in the step averages their gradients, so all of them apply the same update, and their
variables stay identical, bit for bit. ALONE has the same interface for a single process.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from base.program import Interruption
from base.runtime import session_config
from training.recipe import WHOLE_BATCH, BatchPart, Schedule

if TYPE_CHECKING:  # TensorFlow takes seconds to import, and an invalid TF_CONFIG is an error sooner
    from squeezenet_model import tf
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

    def session(self, interruption: Interruption) -> tf.Session:
        """A plain session."""
        from squeezenet_model import tf

        return tf.Session(config=session_config())

    def broadcast(self, session: tf.Session, step: int, schedule: Schedule) -> int:
        """Returns the step; there are no other tasks."""
        return step

    def wait_for_all(self, session: tf.Session) -> None:
        """Does nothing."""


ALONE = Alone()
