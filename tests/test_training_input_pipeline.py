"""The net's inputs: the chapter's rules, applied to a whole batch at once."""

import dataclasses

import numpy as np
import pytest

from base import UserError
from data import Split
from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import short_schedule
from training.batches import batch_at, crop_and_flip
from training.input_pipeline import TrainingBatches
from training.ops import preprocessed, standardized
from training.plan import Plan

MODEL = SqueezeNetModel(8, 6, 3)


class Fixed(SqueezeNetModel):
    """The class with a crop and a flip that are given, in place of its two random choices."""

    def random_crop_and_flip(self, float_image):
        top, left, flip = self.choices
        crop = float_image[top : top + self.resize_dim, left : left + self.resize_dim]
        return tf.image.flip_left_right(crop) if flip else crop


def test_batches_are_preprocessed_as_the_chapter_does_image_by_image():
    model = Fixed(original_dim=8, resize_dim=6, output_size=3)
    records = np.random.default_rng(0).integers(0, 256, [18, 3 * 8 * 8], np.uint8)
    choices = np.indices([3, 3, 2]).reshape(3, 18)
    crops = crop_and_flip(records, 8, 6, *choices[:2], choices[2] == 1)
    training, evaluation = [], []
    with tf.Graph().as_default(), tf.Session() as session:
        for record, model.choices in zip(records, choices.T, strict=True):
            training.append(model.image_preprocessing(record, is_training=True))
            evaluation.append(model.image_preprocessing(record, is_training=False))
        batches = [
            standardized(tf.constant(crops, tf.float32), model),
            preprocessed(tf.constant(records, tf.float32), model),
        ]
        batches, images = session.run([batches, [training, evaluation]])
    np.testing.assert_allclose(batches, images, atol=1e-5)


def test_the_pipeline_gives_the_batches_of_its_steps_wherever_it_starts(tiny_dataset):
    with tf.Graph().as_default(), tf.Session() as session:
        batches = TrainingBatches(Plan(MODEL, tiny_dataset, short_schedule(seed=3), None))
        for start in (0, 5):
            batches.start_at(session, start)
            for step in range(start, start + 3):
                number, *batch = session.run(batches.next_batch[:3])
                assert number == step
                for ours, theirs in zip(batch, batch_at(tiny_dataset, 4, 3, step), strict=True):
                    np.testing.assert_array_equal(ours, theirs)


def test_a_photo_that_can_no_longer_be_read_is_one_sentence(tiny_dataset):
    class Photos:
        def __getitem__(self, indices):
            raise UserError("a.jpg: is gone; put it back.")

    dataset = dataclasses.replace(tiny_dataset, train=Split(Photos(), tiny_dataset.train.labels))
    with tf.Graph().as_default(), tf.Session() as session:
        batches = TrainingBatches(Plan(MODEL, dataset, short_schedule(), None))
        batches.start_at(session, 0)
        with pytest.raises(UserError, match=r"^a\.jpg: is gone"), batches.errors():
            session.run(batches.next_batch[:3])
