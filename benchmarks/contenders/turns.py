"""What all contenders share: the images, and how they take turns."""

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
PARAMETERS = 146_570  # of the chapter's net for ten classes, as tools.scopes prints them
WARM_UP_STEPS = 20  # compile, find their algorithms, fill their caches
PREFETCHED_BATCHES = 4


class Turns:
    """Lets a training loop run only when it is its turn.

    The loop calls step_done() after each step, and is held there while others have their turn: a
    line on stdin says for how many seconds to run, and the answer is what was done a second. The
    end of stdin is the end of the process. What else the process prints goes to stderr.

    Args:
      amount: what a step does: its images, say.
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
            os._exit(0)  # frameworks' threads would make a longer story of it
        self._seconds = float(line)
        self._steps = 0
        self._started = time.perf_counter()


def check_parameters(count: int) -> None:
    """Raises ValueError if that is not the number of the chapter's net: then it is another one."""
    if count != PARAMETERS:
        raise ValueError(f"the net has {count:,} parameters, not {PARAMETERS:,}")


def images() -> data.Dataset:
    """CIFAR-10 from the folder that the command line names."""
    return data.load("cifar10", Path(sys.argv[1]), may_download=False)


def batches(dataset: data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches that this project trains on, made ahead by a thread, for those without their own.

    Yields:
      crops: float32 [BATCH_SIZE, 3, 24, 24], 0..255, not yet standardized; labels: int32.
    """
    made = queue.Queue(PREFETCHED_BATCHES)

    def make():
        step = 0
        while True:
            crops, labels = batch_at(dataset, BATCH_SIZE, SEED, step)
            made.put((crops.reshape(BATCH_SIZE, 3, dataset.resize_dim, -1), labels))
            step += 1

    threading.Thread(target=make, daemon=True).start()
    while True:
        yield made.get()
