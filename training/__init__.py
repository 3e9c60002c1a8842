"""The parts of a training step, a run and an evaluation, which train.py puts together."""


class RunError(Exception):
    """A user error in a run; the message is one sentence: what is wrong, and what to do."""
