"""The net's inputs: the chapter's rules, applied to a whole batch at once."""

import numpy as np
import pytest

from data import Split
from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import short_schedule
from training.batches import crop_and_flip
from training.input_pipeline import TrainingBatches, preprocessed, standardized


@pytest.fixture
def model():
    return SqueezeNetModel(original_dim=8, resize_dim=6, output_size=3)


def chapter_preprocessing(model, record, top, left, flip):
    """`image_preprocessing` for training, its two random choices replaced by fixed ones."""

    class Fixed(SqueezeNetModel):
        def random_crop_and_flip(self, float_image):
            crop = float_image[top : top + self.resize_dim, left : left + self.resize_dim]
            return tf.image.flip_left_right(crop) if flip else crop

    fixed = Fixed(model.original_dim, model.resize_dim, model.output_size)
    return fixed.image_preprocessing(tf.constant(record), is_training=True)


def test_batches_are_preprocessed_as_the_chapter_does_image_by_image(model):
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, [18, 3 * 8 * 8], np.uint8)
    top, left = np.divmod(np.arange(18) % 9, 3)
    flip = np.arange(18) >= 9
    crops = crop_and_flip(records, 8, 6, top, left, flip).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        expected = [
            chapter_preprocessing(model, *image)
            for image in zip(records, top, left, flip, strict=True)
        ]
        batch, expected = session.run([standardized(tf.constant(crops), model), tf.stack(expected)])
    np.testing.assert_allclose(batch, expected, atol=1e-5)


def test_evaluation_batches_are_the_chapters_too(model):
    records = np.random.default_rng(0).integers(0, 256, [5, 3 * 8 * 8]).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        expected = tf.stack([model.image_preprocessing(record, False) for record in records])
        batch, expected = session.run([preprocessed(tf.constant(records), model), expected])
    np.testing.assert_allclose(batch, expected, atol=1e-5)


class TestTrainingBatches:
    def batches(self, tiny_dataset, first_step, count, seed=0):
        with tf.Graph().as_default(), tf.Session() as session:
            batches = TrainingBatches(tiny_dataset, short_schedule(seed=seed))
            batches.start_at(session, first_step)
            return [session.run(batches.next_batch)[1:] for _ in range(count)]

    def test_gives_crops_with_their_labels(self, tiny_dataset):
        size = 3 * 6 * 6
        numbered = Split(
            np.zeros([7, 192], np.uint8) + np.arange(7)[:, None].astype(np.uint8),
            tiny_dataset.train.labels,
        )
        dataset = type(tiny_dataset)(**{**vars(tiny_dataset), "train": numbered})
        for crops, labels in self.batches(dataset, 0, 3):
            assert crops.shape == (4, size)
            np.testing.assert_array_equal(labels, numbered.labels[crops[:, 0].astype(int)])

    def test_resumes_at_a_step_with_the_same_batches(self, tiny_dataset):
        whole = self.batches(tiny_dataset, 0, 6)
        for ours, theirs in zip(self.batches(tiny_dataset, 4, 2), whole[4:], strict=True):
            for mine, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine, other)

    def test_differs_for_another_seed(self, tiny_dataset):
        (ours, _), (theirs, _) = (self.batches(tiny_dataset, 0, 1, seed)[0] for seed in (0, 1))
        assert (ours != theirs).any()
