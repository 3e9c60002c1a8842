"""A cluster survives random faults of random tasks, and ends with the same weights.

Marked slow, and skipped by default: pytest -m slow tests/test_cluster_chaos.py --kills 20 takes
half an hour; with -s it prints each fault and how the tasks ended.
"""

import random
import signal
import sys
import time

import pytest

from tests.cluster_processes import digest, running_tasks

FLAGS = ["--batch_size", "16", "--num_epochs", "8", "--eval_every", "20", "--run_dir", "run"]
SIGNALS = ["SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP", "SIGSTOP"]
SEED = 70  # its first two faults freeze a task, one of them forever


def strike(rng, tasks):
    """Sends a random signal to a random task, at a random time.

    What it freezes thaws after a while, or is killed when all others have ended.
    """
    victim, name = rng.choice(tasks), rng.choice(SIGNALS)
    after, delay = rng.choice(["", *3 * [": training with "]]), rng.uniform(0.0, 6.0)
    thaws_after = rng.choice([None, rng.uniform(1.0, 80.0)])
    print(f"{name} to {victim.folder.name}, {delay} s after {after!r}; thaws after {thaws_after}")
    victim.wait_for(after)
    time.sleep(delay)
    victim.send(getattr(signal, name))
    if name == "SIGSTOP" and thaws_after:
        time.sleep(thaws_after)
        victim.send(signal.SIGCONT)
    elif name == "SIGSTOP":
        for other in set(tasks) - {victim}:
            other.end()
        victim.send(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX: signals, forks")
def test_random_faults_cost_nothing(pytestconfig, tmp_path):
    rng, expected = random.Random(SEED), {}
    runs = [  # the number of tasks, and of faults
        *((2, 0), (3, 0)),
        *((rng.choice([2, 3]), 2) for _ in range(0, pytestconfig.getoption("kills"), 2)),
    ]
    for number, (count, faults) in enumerate(runs):
        for left in range(faults, -1, -1):
            with running_tasks([FLAGS] * count, tmp_path / str(number)) as tasks:
                if left:
                    strike(rng, tasks)
                ends = [each.end() for each in tasks]
            print(*((code, output.splitlines()[-1:]) for code, output in ends), sep="\n")
            # Before Python handles a signal, it ends the process: minus its number. A task that
            # does not end in time has no code.
            assert {code for code, _ in ends} <= {0, 2, 130, 143, -2, -9, -15}, ends
        assert {code for code, _ in ends} == {0}, ends
        digests = {digest(output) for _, output in ends}
        assert len(digests | expected.setdefault(count, digests)) == 1
