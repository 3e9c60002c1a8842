"""tools.launch_local: a whole cluster in one command."""

import re
import signal
import subprocess
import sys
import types

import pytest

from cluster.config import read_cluster
from tests.conftest import PROJECT
from tools.launch_local import cluster_tasks, free_ports


def command(*arguments):
    return [sys.executable, "-m", "tools.launch_local", *map(str, arguments)]


def run_local(*arguments):
    return subprocess.run(
        command(*arguments), cwd=PROJECT, capture_output=True, text=True, timeout=100
    )


def processes_of(run_dir):
    """Those that still train there."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if str(run_dir) in line and "train.py" in line]


def test_gives_each_task_its_place():
    clusters = {name: read_cluster(config) for name, config in cluster_tasks(3, 2).items()}
    assert list(clusters) == ["ps 0", "ps 1", "chief", "worker 0", "worker 1"]
    for name, cluster in clusters.items():
        assert cluster.name == name
        assert cluster.num_workers == 3
    addresses = [a for own in clusters["chief"].addresses.values() for a in own]
    assert len(set(addresses)) == 5


def test_free_ports_differ():
    assert len(set(free_ports(20))) == 20


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--ps", "0"], ["--workers", "x"]])
def test_a_wrong_number_is_one_sentence(arguments):
    process = run_local(*arguments)
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1


def test_ends_all_with_the_code_of_the_one_that_failed(tmp_path):
    process = run_local("--", "--dataset", tmp_path / "none", "--run_dir", tmp_path / "run")
    assert process.returncode == 2
    assert "[chief] train.py: error: --dataset" in process.stdout
    assert not processes_of(tmp_path)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """An asynchronous cluster of two workers that Ctrl-C has ended."""
    run_dir = tmp_path_factory.mktemp("local") / "run"
    flags = ["--asynchronous", "--num_epochs", 1_000, "--eval_every", 5, "--run_dir", run_dir]
    process = subprocess.Popen(
        command("--", *flags), cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.match(r"\[chief\] step \d+: ", line) and len(lines) < 10:
                process.send_signal(signal.SIGINT)
                break
        lines += process.stdout
        code = process.wait()
    finally:
        process.kill()
    return types.SimpleNamespace(run_dir=run_dir, output="".join(lines), code=code)


def test_ctrl_c_ends_all_in_order(interrupted):
    assert interrupted.code == 130
    said = r"^\[chief\] stopped at step \d+ of \d+, which is saved"
    assert re.search(said, interrupted.output, re.MULTILINE)
    assert "[worker 0] worker 0: done" in interrupted.output
    assert "[ps 0] ps 0: done" in interrupted.output
    assert not processes_of(interrupted.run_dir)


def test_a_run_that_is_complete_ends_its_cluster_too(interrupted):
    flags = ["--asynchronous", "--num_epochs", 0.01, "--run_dir", interrupted.run_dir]
    process = run_local("--workers", 1, "--", *flags)
    assert process.returncode == 0, process.stdout
    assert re.search(r"^\[chief\] test accuracy ", process.stdout, re.MULTILINE)
    assert "[ps 0] ps 0: done" in process.stdout
