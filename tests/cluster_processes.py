"""The tasks of a cluster on this machine, each in a process of tests/processes.py.

They train a smaller net, whose graph is built sooner, and print a digest of their variables after
the last step.
"""

import contextlib
import hashlib
import os
import re
import signal
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from cluster import task
from squeezenet_model import SqueezeNetModel, tf
from tests.processes import SECONDS, before_call, training
from tests.small_nets import SmallNet
from tools.launch_local import task_configs
from training import recipe
from training.health import Health


def prepare(config, signals):
    """A setup for a process, which then is a task of a cluster; it must not ask the proxy for the
    others, which nobody answers.

    Args:
      config: TF_CONFIG; "" for a process by itself.
      signals: what it sends itself: {in which of its steps: number of the signal}.
    """
    os.environ.update(TF_CONFIG=config, http_proxy="http://127.0.0.1:9", no_proxy="a.example")
    if '"type": "worker"' in config:  # whose processor has bfloat16, which the chief's lacks
        recipe.fast_precision = lambda: "bfloat16"
    recipe.DEFAULTS["digits"] = recipe.DEFAULTS["digits"]._replace(bfloat16=True)
    SqueezeNetModel.FIRE_PARAMS_1 = SmallNet.FIRE_PARAMS_1
    SqueezeNetModel.FIRE_PARAMS_2 = SmallNet.FIRE_PARAMS_2
    for step, number in signals.items():
        before_call(step, Health, "check", partial(signal.raise_signal, number))
    wait_for_all = task.Task.wait_for_all

    def print_digest_and_wait(own, session):
        values = b"".join(value.tobytes() for value in session.run(tf.global_variables()))
        print("variables", hashlib.sha256(values).hexdigest(), flush=True)
        wait_for_all(own, session)

    task.Task.wait_for_all = print_digest_and_wait


class TaskProcess(NamedTuple):
    """The process of a task, and the folder that it runs in."""

    process: BaseProcess
    folder: Path

    def output(self):
        """What it has printed so far: stdout, then stderr."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("std*"), reverse=True))

    def wait_for(self, pattern):
        """Waits until it has printed a line that matches the pattern, or has ended."""
        while self.process.is_alive() and not re.search(pattern, self.output(), re.MULTILINE):
            time.sleep(0.02)

    def send(self, number):
        """Sends it a signal, unless it has ended."""
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def end(self):
        """Waits until it ends; returns its exit code, None if it does not, and its output."""
        self.process.join(SECONDS)
        return self.process.exitcode, self.output()


@contextlib.contextmanager
def running_tasks(flags, folder, signals=None):
    """The tasks of a cluster, the chief first; those still running at the end are killed.

    Args:
      flags: of each task.
      folder: has, or gets, a folder for each task.
      signals: what worker 0 sends itself, as for `prepare`.
    """
    with contextlib.ExitStack() as stack:
        tasks = []
        for (name, config), own in zip(task_configs(len(flags)).items(), flags, strict=True):
            faults = signals or {} if name == "worker 0" else {}
            cwd = folder / name
            cwd.mkdir(parents=True, exist_ok=True)
            for old in cwd.glob("std*"):
                old.unlink()
            started = training(*own, cwd=cwd, setup=partial(prepare, config, faults))
            tasks.append(TaskProcess(stack.enter_context(started), cwd))
        yield tasks


def digest(output):
    """The digest of a task's final variables."""
    return re.search(r"^variables (\w+)$", output, re.MULTILINE)[1]
