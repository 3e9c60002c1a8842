"""tools.launch_local runs a whole cluster with one command."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from cluster.config import read_config
from tests.conftest import PROJECT, default_signals
from tools.launch_local import free_ports, task_configs


def command(*arguments):
    return [sys.executable, "-m", "tools.launch_local", *map(str, arguments)]


def run_local(*arguments):
    return subprocess.run(
        command(*arguments), cwd=PROJECT, capture_output=True, text=True, timeout=100
    )


def processes_of(folder):
    """The tasks that run in a folder: process number and command line."""
    if sys.platform == "win32":
        pytest.skip("needs POSIX: ps")
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True
    ).stdout
    return [
        line
        for line in listed.splitlines()
        if f"--run_dir {folder}" in line and "tools.launch_local" not in line
    ]


def test_gives_each_task_its_tf_config():
    configs = {name: read_config(text) for name, text in task_configs(3).items()}
    assert list(configs) == ["chief", "worker 0", "worker 1"]
    for name, config in configs.items():
        assert list(config.tasks)[config.index + (config.job == "worker")] == name
    assert len(set(configs["chief"].tasks.values())) == 3


def test_free_ports_differ():
    assert len(set(free_ports(20))) == 20


@pytest.mark.parametrize(("flag", "value"), [("workers", 0), ("workers", "x"), ("restarts", -1)])
def test_a_wrong_number_is_one_sentence(flag, value):
    process = run_local(f"--{flag}={value}")
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1


def test_ends_all_with_the_code_of_the_one_that_failed(tmp_path):
    process = run_local("--", "--dataset", tmp_path / "none", "--run_dir", tmp_path / "run")
    assert process.returncode == 2
    assert "[chief] train.py: error: --dataset" in process.stdout
    assert not processes_of(tmp_path)


def started(folder, *arguments):
    """A launcher that has started training in a folder, and the lines it has printed so far."""
    flags = ["--num_epochs", 10_000, "--batch_size", 32, "--eval_every", 5, "--run_dir", folder]
    with default_signals():
        process = subprocess.Popen(
            command(*arguments, "--", *flags),
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.match(r"\[chief\] step \d+: ", line):
            return process, lines
    raise AssertionError("".join(lines))


def test_ctrl_c_shuts_all_tasks_down_cleanly(tmp_path):
    process, lines = started(tmp_path / "run")
    process.send_signal(signal.SIGINT)
    output = "".join([*lines, *process.stdout])
    assert process.wait() == 130
    for name in ("chief", "worker 0"):
        stopped = rf"^\[{name}\] stopped at step \d+ of \d+, which is saved"
        assert re.search(stopped, output, re.MULTILINE), output
    assert not processes_of(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a child")
def test_no_task_outlives_a_launcher_that_is_killed(tmp_path):
    process, _ = started(tmp_path / "run")
    process.kill()
    process.communicate()
    ends = time.monotonic() + 20
    while processes_of(tmp_path) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not processes_of(tmp_path)


def test_restarts_all_tasks_when_one_is_lost(tmp_path):
    process, lines = started(tmp_path / "run", "--restarts", 1)
    os.kill(int(processes_of(tmp_path)[-1].split()[0]), signal.SIGKILL)
    for line in process.stdout:
        lines.append(line)
        if re.match(r"\[chief\] step \d+: ", line) and "restarting" in "".join(lines):
            break
    process.send_signal(signal.SIGINT)
    output = "".join([*lines, *process.stdout])
    assert process.wait() == 130
    assert re.search(r"^(chief|worker 0) ended: killed by SIGKILL$", output, re.MULTILINE)
    assert "restarting all tasks (1 of 1)" in output
