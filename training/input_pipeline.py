"""The input pipeline: batches of stored images -> the net's inputs, by the chapter's own rules."""

import contextlib
import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from base import UserError
from data import Dataset
from squeezenet_model import SqueezeNetModel
from training.batches import batch_at
from training.recipe import WHOLE_BATCH, BatchPart, Schedule

PREFETCHED_BATCHES = 4  # so that a step never waits for its batch


class Batch(NamedTuple):
    """The tensors of a training batch of N images, or of a task's part of one; N is static."""

    step: tf.Tensor  # int64 scalar, the number of the batch, starting at 0
    crops: tf.Tensor  # float32 [N, 3 * resize_dim * resize_dim], 0..255, channel-major
    labels: tf.Tensor  # int32 [N], index into the class names


class TrainingBatches:
    """The training batches, or a task's part of them, as an endless tf.data pipeline in the default
    graph; next_batch is the Batch of the next step."""

    def __init__(self, dataset: Dataset, schedule: Schedule, part: BatchPart = WHOLE_BATCH):
        self._user_errors: list[UserError] = []

        def read(step):
            try:
                return batch_at(dataset, schedule.batch_size, schedule.seed, int(step), part)
            except UserError as error:  # TensorFlow would pass on only its text
                self._user_errors.append(error)
                raise

        def batch(step):
            crops, labels = tf.numpy_function(read, [step], [tf.float32, tf.int32])
            crops.set_shape([schedule.batch_size // part.count, 3 * dataset.resize_dim**2])
            labels.set_shape(crops.shape[:1])
            return step, crops, labels

        with tf.name_scope("input"):
            self._first_step = tf.placeholder(tf.int64, [], name="first_step")
            steps = tf.data.Dataset.range(self._first_step, np.iinfo(np.int64).max)
            self._iterator = tf.data.make_initializable_iterator(
                steps.map(batch).prefetch(PREFETCHED_BATCHES)
            )
            self.next_batch = Batch(*self._iterator.get_next())

    def start_at(self, session: tf.Session, step: int) -> None:
        """Makes the pipeline continue after `step` steps."""
        session.run(self._iterator.initializer, {self._first_step: step})

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """In this context, a UserError raised in the pipeline (a photo can no longer be read) is
        raised here, too."""
        try:
            yield
        except tf.errors.OpError:
            if self._user_errors:
                raise self._user_errors[0] from None
            raise


def standardized(crops: tf.Tensor, model: SqueezeNetModel) -> tf.Tensor:
    """The rest of `image_preprocessing` after the crop, for a whole batch at once: float32
    [batch, 3 * resize_dim * resize_dim], 0..255 -> [batch, resize_dim, resize_dim, 3].

    It uses the model's own evaluation branch, in which an image of the crop's size stays uncropped.
    """
    cropped_model = copy.copy(model)
    cropped_model.original_dim = model.resize_dim
    return preprocessed(crops, cropped_model)


def preprocessed(records: tf.Tensor, model: SqueezeNetModel) -> tf.Tensor:
    """`image_preprocessing` for evaluation, for a whole batch at once: float32
    [batch, 3 * original_dim * original_dim], 0..255 -> [batch, resize_dim, resize_dim, 3]."""
    return tf.vectorized_map(
        lambda record: model.image_preprocessing(record, is_training=False), records
    )
