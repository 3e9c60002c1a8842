"""Shared by all contenders: the images, and taking turns."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import data
from training.batches import batch_at

BATCH_SIZE = 128
SEED = 0
PARAMETERS = 146_570  # of the chapter's net for ten classes, as tools.scopes prints
WARM_UP_STEPS = 20  # for frameworks to compile, choose algorithms and fill caches
PREFETCHED_BATCHES = 4


class Turns:
    """Lets a training loop run only when it is its turn.

    The loop calls step_done() after each step, which blocks while others have their turn. A line on
    stdin says for how many seconds to run; the answer on stdout is the amount done per second. The
    process ends at the end of stdin. All its other output goes to stderr.

    Args:
      amount: the amount that a step does, such as its number of images.
    """

    def __init__(self, amount: int = BATCH_SIZE):
        self._amount = amount
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._steps = 0
        self._started = None
        self._seconds = 0.0

    def step_done(self, steps: int = 1) -> None:
        """Counts steps, and waits for the next turn when this one is over."""
        self._steps += steps
        if self._started is None:
            if self._steps >= WARM_UP_STEPS:
                self._wait("ready")
            return
        seconds = time.perf_counter() - self._started
        if seconds >= self._seconds:
            self._wait(str(self._amount * self._steps / seconds))

    def _wait(self, answer: str) -> None:
        print(answer, file=self._answers, flush=True)
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # does not wait for the frameworks' threads
        self._seconds = float(line)
        self._steps = 0
        self._started = time.perf_counter()


def check_parameters(count: int) -> None:
    """Raises ValueError if the net does not have as many parameters as the chapter's."""
    if count != PARAMETERS:
        raise ValueError(f"the net has {count:,} parameters, not {PARAMETERS:,}")


def images() -> data.Dataset:
    """CIFAR-10 from the folder on the command line."""
    return data.load("cifar10", Path(sys.argv[1]), may_download=False)


def batches(dataset: data.Dataset, seed: int = SEED) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """This project's training batches, prefetched by a thread, for contenders without a pipeline.

    Yields:
      crops: float32 [BATCH_SIZE, 3, 24, 24], 0..255, not yet standardized; labels: int32.
    """
    made = queue.Queue(PREFETCHED_BATCHES)

    def make():
        step = 0
        while True:
            crops, labels = batch_at(dataset, BATCH_SIZE, seed, step)
            made.put((crops.reshape(BATCH_SIZE, 3, dataset.resize_dim, -1), labels))
            step += 1

    threading.Thread(target=make, daemon=True).start()
    while True:
        yield made.get()
