"""Training in a cluster: several tasks take every step together, by all-reduce.

Each task holds the whole net and runs the same `train.train` on its own part of every batch. One
operation in the step averages their gradients, so all of them apply the same update, and their
variables stay identical, bit for bit. ALONE has the same interface for a single process.
"""

from __future__ import annotations

import contextlib

from training.command import Interruption
from training.recipe import WHOLE_BATCH
from training.runtime import session_config


class Alone:
    """A process that trains without a cluster; `cluster.task.Task` documents the interface."""

    is_chief = True
    share = WHOLE_BATCH
    all_reduce = None
    interruption = Interruption
    joined = device = staticmethod(contextlib.nullcontext)

    def session(self, interruption):
        """A plain session."""
        import tensorflow.compat.v1 as tf  # takes seconds to import

        return tf.Session(config=session_config())

    def broadcast(self, session, step, schedule):
        """Returns the step; there are no other tasks."""
        return step

    def wait_for_all(self, session):
        """Does nothing; there are no other tasks."""


ALONE = Alone()
