"""A real cluster on this machine takes the same steps as one process, and survives faults."""

import re
import signal
import socket
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from base import Stopped, UserError
from base.runtime import session_config
from cluster.config import read_config
from cluster.task import (
    CLOSED_SECONDS,
    SILENCE_SECONDS,
    SharedInterruption,
    Task,
    WatchedSession,
    patience,
)
from tests.cluster_processes import digest, prepare, running_tasks
from tests.conftest import PROJECT, default_signals, train_here
from tests.processes import run_train
from tools.launch_local import HOST, task_configs

RUN = ["--num_epochs", "0.5", "--eval_every", "6", "--num_towers", "1", "--run_dir", "run"]
FLAGS = ["--batch_size", "32", *RUN]  # 12 steps

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX: signals")


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder and the output of a run of tools.launch_local."""
    folder = tmp_path_factory.mktemp("launched")
    command = [sys.executable, PROJECT / "tools" / "launch_local.py", "--", *FLAGS]
    return folder, subprocess.check_output(command, cwd=folder, text=True)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    """A run that is started three times: its folder, and how the chief and worker 0 end each time.

    Worker 0 gets a signal, is killed the second time, and reaches the last step the third time.
    """
    folder, ends = tmp_path_factory.mktemp("disturbed"), []
    for signals in ({1: signal.SIGTERM}, {6: signal.SIGKILL}, {}):
        with running_tasks([FLAGS, FLAGS], folder, signals) as tasks:
            ends.append([each.end() for each in tasks])
    return folder / "chief" / "run", ends


def test_a_run_is_reported_only_by_the_chief(launched):
    assert re.search(r"^\[chief\] test accuracy ", launched[1], re.MULTILINE)
    worker = re.findall(r"^\[worker 0\] (.*)$", launched[1], re.MULTILINE)
    assert (worker[-1], "accuracy" in "".join(worker)) == ("worker 0: done", False)


def test_a_run_can_be_resumed_by_one_process(launched):
    """With the batch of all tasks; if the run is complete, it only evaluates."""
    process = train_here("--batch_size", 64, *RUN, cwd=launched[0])
    assert (process.returncode, process.stderr, "epoch 1/1" in process.stdout) == (0, "", False)
    assert "step 12: test accuracy " in process.stdout


@needs_posix
class TestADisturbedRun:
    def test_takes_the_steps_of_one_process_with_the_whole_batch(self, disturbed, tmp_path):
        """Up to rounding, which grows with each step, so the first two are compared."""
        setup = partial(prepare, "", {2: signal.SIGTERM})
        assert run_train("--batch_size", 64, *RUN, cwd=tmp_path, setup=setup).returncode == 143
        ours, theirs = (
            tf.train.load_checkpoint(str(run_dir / "model.ckpt-2"))
            for run_dir in (disturbed[0], tmp_path / "run")
        )
        for name in theirs.get_variable_to_shape_map():
            difference = np.abs(ours.get_tensor(name) - theirs.get_tensor(name))
            assert (difference.mean() < 1e-4, difference.max() < 1e-3) == (True, True), name

    def test_stops_after_the_same_step_when_a_task_gets_a_signal(self, disturbed):
        for code, output in disturbed[1][0]:
            assert code == 143, output
            assert "stopped at step 2 of 12, which is saved; run the same command again" in output

    def test_ends_with_a_sentence_when_a_task_is_killed(self, disturbed):
        (code, output), (other_code, _) = disturbed[1][1]
        assert (code, other_code, "Traceback" in output) == (2, -signal.SIGKILL, False), output
        sentence = r"train\.py: error: chief: lost worker 0 at 127.0.0.1:\d+; start all tasks .*"
        assert re.fullmatch(sentence, output.splitlines()[-1]), output

    def test_leaves_the_same_variables_as_an_undisturbed_one(self, disturbed, tmp_path):
        with running_tasks([FLAGS, FLAGS], tmp_path) as tasks:
            ends = [each.end() for each in tasks] + disturbed[1][2]
        assert [code for code, _ in ends] == [0, 0, 0, 0], ends
        assert len({digest(output) for _, output in ends}) == 1
        runs = tmp_path / "chief" / "run", disturbed[0]
        assert len({(run / "model.ckpt-12.data-00000-of-00001").read_bytes() for run in runs}) == 1


@needs_posix
def test_a_task_with_other_flags_than_the_chief_ends_the_run(tmp_path):
    with running_tasks([FLAGS, [*FLAGS, "--seed", "1"]], tmp_path) as tasks:
        chief, worker = [each.end() for each in tasks]
    assert (chief[0], worker[0]) == (2, 2), (chief, worker)
    assert "worker 0: its flags or its number of images differ from the chief's" in worker[1]
    assert not list(tmp_path.glob("chief/run/model.ckpt-*"))


@pytest.fixture
def config():
    return read_config(task_configs(2)["chief"])


@pytest.fixture
def session(config, monkeypatch):
    for name in ("LOOK", "REPORT", "DYING", "INTERRUPTED"):
        monkeypatch.setattr(f"cluster.task.{name}_SECONDS", 0.05)
    monkeypatch.setattr(Task, "absent", lambda task: {})
    with tf.Graph().as_default():
        session = WatchedSession(Task(config), SharedInterruption(), "", session_config())
        yield session
        tf.Session.close(session)  # ends the operation


def test_a_session_names_a_task_that_does_not_answer_and_gives_it_up(session, monkeypatch, capsys):
    monkeypatch.setattr(Task, "absent", lambda task: {"worker 0 at b:2": 0.5})
    with pytest.raises(UserError, match="chief: lost worker 0 at b:2; start all tasks again"):
        session.run(tf.FIFOQueue(1, tf.float32).dequeue())  # waits, as the queue is empty
    assert capsys.readouterr().out.startswith("chief: waiting for worker 0 at b:2\n")


def test_a_session_ends_some_time_after_a_signal(session):
    session._interruption.own = signal.SIGTERM
    with pytest.raises(Stopped, match="chief: stopped while waiting for the operation"):
        session.run(tf.FIFOQueue(1, tf.float32).dequeue())


def test_a_session_loses_a_task_that_has_been_restarted(session):
    """TensorFlow then raises an error about an uninitialized variable, and all tasks answer."""
    with pytest.raises(UserError, match="chief: lost a task that has been restarted since"):
        session.run(tf.get_variable("uninitialized", []))


def test_the_start_names_a_task_that_does_not_start(config, monkeypatch, capsys):
    monkeypatch.setattr("cluster.task.START_SECONDS", 0.2)
    words = f"worker 0 at {config.tasks['worker 0']}"
    with pytest.raises(UserError, match=f"{words} did not start"), Task(config).joined():
        pass
    assert capsys.readouterr().out == f"chief: waiting for {words} to start\n"


def test_the_start_names_a_port_that_is_taken(config):
    host, port = config.tasks["chief"].split(":")
    taken = pytest.raises(UserError, match=f"chief: cannot listen on {host}:{port}")
    with socket.create_server((host, int(port))), taken, Task(config).joined():
        pass


def test_the_time_since_a_signal_does_not_start_anew_when_it_is_repeated():
    with default_signals(), SharedInterruption() as interruption:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            since = interruption.since
            interruption.since = interruption.since and 1.0
    assert (interruption.own, interruption.received, since) == (signal.SIGTERM, None, 1.0)


def test_the_patience_with_a_task_depends_on_its_port(config):
    address = config.tasks["chief"]
    assert patience(address) == CLOSED_SECONDS
    # The first session or server of a process settles how many threads an operation gets.
    assert tf.train.Server({"train": [address]}, "train", 0, config=session_config()).target
    assert patience(address) == 0.0
    with socket.create_server((HOST, 0)) as frozen:
        address = f"{HOST}:{frozen.getsockname()[1]}"
        assert patience(address, timeout=0.2) == SILENCE_SECONDS
