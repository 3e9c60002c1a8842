"""Training processes that start at once: forks of a process that has loaded TensorFlow.

That process has not used TensorFlow, so it has none of its threads, which a fork would lose. Where
there is no fork server, each process loads TensorFlow itself.
"""

import contextlib
import importlib
import itertools
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import PROJECT, default_signals, main

# What a run imports after its start, or at its end.
for name in (
    *("command.evaluate", "command.plan", "data.digits", "train"),
    *("matplotlib.pyplot", "scipy.stats", "sklearn.metrics", "sklearn.model_selection", "tf_slim"),
):
    importlib.import_module(name)

SECONDS = 300  # after which a process that hangs is killed
PROCESSES = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
PROCESSES.set_forkserver_preload(["tests.conftest", "tests.processes"])


@contextlib.contextmanager
def training(*flags, cwd: Path, setup: Callable | None = None):
    """A multiprocessing.Process that does what `python train.py` does; killed at the end if it is
    still there.

    Args:
      flags: what follows train.py on the command line.
      cwd: the folder to run it in; its output goes to the files stdout and stderr there.
      setup: what it calls first.
    """
    arguments = list(map(str, flags)), cwd, dict(os.environ), setup
    process = PROCESSES.Process(target=train_there, args=arguments)
    with contextlib.chdir(PROJECT):  # where the fork server finds these modules
        process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def run_train(*flags, cwd: Path, setup: Callable | None = None) -> subprocess.CompletedProcess:
    """Runs it to its end; the arguments are those of `training`."""
    with training(*flags, cwd=cwd, setup=setup) as process:
        process.join(SECONDS)
        output = [(cwd / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(flags, process.exitcode, *output)


def train_there(flags, cwd, environment, setup) -> None:
    """What the process does."""
    multiprocessing.set_start_method(None, force=True)  # whatever started this process
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        setattr(sys, name, os.fdopen(number, "w", closefd=False))
    with default_signals():
        if setup:
            setup()
        sys.exit(main(flags))


def before_call(number: int, owner: type, method: str, act: Callable) -> None:
    """Makes a class call `act` before the number-th call of one of its methods."""
    original, numbers = getattr(owner, method), itertools.count(1)

    def patched(*arguments):
        if next(numbers) == number:
            act()
        return original(*arguments)

    setattr(owner, method, patched)
