"""The order, crops and flips of the training batches, as functions of (seed, step)."""

import subprocess
import sys

import numpy as np
import pytest

from data import Dataset, Split
from training.batches import batch_at, batch_indices, random_offsets
from training.recipe import WHOLE_BATCH, Share


class TestOrder:
    def test_shows_every_image_once_per_epoch(self):
        shown = np.concatenate([batch_indices(10, 4, seed=0, step=step) for step in range(5)])
        for epoch in shown.reshape(2, 10):
            assert sorted(epoch) == list(range(10))

    def test_differs_from_epoch_to_epoch_and_from_seed_to_seed(self):
        first, second = (batch_indices(100, 100, seed=0, step=step) for step in (0, 1))
        assert (first != second).any()
        assert (first != batch_indices(100, 100, seed=1, step=0)).any()

    def test_a_batch_larger_than_the_data_shows_images_again(self):
        assert sorted(batch_indices(3, 6, seed=0, step=0)) == [0, 0, 1, 1, 2, 2]


class TestOffsets:
    def test_are_uniform(self):
        top, left, flip = random_offsets(90_000, 9, mirrored=True, seed=0, step=0)
        for offsets in (top, left):
            counts = np.bincount(offsets, minlength=9)
            assert len(counts) == 9
            np.testing.assert_allclose(counts, 10_000, rtol=0.05)
        assert flip.mean() == pytest.approx(0.5, abs=0.01)

    def test_are_independent_of_each_other(self):
        top, left, flip = random_offsets(90_000, 9, mirrored=True, seed=0, step=0)
        assert np.abs(np.corrcoef([top, left, flip]) - np.eye(3)).max() < 0.02

    def test_do_not_flip_what_must_not_be_mirrored(self):
        _, _, flip = random_offsets(1_000, 9, mirrored=False, seed=0, step=0)
        assert not flip.any()

    def test_differ_from_step_to_step(self):
        offsets = [random_offsets(50, 9, mirrored=True, seed=0, step=step)[0] for step in (0, 1)]
        assert (offsets[0] != offsets[1]).any()


class TestShares:
    """The parts of each batch for tasks that train together."""

    @pytest.fixture
    def numbered(self):
        """24 images, whose labels are their numbers."""
        records = np.random.default_rng(0).integers(0, 256, [24, 3 * 8 * 8], np.uint8)
        split = Split(records, np.arange(24, dtype=np.int32))
        return Dataset(split, split, ("a", "b"), original_dim=8, resize_dim=6, mirrored=True)

    @pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (3, 12)])
    def test_together_show_every_image_once_per_epoch(self, numbered, count, batch_size):
        shown = []
        for index in range(count):
            for step in range(24 // batch_size):
                shown += list(batch_at(numbered, batch_size, 0, step, Share(index, count))[1])
        assert sorted(shown) == list(range(24))

    def test_together_are_the_batch_of_one_process(self, numbered):
        whole = batch_at(numbered, 12, 0, 5, WHOLE_BATCH)
        parts = [batch_at(numbered, 12, 0, 5, Share(index, 3)) for index in range(3)]
        for ours, theirs in zip(map(np.concatenate, zip(*parts, strict=True)), whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_tensorflow_is_not_needed():
    """So other frameworks can train on the same batches."""
    code = "import sys, training.batches; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
