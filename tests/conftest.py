"""Shared by several test files: quiet TensorFlow, helpers, and one trained run."""

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data import Dataset, Split
from train import main
from train import train as train_model
from training.recipe import TUNED, Schedule
from training.runtime import load_tensorflow_quietly

PROJECT = Path(__file__).resolve().parents[1]

TRAINED_FLAGS = ("--num_epochs", 8, "--batch_size", 32, "--eval_every", 150, "--seed", 1)

load_tensorflow_quietly()

hypothesis.settings.register_profile("short", max_examples=200, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=4_000, deadline=None)
hypothesis.settings.load_profile("short")


def pytest_addoption(parser):
    """Adds the flags of this suite."""
    parser.addoption(
        "--kills",
        type=int,
        default=2,
        help="how many faults test_train_faults.py and test_cluster_chaos.py cause (default: 2)",
    )


def pytest_collection_modifyitems(items):
    """Runs the longest file first, so that no test process idles at the end."""
    items.sort(key=lambda item: item.path.name != "test_cluster_task.py")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Skips a test that fails because it needs another system."""
    try:
        return (yield)
    except (AttributeError, OSError, ValueError) as error:
        if sys.platform == "win32" and needs_posix(error):
            pytest.skip(f"needs POSIX: {error}")
        if sys.platform != "linux" and needs_linux(error):
            pytest.skip(f"needs Linux: {error}")
        raise


def needs_posix(error: Exception) -> bool:
    """Whether it is a missing function or signal, a link without the privilege, or a refused
    signal or preexec_fn."""
    if isinstance(error, AttributeError):
        return error.obj in (os, signal, socket)
    no_privilege = 1314  # ERROR_PRIVILEGE_NOT_HELD
    refused = re.match("Unsupported signal|preexec_fn is not supported", str(error))
    return bool(refused) or getattr(error, "winerror", None) == no_privilege


def needs_linux(error: Exception) -> bool:
    """Whether it is a missing file below /proc, or a missing /dev/full."""
    return str(getattr(error, "filename", None)).startswith(("/proc/", "/dev/full"))


@contextlib.contextmanager
def default_signals():
    """Within it signals act as by default, here and in processes started, whoever ignores them."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def train_command(*flags) -> list[str]:
    """The command line of `python train.py` with these flags."""
    return [sys.executable, str(PROJECT / "train.py"), *map(str, flags)]


def run_train(*flags, cwd: Path, largest_file: int | None = None) -> subprocess.CompletedProcess:
    """Runs `python train.py` as a user would, in a folder of its own.

    Args:
      flags: what follows train.py on the command line.
      cwd: the folder to run it in.
      largest_file: bytes after which the system refuses to let a file grow (a disk that is full).
    """

    def limit_files():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        train_command(*flags),
        cwd=cwd,
        preexec_fn=limit_files if largest_file else None,
        capture_output=True,
        text=True,
        timeout=240,
    )


def train_here(*flags, cwd: Path) -> subprocess.CompletedProcess:
    """The same in this process, which has loaded TensorFlow already: one second instead of five.

    Args:
      flags, cwd: as for `run_train`.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    redirected = contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr)
    with contextlib.chdir(cwd), redirected[0], redirected[1]:
        try:
            code = main(list(map(str, flags)))
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(flags, code, stdout.getvalue(), stderr.getvalue())


def readme_code(words: str) -> str:
    """The Python example in the README that contains these words."""
    readme = (PROJECT / "README.md").read_text()
    section = readme.split("## In your own code")[1].split("\n## ")[0]
    pieces = re.findall(r"^(?: {4}.*\n|\n)+", section, re.MULTILINE)
    (code,) = (textwrap.dedent(piece) for piece in pieces if words in piece)
    return code


def read_events(folder: Path) -> EventAccumulator:
    """The TensorBoard events of a folder, as TensorBoard reads them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def steps(events: EventAccumulator, tag: str) -> list[int]:
    """The steps at which a curve has points."""
    return [event.step for event in events.Scalars(tag)]


def short_schedule(**changes) -> Schedule:
    """A schedule of a few small steps, with some of its numbers changed."""
    numbers = {
        "num_epochs": 1,
        "batch_size": 4,
        "total_steps": 10,
        "recipe": TUNED,
        "learning_rate": 0.01,
        "warm_up_steps": 2,
        "eval_every": 10,
        "num_towers": 1,
        "seed": 0,
    }
    return Schedule(**(numbers | changes))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished short run on the digits: its CompletedProcess, with the folder as `run_dir`."""
    folder = tmp_path_factory.mktemp("trained")
    process = run_train(*TRAINED_FLAGS, cwd=folder)
    process.run_dir = folder / "runs" / "digits"
    return process


@pytest.fixture
def tiny_dataset():
    """Random images of 8 x 8, three classes, seven to train on and five to test on."""
    rng = np.random.default_rng(0)

    def split(size):
        records = rng.integers(0, 256, [size, 3 * 8 * 8], np.uint8)
        return Split(records, np.arange(size, dtype=np.int32) % 3)

    return Dataset(
        train=split(7),
        test=split(5),
        class_names=("a", "b", "c"),
        original_dim=8,
        resize_dim=6,
        mirrored=True,
    )


@pytest.fixture
def train(tiny_dataset, tmp_path, monkeypatch):
    """A function that trains on the tiny data set, in this process, with some numbers changed.

    Its attribute `last` is the last step's values; the run's folder is tmp_path.
    """
    from reporting.progress import Progress
    from squeezenet_model import SqueezeNetModel

    model = SqueezeNetModel(tiny_dataset.original_dim, tiny_dataset.resize_dim, 3)
    step_done = Progress.step_done

    def note(progress, values):
        function.last = values
        step_done(progress, values)

    def function(**changes):
        return train_model(model, tiny_dataset, short_schedule(**changes), tmp_path)

    monkeypatch.setattr(Progress, "step_done", note)
    return function
