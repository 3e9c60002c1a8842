"""Both ends of a contender's process: Contender starts it, and Runner does its job in there.

This imports no framework, since each runs in an environment of its own.
"""

import contextlib
import functools
import importlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

import data
from base import UserError
from base.program import Parser, local_path
from data.download import DEFAULT_DIR
from training.batches import batch_at

PROJECT = Path(__file__).resolve().parents[2]
START = "from benchmarks.contenders.process import Runner; Runner().run()"
PEERS_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    # Keeps glibc from returning a step's large buffers to the kernel, which TensorFlow never does.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}
OURS = "train.py"  # the name of this project among the contenders
# Of the chapter's net for ten classes, as tools.scopes prints, and of training on an image: two
# operations for each multiply-add, and twice as many for the gradients as for the forward pass.
# (This includes the gradient of conv1's inputs, 3% of the total, which is never computed.)
PARAMETERS, FLOP = 146_570, 67_571_712
WARM_UP_STEPS = 20  # for frameworks to compile, choose algorithms and fill caches
MANY_EPOCHS = 10_000.0  # longer than anyone takes turns


class Job(NamedTuple):
    """What a contender's process does.

    Attributes:
      framework: its module in this package.
      work: a function of that module, which takes a Runner.
      batch_size: images per step.
      options: more flags for train.py; "compiled" for PyTorch and Keras to compile the net.
      learning_rate: its peak, for the peers; the default is Adam's own.
      num_epochs: length of a whole run; MANY_EPOCHS to train in turns.
      seed: 0 or more; determines initial weights and the batches.
      data_dir: folder of CIFAR-10's files.
    """

    framework: str
    work: str = "train"
    batch_size: int = 128
    options: tuple[str, ...] = ()
    learning_rate: float = 1e-3
    num_epochs: float = MANY_EPOCHS
    seed: int = 0
    data_dir: str = ""

    @property
    def is_peer(self) -> bool:
        """Whether it runs in the peers' environment instead of this one."""
        return self.framework not in ("this_project", "course")


class Contender(subprocess.Popen):
    """A contender's process, as seen from outside; a context manager, as all processes.

    Its end closes the pipes. Then a contender that takes turns ends at once, and one that trains a
    whole run when it is complete.

    Args:
      name: its name, for messages.
      job: what it does.
      flags: those that `contender_parser` adds.
    """

    def __init__(self, name: str, job: Job, flags: Namespace):
        self._name, self._log = name, tempfile.TemporaryFile()  # noqa: SIM115
        job = job._replace(data_dir=str(flags.data_dir.absolute()))
        python = flags.peers_python.absolute() if job.is_peer else sys.executable
        super().__init__(
            [python, "-c", START, json.dumps(job)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=PROJECT,
            env=os.environ | (PEERS_ENVIRONMENT if job.is_peer else {}),
        )

    def answer(self) -> float:
        """The next number that it answers; raises UserError if it has ended instead."""
        if answer := self.stdout.readline():  # type: ignore[union-attr]
            return float(answer)
        self.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines() or ["no output"]
        raise UserError(f"{self._name}: does not run ({lines[-1]}); fix it, or leave it out.")

    def take_turn(self, seconds: float) -> float:
        """Its images per second in so many seconds; raises UserError if it has ended."""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer
            self.stdin.write(b"%f\n" % seconds)  # type: ignore[union-attr]
        return self.answer()


class Runner:
    """A contender's process, as seen from inside: lets its loop take the steps of its job.

    In turns, each line on stdin says for how many seconds to run, and the answer on stdout is the
    images per second; the first answer says that it is ready. The answer of a whole run is its
    accuracy. Whatever else is printed goes to stderr.

    Attributes:
      job: what to do.
    """

    def __init__(self) -> None:
        self.job = Job(*json.loads(sys.argv[1]))
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def run(self) -> None:
        """Does the job."""
        module = importlib.import_module(f"benchmarks.contenders.{self.job.framework}")
        self._answer(getattr(module, self.job.work)(self))

    @functools.cached_property
    def dataset(self) -> data.Dataset:
        """CIFAR-10."""
        return data.load("cifar10", Path(self.job.data_dir), may_download=False)

    @property
    def total_steps(self) -> int:
        """Of a whole run; in turns, more than there is time for."""
        return math.ceil(self.job.num_epochs * len(self.dataset.train.labels) / self.job.batch_size)

    def steps(self, images: float | None = None, at_once: int = 1) -> Iterator[int]:
        """Yields when it is time to take a step, or `at_once` steps.

        In turns, this never ends: the process ends at the end of stdin.

        Args:
          images: of a step; None for those of a batch.
        """
        if self.job.num_epochs != MANY_EPOCHS:
            yield from range(0, self.total_steps, at_once)
            return
        yield from range(0, WARM_UP_STEPS, at_once)
        self._answer(0.0)
        for line in sys.stdin:
            taken, started = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - started) < float(line):
                yield taken
                taken += at_once
            self._answer((images or self.job.batch_size) * taken / elapsed)
        sys.exit()

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """This project's training batch of a step.

        Returns:
          crops: float32 [batch, 3, 24, 24], 0..255, not yet standardized; labels: int32 [batch].
        """
        crops, labels = batch_at(self.dataset, self.job.batch_size, self.job.seed, int(step))
        return crops.reshape(len(crops), 3, self.dataset.resize_dim, -1), labels

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batch of each step, while a thread makes that of the next one."""
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(self.batch, 0)
            for step, _ in enumerate(self.steps(), start=1):
                batch, coming = coming.result(), thread.submit(self.batch, step)
                yield batch

    def accuracy(self, logits_of: Callable[[np.ndarray], np.ndarray]) -> float:
        """The fraction of the test images that is classified correctly, by their central crops.

        Args:
          logits_of: crops as above -> [batch, classes].
        """
        test, dim, crop_dim = self.dataset.test, self.dataset.original_dim, self.dataset.resize_dim
        inside = slice((dim - crop_dim) // 2, (dim + crop_dim) // 2)
        crops = np.asarray(test.records).reshape(-1, 3, dim, dim)[:, :, inside, inside]
        parts = np.array_split(crops.astype(np.float32), math.ceil(len(crops) / 500))
        predictions = np.concatenate([logits_of(part).argmax(1) for part in parts])
        return float(np.mean(predictions == test.labels))

    def _answer(self, number: float) -> None:
        print(number, file=self._answers, flush=True)


def contender_parser(prog: str, description: str) -> Parser:
    """A parser with the flags of all commands that start contenders."""
    parser = Parser(prog=prog, description=description, formatter_class=RawDescriptionHelpFormatter)
    add, python = parser.add_argument, Path(".venv-peers/bin/python")
    add("--data_dir", type=local_path, default=DEFAULT_DIR, help="default: %(default)s")
    add("--peers_python", type=local_path, default=python, help="default: %(default)s")
    return parser


def check_peers(jobs: Iterable[Job], flags: Namespace) -> None:
    """Raises UserError if one of the jobs needs the peers' environment, which is not there."""
    if any(job.is_peer for job in jobs) and not flags.peers_python.exists():
        raise UserError(
            f"--peers_python {flags.peers_python}: does not exist; "
            "benchmarks/requirements-peers.txt says how to install the peers."
        )
