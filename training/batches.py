"""The training batches: their order, crops and flips are functions of (seed, step). No TensorFlow.

Nothing here keeps state, so a run that resumes at step n sees the same batches as one that was
never stopped. (`Dataset.shuffle` and `tf.random_crop` keep their state in the session and start
over in each.)
"""

import functools

import numpy as np

from data import Dataset
from training.recipe import WHOLE_BATCH, BatchPart

ORDER, CROPS = range(2)  # the purpose of a random stream; keeps the streams of one seed apart


@functools.lru_cache(maxsize=2)
def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the images in an epoch: int64 [size], each index once."""
    return np.random.default_rng([seed, ORDER, epoch]).permutation(size)


def batch_indices(size: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The images of one step: int64 [batch_size], indices 0..size - 1.

    Epochs follow each other without a gap: a batch may span two of them, so every batch is full and
    every epoch has every image exactly once.
    """
    first, start = divmod(step * batch_size, size)
    last = (step * batch_size + batch_size - 1) // size
    orders = [epoch_order(size, seed, epoch) for epoch in range(first, last + 1)]
    return np.concatenate(orders)[start : start + batch_size]


def random_offsets(
    batch_size: int, positions: int, mirrored: bool, seed: int, step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where one step's images are cropped (top and left, int64 [batch_size], 0..positions - 1), and
    which are flipped (bool [batch_size]): half of them, if mirrored images keep their class."""
    rng = np.random.default_rng([seed, CROPS, step])
    top, left = rng.integers(0, positions, [2, batch_size])
    return top, left, rng.random(batch_size) < (0.5 if mirrored else 0.0)


def crop_and_flip(
    records: np.ndarray,
    dim: int,
    crop_dim: int,
    top: np.ndarray,
    left: np.ndarray,
    flip: np.ndarray,
) -> np.ndarray:
    """Crops a square from every record and flips some left to right, directly on the bytes: uint8
    [batch, 3 * dim * dim] -> [batch, 3 * crop_dim * crop_dim], channel-major."""
    images = records.reshape(-1, 3, dim, dim)
    windows = np.lib.stride_tricks.sliding_window_view(images, [crop_dim] * 2, axis=(2, 3))
    crops = windows[np.arange(len(images)), :, top, left]
    crops[flip] = crops[flip, ..., ::-1]
    return crops.reshape(len(images), -1)


def batch_at(
    dataset: Dataset, batch_size: int, seed: int, step: int, part: BatchPart = WHOLE_BATCH
) -> tuple[np.ndarray, np.ndarray]:
    """The training batch of one step, or a task's part of it: crops, float32
    [N, 3 * resize_dim * resize_dim], 0..255, channel-major, and labels, int32 [N]."""
    split, dim, crop_dim = dataset.train, dataset.original_dim, dataset.resize_dim
    own = part.of(batch_size)
    indices = batch_indices(len(split.labels), batch_size, seed, step)[own]
    top, left, flip = random_offsets(batch_size, dim - crop_dim + 1, dataset.mirrored, seed, step)
    crops = crop_and_flip(split.records[indices], dim, crop_dim, top[own], left[own], flip[own])
    # Not as bytes: oneDNN cannot transpose uint8 on every CPU, and TensorFlow would log an error.
    return crops.astype(np.float32), split.labels[indices]


def records_to_images(records: np.ndarray, dim: int) -> np.ndarray:
    """[images, 3 * dim * dim], channel-major, 0..255 -> uint8 [images, dim, dim, 3]."""
    return records.reshape(-1, 3, dim, dim).transpose(0, 2, 3, 1).astype(np.uint8)
