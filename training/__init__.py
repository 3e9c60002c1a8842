"""The parts of a training step, a run and an evaluation, which train.py puts together."""

from __future__ import annotations

from data import printable


class RunError(Exception):
    """A user error in a run; the message is one sentence: what is wrong, and what to do.

    It is made printable, since names in it are not under our control.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


class Stopped(Exception):
    """A signal has shut the run down cleanly; the message says how to resume.

    Attributes:
      signal: the number of the signal.
    """

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal

    @classmethod
    def at(cls, step: int, total_steps: int, signal: int) -> Stopped:
        """For a run that ended after a step whose checkpoint is saved."""
        if step == 0:
            return cls("stopped before the first step; run the same command again", signal)
        return cls(
            f"stopped at step {step} of {total_steps}, which is saved; run the same command again "
            "to resume",
            signal,
        )
