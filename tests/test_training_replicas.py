"""A real cluster on this machine: the same steps as one process, and what it survives."""

import contextlib
import os
import re
import subprocess
import threading
import time
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import train
from squeezenet_model import SqueezeNetModel
from tests.conftest import train_command
from tools.launch_local import cluster_tasks
from training.checkpoints import checkpoint_step, newest_checkpoint
from training.replicas import LeastBytes

SECONDS = 100.0  # more than anything here takes


class Task:
    """A task of a cluster: train.py in a process, and the lines that it has printed."""

    def __init__(self, config, flags, cwd):
        self.lines = []
        self.process = subprocess.Popen(
            train_command(*flags),
            cwd=cwd,
            env=os.environ | {"TF_CONFIG": config},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def wait_for_line(self, pattern):
        """The first line, from now on or before, that the pattern matches."""
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            for line in list(self.lines):
                if re.match(pattern, line):
                    return line
            assert self.process.poll() is None, self.lines
            time.sleep(0.05)
        raise AssertionError(self.lines)

    def last_step(self):
        """The step of the last evaluation that it has printed; 0 before the first."""
        steps = [re.match(r"step ([\d,]+): ", line) for line in list(self.lines)]
        return max((int(step[1].replace(",", "")) for step in steps if step), default=0)

    def wait_for_step(self, step):
        """Until it has printed an evaluation of that step or a later one."""
        ends = time.monotonic() + SECONDS
        while self.last_step() < step:
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < ends, self.lines
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ended(self):
        """Its exit code and all that it has printed."""
        code = self.process.wait(SECONDS)
        self._reader.join()
        return code, "".join(self.lines)


@contextlib.contextmanager
def cluster(flags, cwd, *, workers=2, num_ps=1):
    """A function that starts a task by its name, again and again; kills all of them at the end."""
    configs = cluster_tasks(workers, num_ps)
    configs["evaluator"] = configs["chief"].replace('"type": "chief"', '"type": "evaluator"')
    tasks = []

    def start(name):
        tasks.append(Task(configs[name], flags, cwd))
        return tasks[-1]

    try:
        yield start
    finally:
        for task in tasks:
            task.kill()
            task.ended()


def weights(checkpoint):
    """All trainable variables, by name."""
    reader = tf.train.NewCheckpointReader(str(checkpoint))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if name.endswith(("kernel", "bias"))}


FLAGS = ["--eval_every", 2, "--num_epochs", 1_000, "--run_dir", "run", "--batch_size"]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What becomes of a cluster whose members are killed, one after the other.

    Two workers with 64 images each, two ps.
    """
    folder = tmp_path_factory.mktemp("cluster")
    run_dir = folder / "run"
    found = types.SimpleNamespace(run_dir=run_dir)
    with cluster([*FLAGS, 64], folder, num_ps=2) as start:
        ps, chief, worker = (start(name) for name in ("ps 0", "chief", "worker 0"))
        found.waits = chief.wait_for_line("chief: waits for ps 1 at localhost:")
        second_ps = start("ps 1")
        chief.wait_for_line("step 2: ")
        found.weights = weights(run_dir / "model.ckpt-2")

        worker.kill()
        step = chief.last_step()
        worker = start("worker 0")
        chief.wait_for_step(step + 10)

        evaluator = start("evaluator")
        evaluator.wait_for_step(2)
        chief.kill()
        found.saved = int(newest_checkpoint(run_dir).rpartition("-")[2])
        chief = start("chief")
        chief.wait_for_step(found.saved + 10)
        # Killed while it wrote, the first chief may have left half a checkpoint, which is named.
        half = rf"run/model\.ckpt-{found.saved + 2}: passed over, it is damaged"
        found.second_chief = [line for line in chief.lines if not re.match(half, line)]
        evaluator.wait_for_step(found.saved + 2)

        lost_at = time.monotonic()
        ps.kill()
        others = {"chief": chief, "worker 0": worker, "ps 1": second_ps}
        found.ends = {name: task.ended() for name, task in others.items()}
        found.seconds_to_end = time.monotonic() - lost_at
    return found


def test_takes_the_same_steps_as_one_process_with_the_whole_batch(story, tmp_path):
    """To rounding, which Muon and Adam make more of with each step: hence no more than two."""
    alone = Task("", [*FLAGS, 128], tmp_path)
    try:
        alone.wait_for_line("step 2: ")
        expected = weights(tmp_path / "run" / "model.ckpt-2")
    finally:
        alone.kill()
        alone.ended()
    assert len(expected) == 28
    for name, ours in story.weights.items():
        difference = np.abs(ours - expected[name])
        assert difference.mean() < 1e-4, name
        assert difference.max() < 1e-3, name


def test_says_whom_it_waits_for(story):
    assert re.match(r"chief: waits for ps 1 at localhost:\d+\n", story.waits)


def test_a_chief_that_is_started_again_goes_on_from_its_checkpoint(story):
    first = rf"(chief: waits .*|step {story.saved}: .*|epoch .*, step {story.saved + 1}/.*)\n"
    assert re.fullmatch(first, story.second_chief[0])


def test_the_loss_of_a_ps_ends_all_others_in_one_sentence(story):
    assert story.seconds_to_end < 60
    for name, (code, output) in story.ends.items():
        assert code == 2
        *_, last = output.splitlines()
        # ps 1 ends too, and a task that looks only then has lost both.
        lost = r"ps 0 at localhost:\d+(, ps 1 at localhost:\d+)? and the variables with it; .*\."
        assert re.fullmatch(rf"train\.py: error: {name}: lost {lost}", last)
        assert "Traceback" not in output


def test_one_process_takes_over_what_a_cluster_leaves(story, monkeypatch, capsys):
    """With the batch of all workers; asked for no more steps, it evaluates what is there."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name in ("settings.json", "train", "eval", "best.json"):
        assert (story.run_dir / name).exists()
    step = checkpoint_step(newest_checkpoint(story.run_dir))
    assert step >= story.saved + 10
    flags = ["--num_epochs", "0.01", "--batch_size", "128", "--run_dir", str(story.run_dir)]
    assert train.main(flags) == 0
    assert capsys.readouterr().out.startswith(f"step {step:,}: test accuracy ")


def test_ps_hold_about_as_many_bytes_each():
    with tf.Graph().as_default():
        strategy = LeastBytes(2)
        setter = tf.train.replica_device_setter(
            cluster={"ps": ["a:1", "b:2"]}, ps_strategy=strategy
        )
        with tf.device(setter):
            SqueezeNetModel(32, 24, 10).model_layers(tf.zeros([1, 24, 24, 3]), is_training=False)
    assert sum(strategy.loads) == 586_280
    assert max(strategy.loads) < 0.55 * 586_280
