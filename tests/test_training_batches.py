"""The order, crops and flips of the training batches, as functions of (seed, step)."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from data import Split
from training.batches import batch_at, batch_indices, random_offsets
from training.recipe import BatchPart


@pytest.mark.parametrize(("size", "batch_size"), [(10, 4), (6, 6), (3, 7)])
def test_every_image_is_shown_once_per_epoch(size, batch_size):
    shown = np.concatenate([batch_indices(size, batch_size, 0, step) for step in range(size)])
    np.testing.assert_array_equal(
        np.sort(shown.reshape(batch_size, size)), [range(size)] * batch_size
    )


def test_order_and_crops_differ_from_step_to_step_and_from_seed_to_seed():
    draws = [
        (batch_indices(100, 100, seed, step), random_offsets(50, 9, True, seed, step)[0])
        for seed, step in ((0, 0), (0, 1), (1, 0))
    ]
    for orders_or_crops in zip(*draws, strict=True):
        assert len({array.tobytes() for array in orders_or_crops}) == 3


def test_crops_and_flips_are_uniform_and_independent():
    top, left, flip = random_offsets(90_000, 9, mirrored=True, seed=0, step=0)
    counts, _ = np.histogramdd([top, left, flip], bins=[9, 9, 2])
    np.testing.assert_allclose(counts, 90_000 / 162, rtol=0.2)


def test_nothing_is_flipped_that_must_not_be_mirrored():
    assert not random_offsets(1_000, 9, mirrored=False, seed=0, step=0)[2].any()


def test_crops_come_with_the_labels_of_their_images(tiny_dataset):
    numbers = np.arange(7)
    train = Split(np.repeat(numbers.astype(np.uint8)[:, None], 3 * 8 * 8, axis=1), numbers * 10)
    crops, labels = batch_at(dataclasses.replace(tiny_dataset, train=train), 14, seed=0, step=0)
    np.testing.assert_array_equal(10 * crops, np.repeat(labels[:, None], 3 * 6 * 6, axis=1))


def test_the_parts_of_a_cluster_make_up_the_batch_of_one_process(tiny_dataset):
    whole = batch_at(tiny_dataset, 12, seed=0, step=5)
    parts = [batch_at(tiny_dataset, 12, 0, 5, BatchPart(index, 3)) for index in range(3)]
    for ours, theirs in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(ours), theirs)


def test_other_frameworks_can_use_them_without_tensorflow():
    code = "import sys, imagenet, training.batches; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
