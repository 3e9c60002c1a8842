"""Training in a cluster: several tasks take every step together, by all-reduce.

Each task holds the whole net and runs the same `train.train` on its own part of every batch. One
operation in the step averages their gradients, so all of them apply the same update, and their
variables stay equal to the bit. A process on its own is ALONE: the same interface, nothing to do.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from training import batches
from training.command import Interruption
from training.runtime import session_config

if TYPE_CHECKING:  # it takes seconds to import
    import tensorflow.compat.v1 as tf


class Alone:
    """A process that trains on its own; `cluster.task.Task` documents the interface."""

    is_chief = True
    share = batches.ALONE
    all_reduce = None
    interruption = Interruption
    joined = device = staticmethod(contextlib.nullcontext)

    def session(self, interruption: Interruption) -> tf.Session:
        """A plain session."""
        import tensorflow.compat.v1 as tf

        return tf.Session(config=session_config())

    def broadcast(self, session: tf.Session, step: int) -> int:
        """Nobody to tell; returns the step."""
        return step

    def wait_for_all(self, session: tf.Session) -> None:
        """Nobody to wait for."""


ALONE = Alone()
