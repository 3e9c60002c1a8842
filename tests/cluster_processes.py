"""The tasks of a cluster, each a separate train.py process on this machine.

Each keeps all checkpoints, and prints a digest of its variables after its last step.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

from tests.conftest import PROJECT, default_signals
from tools.launch_local import task_configs

SECONDS = 300.0  # more than a task takes to end, whatever happens to the others
TASK = """
import hashlib, os, sys
from training.runtime import load_tensorflow_quietly
load_tensorflow_quietly()
import tensorflow.compat.v1 as tf
import train
from cluster import task
from training import checkpoints

checkpoints.KEPT = 100
if "PATIENCE" in os.environ:
    task.LOOK_SECONDS, task.REPORT_SECONDS = 0.5, 2.0
    task.PATIENCE_SECONDS = float(os.environ["PATIENCE"])
wait_for_all = task.Task.wait_for_all

def print_digest(self, session):
    values = b"".join(value.tobytes() for value in session.run(tf.global_variables()))
    print("variables", hashlib.sha256(values).hexdigest(), flush=True)
    wait_for_all(self, session)

task.Task.wait_for_all = print_digest
sys.exit(train.main(sys.argv[1:]))
"""


class Process:
    """The process of a task, and the lines that it has printed.

    Attributes:
      lines: of stdout and stderr.
      longest_silence: seconds between two lines, or one and its end, while it was not frozen.
    """

    def __init__(self, config, flags, cwd, environment):
        self.lines = []
        self.longest_silence = 0.0
        self._heard_at = time.monotonic()
        with default_signals():
            self._process = subprocess.Popen(
                [sys.executable, "-c", TASK, *flags],
                cwd=cwd,
                env=os.environ | {"TF_CONFIG": config, "PYTHONPATH": str(PROJECT)} | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append(line)
            self._heard()
        self._heard()

    def _heard(self):
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self._heard_at)
        self._heard_at = now

    def forget_silence(self):
        """Starts measuring the longest silence anew."""
        self._heard_at, self.longest_silence = time.monotonic(), 0.0

    def is_running(self):
        return self._process.poll() is None

    def wait_for_line(self, pattern):
        """The first line, printed already or in the future, that matches the pattern."""
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            for line in list(self.lines):
                if re.match(pattern, line):
                    return line
            assert self.is_running(), self.lines
            time.sleep(0.02)
        raise AssertionError(self.lines)

    def send(self, number):
        self._process.send_signal(number)

    def freeze(self):
        self._heard()
        self.send(signal.SIGSTOP)

    def release(self, number):
        """Ends the silence of a frozen task, by SIGCONT or SIGKILL."""
        self._heard_at = time.monotonic()
        self.send(number)

    def ended(self):
        """Waits until it ends; returns its exit code and everything it has printed."""
        code = self._process.wait(SECONDS)
        self._reader.join()
        return code, "".join(self.lines)

    def kill(self):
        self._process.kill()
        self.ended()


@contextlib.contextmanager
def running_tasks(flags, cwd, **environment):
    """The tasks of a cluster, the chief first; those still running at the end are killed.

    Args:
      flags: of each task.
    """
    configs = task_configs(len(flags)).values()
    processes = [
        Process(config, own, cwd, environment) for config, own in zip(configs, flags, strict=True)
    ]
    try:
        yield processes
    finally:
        for each in processes:
            each.kill()


def digest(output):
    """The digest of a task's final variables."""
    return re.search(r"^variables (\w+)$", output, re.MULTILINE)[1]
