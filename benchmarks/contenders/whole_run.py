"""Shared by the contenders of benchmarks.time_to_accuracy: what to train, and the answer.

Arguments of each: folder of the images, number of epochs, peak learning rate, seed, and the number
of training images to hold out and be tested on (0: tested on the test images).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import data
from benchmarks.contenders.turns import BATCH_SIZE
from training.batches import crop_and_flip

EVALUATION_BATCH = 500


class WholeRun(NamedTuple):
    """What a contender trains.

    Attributes:
      dataset: the images to train on, and the evaluation set.
      total_steps: steps of the run.
      learning_rate: its peak.
      seed: 0 or more; determines initial weights and the batches.
    """

    dataset: data.Dataset
    total_steps: int
    learning_rate: float
    seed: int


def read_arguments() -> WholeRun:
    """The command line's arguments."""
    folder, num_epochs, learning_rate, seed, held_out = sys.argv[1:]
    dataset = data.load("cifar10", Path(folder), may_download=False)
    if int(held_out):
        dataset = data.hold_out(dataset, int(held_out))
    steps = math.ceil(float(num_epochs) * len(dataset.train.labels) / BATCH_SIZE)
    return WholeRun(dataset, steps, float(learning_rate), int(seed))


def evaluation_batches(dataset: data.Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    """The central crops of the evaluation set: float32 [N, 3, 24, 24], 0..255, and their labels."""
    dim, crop_dim = dataset.original_dim, dataset.resize_dim
    split = dataset.evaluation_set
    batches = []
    for first in range(0, len(split.labels), EVALUATION_BATCH):
        records = split.records[first : first + EVALUATION_BATCH]
        center = np.full(len(records), (dim - crop_dim) // 2)
        flip = np.zeros(len(records), bool)
        crops = crop_and_flip(records, dim, crop_dim, center, center, flip).astype(np.float32)
        labels = split.labels[first : first + EVALUATION_BATCH]
        batches.append((crops.reshape(-1, 3, crop_dim, crop_dim), labels))
    return batches


def answer(num_correct: int, dataset: data.Dataset) -> None:
    """Prints the accuracy, 0..1, as the last line."""
    print(num_correct / len(dataset.evaluation_set.labels))
