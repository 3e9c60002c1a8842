"""Shared by several test files: quiet TensorFlow, helpers, and one trained run."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from base import runtime
from command.train import main
from data import Dataset, Split
from training.recipe import TUNED, Schedule

PROJECT = Path(__file__).resolve().parents[1]

TRAINED_FLAGS = ("--num_epochs", 8, "--batch_size", 32, "--eval_every", 150, "--seed", 1)

runtime.load_tensorflow_quietly()
runtime.BFLOAT16_FLAGS.clear()  # tests compute the same on every machine

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
    """Runs the longest files first, so that no test process idles at the end."""
    items.sort(key=lambda item: item.path.stem not in ("test_cluster_task", "test_train_faults"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Skips a test that fails because it needs another system."""
    try:
        return (yield)
    except (AttributeError, OSError, ValueError) as error:
        is_missing = str(getattr(error, "filename", None)).startswith(("/proc/", "/dev/full"))
        if (sys.platform == "win32" and needs_posix(error)) or (
            sys.platform != "linux" and is_missing
        ):
            pytest.skip(f"needs another system: {error}")
        raise


def needs_posix(error: Exception) -> bool:
    """Whether it is a missing function or signal, a link without the privilege, or a refused
    signal or preexec_fn."""
    if isinstance(error, AttributeError):
        return error.obj in (os, signal, socket)
    is_refused = str(error).startswith(("Unsupported signal", "preexec_fn is not supported"))
    return is_refused or getattr(error, "winerror", None) == 1314  # ERROR_PRIVILEGE_NOT_HELD


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


def train_here(*flags, cwd: Path) -> subprocess.CompletedProcess:
    """What `python train.py` does with these flags in that folder, in this process.

    It has loaded TensorFlow already, which takes longer than a short training.
    """
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
        try:
            code = main(list(map(str, flags)))
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(flags, code, stdout.getvalue(), stderr.getvalue())


def readme_examples() -> list[str]:
    """The Python examples in the README."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## In your own code")[1].split("\n## ")[0]
    pieces = re.findall(r"^(?: {4}.*\n|\n)+", section, re.MULTILINE)
    return [textwrap.dedent(piece) for piece in pieces if piece.strip()]


def readme_code(words: str) -> str:
    """The one of them that contains these words."""
    (code,) = (example for example in readme_examples() if words in example)
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
    schedule = Schedule(
        num_epochs=1,
        batch_size=4,
        total_steps=10,
        recipe=TUNED,
        learning_rate=0.01,
        warm_up_steps=2,
        eval_every=10,
        num_towers=1,
    )
    return dataclasses.replace(schedule, **changes)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, worker_id):
    """A finished short run of `python train.py` on the digits, by a user without a home, a terminal
    or a display: its CompletedProcess, with a copy of the run's folder as `run_dir`.

    The first of the parallel test processes that needs it trains for all of them.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = (shared if worker_id == "master" else shared.parent) / "trained"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            shared.mkdir()
            process = subprocess.run(
                [sys.executable, str(PROJECT / "train.py"), *map(str, TRAINED_FLAGS)],
                cwd=shared,
                env={name: os.environ[name] for name in os.environ.keys() - {"HOME", "TERM"}}
                | {"PYTHONIOENCODING": "ascii"},
                capture_output=True,
                text=True,
                timeout=600,
            )
            (shared / "process.json").write_text(json.dumps(vars(process)))
    folder = tmp_path_factory.mktemp("own") / "trained"
    shutil.copytree(shared, folder)
    process = subprocess.CompletedProcess(**json.loads((folder / "process.json").read_text()))
    process.run_dir = folder / "runs" / "digits"
    return process


@pytest.fixture
def tiny_dataset():
    """Random images of 8 x 8, three classes, seven to train on and five to test on."""
    rng = np.random.default_rng(0)

    train, test = (
        Split(
            rng.integers(0, 256, [size, 3 * 8 * 8], np.uint8), np.arange(size, dtype=np.int32) % 3
        )
        for size in (7, 5)
    )
    return Dataset(
        name="tiny",
        train=train,
        test=test,
        class_names=("a", "b", "c"),
        original_dim=8,
        resize_dim=6,
        mirrored=True,
    )


@pytest.fixture
def train(tiny_dataset, tmp_path):
    """A function that trains a small net on the tiny data set, in this process, with some numbers
    changed; the run's folder is tmp_path."""
    from tests.small_nets import SmallNet
    from train import train as train_model
    from training.plan import Plan

    model = SmallNet(tiny_dataset.original_dim, tiny_dataset.resize_dim, 3)
    return lambda **changes: train_model(
        Plan(model, tiny_dataset, short_schedule(**changes), tmp_path)
    )
