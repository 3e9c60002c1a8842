"""A real cluster on this machine takes the same steps as one process, and survives faults."""

import re
import signal
import socket

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from cluster.config import Config
from cluster.task import ANSWERS, CLOSED, SILENT, SharedInterruption, Task, WatchedSession, probe
from tests.cluster_processes import digest, running_tasks
from tests.conftest import train_here
from tools.launch_local import free_ports
from training import RunError, checkpoints
from training.checkpoints import newest_checkpoint
from training.runtime import session_config

LAST_STEP = 24
FLAGS = ["--batch_size", "32", "--num_epochs", "1", "--eval_every", "2", "--run_dir", "run"]


def two_tasks(cwd, **environment):
    """The chief and worker 0 of a cluster."""
    return running_tasks([FLAGS, FLAGS], cwd, **environment)


def variables(checkpoint):
    reader = tf.train.NewCheckpointReader(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def last_checkpoint(folder):
    return {
        path.name: path.read_bytes() for path in (folder / "run").glob(f"model.ckpt-{LAST_STEP}.*")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of an undisturbed cluster's run, and the output of each task."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with two_tasks(folder) as processes:
        ends = [each.ended() for each in processes]
    assert [code for code, _ in ends] == [0, 0], ends
    return folder, [output for _, output in ends]


class TestARun:
    def test_leaves_identical_variables_in_all_tasks(self, undisturbed):
        _, (chief, worker) = undisturbed
        assert digest(chief) == digest(worker)

    def test_takes_the_steps_of_one_process_with_the_whole_batch(
        self, undisturbed, tmp_path, monkeypatch
    ):
        """Up to rounding, which grows with each step, so only the first few are compared."""
        monkeypatch.delenv("TF_CONFIG", raising=False)
        monkeypatch.setattr(checkpoints, "KEPT", 100)
        assert train_here(*FLAGS, "--batch_size", 64, cwd=tmp_path).returncode == 0
        expected = variables(tmp_path / "run" / "model.ckpt-2")
        for name, ours in variables(undisturbed[0] / "run" / "model.ckpt-2").items():
            difference = np.abs(ours - expected[name])
            assert difference.mean() < 1e-4, name
            assert difference.max() < 1e-3, name

    def test_is_reported_only_by_the_chief(self, undisturbed):
        _, (chief, worker) = undisturbed
        assert re.search(r"^test accuracy ", chief, re.MULTILINE)
        assert "accuracy" not in worker
        assert worker.splitlines()[-1] == "worker 0: done"
        assert worker.startswith(("worker 0: training with chief", "worker 0: waiting for chief"))

    def test_can_be_resumed_by_one_process(self, undisturbed, monkeypatch):
        """With the batch of all tasks; if the run is complete, it only evaluates."""
        monkeypatch.delenv("TF_CONFIG", raising=False)
        process = train_here(*FLAGS, "--batch_size", 64, cwd=undisturbed[0])
        assert process.returncode == 0, process.stderr
        assert process.stdout.startswith(f"step {LAST_STEP}: test accuracy ")


def test_a_task_with_other_flags_than_the_chief_ends_the_run(tmp_path):
    with running_tasks([FLAGS, [*FLAGS, "--seed", "1"]], tmp_path) as processes:
        ends = [each.ended() for each in processes]
    assert [code for code, _ in ends] == [2, 2], ends
    assert "worker 0: its flags or its number of images differ from the chief's" in ends[1][1]
    assert not list((tmp_path / "run").glob("model.ckpt-*"))


@pytest.mark.parametrize(
    ("killed", "name"),
    [("worker", "worker 0"), pytest.param("chief", "chief", marks=pytest.mark.slow)],
)
def test_a_task_that_is_killed_is_named_and_costs_nothing(killed, name, undisturbed, tmp_path):
    with two_tasks(tmp_path) as (chief, worker):
        chief.wait_for_line("step 4: ")
        lost, other = (worker, chief) if killed == "worker" else (chief, worker)
        lost.send(signal.SIGKILL)
        code, output = other.ended()
    assert code == 2, output
    sentence = rf"train\.py: error: .*: lost {name} at localhost:\d+; start all tasks again.*"
    assert re.fullmatch(sentence, output.splitlines()[-1]), output
    assert "Traceback" not in output
    with two_tasks(tmp_path) as processes:
        outputs = [each.ended()[1] for each in processes]
    assert digest(outputs[0]) == digest(outputs[1]) == digest(undisturbed[1][0])
    assert last_checkpoint(tmp_path) == last_checkpoint(undisturbed[0])


class TestASignal:
    """A signal to any task: all tasks finish the current step, and the chief saves it."""

    def test_stops_all_tasks_after_the_same_step(self, tmp_path):
        with two_tasks(tmp_path) as (chief, worker):
            chief.wait_for_line("step 2: ")
            worker.send(signal.SIGTERM)
            ends = [each.ended() for each in (chief, worker)]
        assert [code for code, _ in ends] == [143, 143], ends
        last = {output.splitlines()[-1] for _, output in ends}
        assert len(last) == 1, ends
        step = re.match(r"stopped at step (\d+) of 24, which is saved", last.pop())[1]
        assert newest_checkpoint(tmp_path / "run").endswith(f"model.ckpt-{step}")


@pytest.mark.slow
class TestATaskThatIsFrozen:
    def test_is_named_while_it_is_waited_for_and_then_given_up(self, tmp_path):
        with two_tasks(tmp_path, PATIENCE="6") as (chief, worker):
            chief.wait_for_line("step 2: ")
            worker.send(signal.SIGSTOP)
            code, output = chief.ended()
        assert code == 2, output
        assert re.search(r"^chief: waiting for worker 0 at localhost:\d+$", output, re.MULTILINE)
        assert re.search(r"chief: lost worker 0 at localhost:\d+; start all tasks", output)


@pytest.fixture
def config():
    chief, worker = (f"localhost:{port}" for port in free_ports(2))
    return Config({"chief": [chief], "worker": [worker]}, "chief", 0)


def test_a_task_that_has_been_restarted_is_a_loss(config, monkeypatch):
    """TensorFlow then raises an error about an uninitialized variable, and all tasks answer."""
    monkeypatch.setattr(Task, "absent", lambda task: {})
    monkeypatch.setattr("cluster.task.POLL_SECONDS", 0.01)
    with tf.Graph().as_default():
        session = WatchedSession(Task(config), SharedInterruption(), "", None)
        uninitialized = tf.get_variable("uninitialized", [])
        with pytest.raises(RunError, match="chief: lost a task that has been restarted since"):
            session.run(uninitialized)


class TestTheStart:
    def test_names_a_task_that_does_not_start(self, config, monkeypatch, capsys):
        monkeypatch.setattr("cluster.task.START_SECONDS", 0.2)
        (worker,) = config.addresses["worker"]
        with (
            pytest.raises(RunError, match=f"worker 0 at {worker} did not start within 0 seconds"),
            Task(config).joined(),
        ):
            pass
        assert capsys.readouterr().out == f"chief: waiting for worker 0 at {worker} to start\n"

    def test_names_a_port_that_is_taken(self, config):
        host, port = config.addresses["chief"][0].split(":")
        taken = pytest.raises(RunError, match=f"chief: cannot listen on {host}:{port}")
        with socket.create_server((host, int(port))), taken, Task(config).joined():
            pass


class TestAPort:
    """The states of a task's port."""

    def test_of_a_server_answers(self):
        (port,) = free_ports(1)
        # The first session or server of a process settles how many threads an operation gets.
        address = {"chief": [f"localhost:{port}"]}
        server = tf.train.Server(address, "chief", 0, config=session_config())
        assert server.target
        assert probe(f"localhost:{port}") is ANSWERS

    def test_that_accepts_but_does_not_answer_is_silent(self):
        with socket.create_server(("localhost", 0)) as frozen:
            assert probe(f"localhost:{frozen.getsockname()[1]}", seconds=0.2) is SILENT

    def test_without_a_listener_is_closed(self):
        (port,) = free_ports(1)
        assert probe(f"localhost:{port}") is CLOSED
