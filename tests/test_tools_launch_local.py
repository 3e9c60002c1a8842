"""tools.launch_local: a whole cluster in one command."""

import re
import signal
import subprocess
import sys

import pytest

from tests.conftest import PROJECT
from tools.launch_local import cluster_tasks, free_ports
from training.cluster import read_cluster


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


def test_ctrl_c_ends_all_in_order(tmp_path):
    flags = ["--num_epochs", 1_000, "--eval_every", 5, "--run_dir", tmp_path / "run"]
    process = subprocess.Popen(
        command("--", *flags), cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("[chief] step 5: "):
                process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.kill()
    output = "".join(lines)
    assert re.search(r"^\[chief\] stopped at step \d+ of \d+, which is saved", output, re.MULTILINE)
    assert "[worker 0] worker 0: done" in output
    assert "[ps 0] ps 0: done" in output
    assert not processes_of(tmp_path)
