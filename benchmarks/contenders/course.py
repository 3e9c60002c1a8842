"""The course's own loop as a learner would write it."""

from benchmarks.contenders.process import Runner
from examples import plain_loop


def train(runner: Runner) -> float:
    """Trains with Adam at its defaults; returns the accuracy."""
    job = runner.job
    return plain_loop.train(runner.dataset, runner.steps(), job.batch_size, job.seed)
