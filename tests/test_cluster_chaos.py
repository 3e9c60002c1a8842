"""A cluster survives random faults of random tasks, and ends with the same weights.

Marked slow, and skipped by default: pytest -m slow tests/test_cluster_chaos.py --kills 20 takes
half an hour; with -s it prints each fault and how the tasks ended.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.cluster_processes import digest, running_tasks

pytestmark = pytest.mark.slow
FLAGS = ["--batch_size", "16", "--num_epochs", "2", "--eval_every", "6", "--run_dir", "run"]
LONGEST_SILENCE = 60.0  # seconds, from a fault on
SEED = 0


class Fault:
    """A fault of one task of a cluster, and its time.

    Args:
      rng: decides it.
      count: how many tasks there are.
    """

    def __init__(self, rng, count):
        self.victim = rng.randrange(count)
        self.signal = rng.choice(["SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP", "SIGSTOP"])
        self.in_training = rng.random() < 0.75  # otherwise after the start of the processes
        self.delay = rng.uniform(0.0, 6.0)
        self.thaws_after = rng.choice([rng.uniform(1.0, 80.0), None])  # what SIGSTOP froze

    def __str__(self):
        when = f"{self.delay:.1f} s after " + ("joining" if self.in_training else "the start")
        thaws = self.signal == "SIGSTOP" and self.thaws_after
        after = f", SIGCONT {thaws:.0f} s later" if thaws else ""
        return f"{self.signal} to task {self.victim}, {when}{after}"

    def strike(self, tasks):
        """Does it; one that stays frozen is killed when all others have ended."""
        victim = tasks[self.victim]
        if self.in_training:
            victim.wait_for_line(r".*: training with ")
        time.sleep(self.delay)
        for each in tasks:  # a start takes as long as the machine is busy
            each.forget_silence()
        if self.signal != "SIGSTOP":
            victim.send(getattr(signal, self.signal))
            return
        victim.freeze()
        if self.thaws_after:
            time.sleep(self.thaws_after)
            victim.release(signal.SIGCONT)
            return
        for each in tasks:
            if each is not victim:
                each.ended()
        victim.release(signal.SIGKILL)


def processes_in(folder):
    """The numbers of the processes whose working directory is a folder."""
    numbers = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if os.readlink(link) == str(folder):
                numbers.append(int(link.parent.name))
        except OSError:  # it has ended, or is another user's
            pass
    return numbers


def undisturbed(count, folder):
    folder.mkdir()
    with running_tasks([FLAGS] * count, folder) as tasks:
        ends = [each.ended() for each in tasks]
    assert [code for code, _ in ends] == [0] * count, ends
    return digest(ends[0][1])


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
def test_random_faults_cost_nothing(pytestconfig, tmp_path):
    rng = random.Random(SEED)
    expected = {count: undisturbed(count, tmp_path / f"undisturbed{count}") for count in (2, 3)}
    left, runs, longest = pytestconfig.getoption("kills"), 0, 0.0
    while left:
        runs += 1
        count = rng.choice([2, 3])
        folder = tmp_path / f"run{runs}"
        folder.mkdir()
        codes = None
        while codes != [0] * count:
            with running_tasks([FLAGS] * count, folder) as tasks:
                fault = Fault(rng, count) if left and rng.random() < 0.8 else None
                print(f"\nrun {runs}, {count} tasks: {fault or 'undisturbed'}", flush=True)
                if fault:
                    left -= 1
                    fault.strike(tasks)
                ends = [each.ended() for each in tasks]
            codes = [code for code, _ in ends]
            for code, output in ends:
                print(f"  {code}: {output.splitlines()[-1:]}", flush=True)
            longest = max(longest, *(each.longest_silence for each in tasks))
            assert longest < LONGEST_SILENCE, ends
            assert not processes_in(folder)
            # Before Python handles a signal, it ends the process: minus its number.
            assert set(codes) <= {0, 2, 130, 143, -2, -9, -15}, ends
            assert fault or codes == [0] * count, ends
        assert {digest(output) for _, output in ends} == {expected[count]}, fault
    print(f"\n{runs} runs; the longest silence was {longest:.0f} s")
