"""From batches of stored images to what the net takes, by the chapter's own rules."""

from __future__ import annotations

import copy

import numpy as np
import tensorflow.compat.v1 as tf

from data import DataError, Dataset
from squeezenet_model import SqueezeNetModel
from training.batches import ALONE, Share, batch_at

PREFETCHED_BATCHES = 4  # made ahead, so that a step never waits for its batch


def training_dataset(
    dataset: Dataset,
    batch_size: int,
    seed: int,
    first_step: tf.Tensor,
    errors: list[DataError],
    share: Share = ALONE,
) -> tf.data.Dataset:
    """The training batches from a step on, without end.

    Args:
      dataset, batch_size, seed, share: as for `batch_at`.
      first_step: int64 scalar, the step of the first batch.
      errors: gets what is wrong with the images, as TensorFlow passes only its text on.

    Returns:
      A dataset of (step, crops, labels), the last two as `batch_at` gives them.
    """
    part = share.part(batch_size)

    def batch(step):
        try:
            return batch_at(dataset, batch_size, seed, int(step), share)
        except DataError as error:
            errors.append(error)
            raise

    def batch_tensors(step):
        crops, labels = tf.numpy_function(batch, [step], [tf.float32, tf.int32])
        crops.set_shape([part.stop - part.start, 3 * dataset.resize_dim**2])
        labels.set_shape([part.stop - part.start])
        return step, crops, labels

    steps = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max, share.stride)
    return steps.map(batch_tensors).prefetch(PREFETCHED_BATCHES)


def standardized(crops: tf.Tensor, model: SqueezeNetModel) -> tf.Tensor:
    """What is left of `image_preprocessing` after the crop, for a whole batch at once.

    The rules are the model's own: an image that already has the crop's size has nothing to crop,
    so its evaluation branch does the rest.

    Args:
      crops: float32 [batch, 3 * resize_dim * resize_dim], 0..255, channel-major.

    Returns:
      float32 [batch, resize_dim, resize_dim, 3].
    """
    cropped_model = copy.copy(model)
    cropped_model.original_dim = model.resize_dim
    return preprocessed(crops, cropped_model)


def preprocessed(records: tf.Tensor, model: SqueezeNetModel) -> tf.Tensor:
    """`image_preprocessing` for evaluation, for a whole batch at once.

    Args:
      records: float32 [batch, 3 * original_dim * original_dim], 0..255, channel-major.

    Returns:
      float32 [batch, resize_dim, resize_dim, 3].
    """
    return tf.vectorized_map(
        lambda record: model.image_preprocessing(record, is_training=False),
        records,
    )
