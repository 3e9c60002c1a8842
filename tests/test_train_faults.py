"""What a training run survives. The table in tests/README.md names these tests."""

import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from base.files import read_json
from reporting.progress import RunProgress
from saved.checkpoints import Checkpoints, newest_checkpoint
from squeezenet_model import SqueezeNetModel
from tests.conftest import read_events
from tests.processes import SECONDS, before_call, run_train, training
from tests.small_nets import SmallNet

pty = pytest.importorskip("pty", reason="on Windows: other signals and terminals")
resource = pytest.importorskip("resource")
termios = pytest.importorskip("termios")

# An epoch of 47 steps; a checkpoint and an evaluation after every second step.
FLAGS = ("--num_epochs", 1, "--batch_size", 32, "--num_towers", 1, "--eval_every", 2)
LAST_STEP = 47
RUN_DIR = Path("runs", "digits")


def start(setup=None):
    """A setup for every process: it trains a smaller net, whose graph is built sooner."""
    SqueezeNetModel.FIRE_PARAMS_1 = SmallNet.FIRE_PARAMS_1
    SqueezeNetModel.FIRE_PARAMS_2 = SmallNet.FIRE_PARAMS_2
    if setup:
        setup()


def send(*numbers):
    """Sends signals to this process."""
    for number in numbers:
        signal.raise_signal(number)


def fill_output_disk():
    """Puts stdout on a disk that is full."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def close_pipe():
    """Makes stdout a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.close(reading)


def lose_folder():
    """Puts a file in the place of the run's folder."""
    RUN_DIR.rename("lost")
    RUN_DIR.write_text("")


def open_terminal():
    """Makes stdout a terminal, which is gone in the third step, before any signal comes."""
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    os.dup2(terminal, 1)
    os.close(terminal)
    sys.stdout = os.fdopen(1, "w", closefd=False)

    def close():
        Path("shown").write_bytes(os.read(ours, 4_096))
        os.close(ours)

    in_step(3, close)()


def in_step(number, act, *arguments):
    """A setup for a process, which then does something in the number-th step that it takes, before
    it shows that step."""
    return partial(before_call, number, RunProgress, "step_done", partial(act, *arguments))


class Fault(NamedTuple):
    """A fault, and how it ends the process.

    Attributes:
      setup: of the process.
      exit_code: its exit code.
      stdout: pattern for what it prints after the lines of its steps.
      stderr: pattern for all that it prints there.
      saved: the steps that it has saved, or None if that depends on the checkpoints' interval.
    """

    setup: Callable
    exit_code: int
    stdout: str = ""
    stderr: str = ""
    saved: int | None = None


STOPPED = r"stopped at step \d+ of 47, which is saved; run the same command again to resume\n"
OUTPUT_LOST = r"train\.py: error: the output: .*; fix that, and run the same command again\.\n"
NOT_WRITTEN = r"train\.py: error: runs/digits.* cannot be written \(.*\); free some .*\n"
SIGKILL = partial(send, signal.SIGKILL)
FAULTS = {
    "Ctrl-C before the first step": Fault(
        partial(before_call, 1, Checkpoints, "__init__", partial(send, signal.SIGINT)),
        130,
        r"stopped before step 1; run the same command again to resume\n",
    ),
    "killed before a checkpoint is evaluated": Fault(  # that of step 20, which adds to the curves
        partial(before_call, 10, RunProgress, "evaluated", SIGKILL), -9, saved=20
    ),
    "killed in a step": Fault(in_step(3, SIGKILL), -9),
    "killed before a best checkpoint": Fault(
        partial(before_call, 2, Checkpoints, "keep_best", SIGKILL), -9
    ),
    "Ctrl-C": Fault(in_step(3, send, signal.SIGINT), 130, STOPPED, saved=3),
    "Ctrl-C twice": Fault(in_step(3, send, signal.SIGINT, signal.SIGINT), -2),
    "SIGTERM": Fault(in_step(3, send, signal.SIGTERM), 143, STOPPED, saved=3),
    "SIGHUP": Fault(in_step(3, send, signal.SIGHUP), 129, STOPPED, saved=3),
    "terminal gone": Fault(open_terminal, 129, stderr=OUTPUT_LOST),
    "pipe closed": Fault(in_step(1, close_pipe), 1, saved=1),
    "disk behind stdout full": Fault(in_step(1, fill_output_disk), 2, stderr=OUTPUT_LOST, saved=1),
    "disk full": Fault(  # no file can grow beyond 20 kB
        in_step(3, resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000)),
        2,
        stderr=NOT_WRITTEN,
    ),
    "run folder lost": Fault(in_step(3, lose_folder), 2, stderr=NOT_WRITTEN),
}


def assert_same(folder, other):
    """Both runs have left the same checkpoints and curves, without overlap or gap."""
    assert run_files(folder) == run_files(other)
    assert curves(folder) == curves(other)


def last_saved(folder):
    """The step of the newest intact checkpoint of a run; 0 if there is none."""
    return int((newest_checkpoint(folder / RUN_DIR) or "0").rpartition("-")[2])


def run_files(folder):
    """The files of the last and the best checkpoint of a run, by name."""
    return {
        path.name: path.read_bytes()
        for pattern in (f"model.ckpt-{LAST_STEP}.*", "best*")
        for path in (folder / RUN_DIR).glob(pattern)
    }


def curves(folder):
    """The points of every curve in TensorBoard except the speed, which differs in every run."""
    return {
        f"{name}/{tag}": [(event.step, event.value) for event in events.Scalars(tag)]
        for name in ("train", "eval")
        for events in [read_events(folder / RUN_DIR / name)]
        for tag in set(events.Tags()["scalars"]) - {"images_per_second"}
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_train(*FLAGS, cwd=folder, setup=start).returncode == 0
    return folder


@pytest.fixture(scope="module")
def struck(tmp_path_factory):
    """A run that suffers one fault after the other: its folder; how each process ended, by fault,
    and how many steps it has saved; and the last process, which started with a damaged checkpoint.
    """
    folder, ends = tmp_path_factory.mktemp("struck"), {}
    for name, fault in FAULTS.items():
        before = last_saved(folder)
        process = run_train(*FLAGS, cwd=folder, setup=partial(start, fault.setup))
        if (folder / "lost").exists():
            (folder / RUN_DIR).unlink()
            (folder / "lost").rename(folder / RUN_DIR)
        ends[name] = process, last_saved(folder) - before
    os.truncate(f"{newest_checkpoint(folder / RUN_DIR)}.data-00000-of-00001", 999)
    return folder, ends, run_train(*FLAGS, cwd=folder, setup=start)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_the_process_in_order(struck, name):
    fault, (process, saved) = FAULTS[name], struck[1][name]
    assert process.returncode == fault.exit_code
    assert re.fullmatch(fault.stderr, process.stderr)
    assert re.fullmatch(rf"((resumed|step|epoch) .*\n)*{fault.stdout}", process.stdout)
    assert saved == fault.saved or (fault.saved is None and saved >= 0)


def test_a_terminal_gets_a_bar(struck):
    bar = rb"\repoch 1/1 \|.*\| step \d+/47, loss \d\.\d+, accuracy \d+%, .* left"
    assert re.search(bar, (struck[0] / "shown").read_bytes())


def test_a_damaged_newest_checkpoint_is_skipped(struck):
    assert struck[2].returncode == 0
    assert re.match(r"runs/digits/model\.ckpt-\d+: skipped because it is damaged", struck[2].stderr)


def test_a_run_struck_by_all_faults_leaves_the_same_checkpoints_and_curves(undisturbed, struck):
    assert len(run_files(undisturbed)) == 2 + 3
    assert [step for step, _ in curves(undisturbed)["eval/loss"]] == [*range(2, 47, 2), 47]
    assert_same(struck[0], undisturbed)


def test_a_run_killed_at_random_moments_ends_the_same(undisturbed, tmp_path, pytestconfig):
    kills, chance = pytestconfig.getoption("--kills"), random.Random(0)
    while kills:
        folder, exit_code = tmp_path / str(kills), None
        folder.mkdir()
        while exit_code is None:
            with training(*FLAGS, cwd=folder, setup=start) as process:
                process.join(chance.uniform(0, 6) if kills else SECONDS)
                exit_code = process.exitcode
            kills -= exit_code is None
        assert exit_code == 0
        assert_same(folder, undisturbed)


def test_a_complete_run_that_is_extended_keeps_every_point_of_its_curves(undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    flags = (*FLAGS, "--num_epochs", 1.2, "--eval_every", 5)
    assert run_train(*flags, cwd=tmp_path, setup=start).returncode == 0
    extended, before = curves(tmp_path), curves(undisturbed)
    assert {name: extended[name][: len(points)] for name, points in before.items()} == before
    assert [step for step, _ in extended["eval/loss"]][-4:] == [47, 50, 55, 57]
    assert read_json(tmp_path / RUN_DIR / "results.json")["steps"] == 57
