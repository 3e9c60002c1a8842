"""tools.launch_local starts and ends all tasks of a cluster together.

The tasks are small scripts here; in test_cluster_task.py they train.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.conftest import PROJECT, default_signals

LAUNCH = """
import sys
from tools import launch_local
launch_local.TRAIN, launch_local.GRACE_SECONDS = sys.argv[1], 3.0
sys.exit(launch_local.main(sys.argv[2:]))
"""
# What each task does first; its name is "chief" or "worker".
TASK = """
import json, os, signal, socket, sys, time
name = json.loads(os.environ["TF_CONFIG"])["task"]["type"]
"""

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX: signals")


@pytest.fixture
def launch(tmp_path):
    """A function that starts the launcher; its tasks run the given code in a folder of their own.

    The launcher's stdout and stderr arrive together.
    """
    with contextlib.ExitStack() as stack:

        def start(code, *arguments):
            (tmp_path / "script.py").write_text(TASK + code)
            with default_signals():
                process = subprocess.Popen(
                    [sys.executable, "-c", LAUNCH, "script.py", *arguments],
                    cwd=tmp_path,
                    env=os.environ | {"PYTHONPATH": str(PROJECT)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@needs_posix
def test_ends_all_tasks_when_one_is_lost(launch):
    code = """
print(f"flags: {sys.argv[1:]}", flush=True)
open(name, "w").close()
while not (os.path.exists("chief") and os.path.exists("worker")):
    time.sleep(0.01)
if name == "worker":
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(100)
"""
    process = launch(code, "--", "--seed", "1")
    assert sorted(process.communicate()[0].splitlines()) == [
        "[chief] flags: ['--seed', '1']",
        "[worker 0] flags: ['--seed', '1']",
        "chief did not exit on its own, and is killed",
        "worker 0 ended: killed by SIGKILL",
    ]
    assert process.returncode == 128 + signal.SIGKILL


@needs_posix
def test_ctrl_c_shuts_all_tasks_down_cleanly(launch):
    code = """
def stop(number, frame):
    print("saved")
    sys.exit(128 + number)

signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(100)
"""
    process = launch(code)
    assert {process.stdout.readline() for _ in range(2)} == {
        *("[chief] ready\n", "[worker 0] ready\n")
    }
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130
    assert sorted(output.splitlines()) == ["[chief] saved", "[worker 0] saved"]


def test_output_that_nobody_reads_any_more_ends_the_tasks_in_order(launch, tmp_path):
    code = """
try:
    while True:
        print("step", flush=True)
except OSError:
    open(name, "w").close()
    os._exit(1)
"""
    process = launch(code)
    process.stdout.close()
    assert process.wait(100) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"script.py", "chief", "worker"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a child")
def test_no_task_outlives_a_launcher_that_is_killed(launch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()[:2]
        process = launch(f"connection = socket.create_connection({address}); time.sleep(100)")
        server.settimeout(60)
        tasks = [server.accept()[0] for _ in range(2)]
        process.kill()
        for task in tasks:
            task.settimeout(60)
            assert task.recv(1) == b""  # the system has closed its connection
