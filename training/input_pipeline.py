"""The input pipeline: batches of stored images -> the net's inputs, by the chapter's own rules."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from base import UserError
from training.batches import batch_at
from training.frozen import FrozenFeatures, Layer, last_frozen_layer
from training.plan import Plan
from training.recipe import WHOLE_BATCH, BatchPart

PREFETCHED_BATCHES = 4  # so that a step never waits for its batch


class Batch(NamedTuple):
    """The tensors of a training batch of N images, or of a task's part of one; N is static."""

    step: tf.Tensor  # int64 scalar, the number of the batch, starting at 0
    # float32 [N, 3 * resize_dim * resize_dim], 0..255, channel-major; or what a frozen layer puts
    # out for them, float16 [N, height, width, channels].
    crops: tf.Tensor
    labels: tf.Tensor  # int32 [N], index into the class names
    layer: Layer | None = None  # that frozen layer


class TrainingBatches:
    """The training batches, or a task's part of them, as an endless tf.data pipeline in the default
    graph; next_batch is the Batch of the next step, frozen what it has in the place of crops."""

    def __init__(self, plan: Plan, part: BatchPart = WHOLE_BATCH):
        dataset, schedule = plan.dataset, plan.schedule
        self._user_errors: list[UserError] = []
        layer = last_frozen_layer(plan)
        self.frozen = FrozenFeatures(plan, layer) if layer else None
        shape = layer.shape if layer else (3 * dataset.resize_dim**2,)

        def read(step):
            try:
                if self.frozen:
                    return self.frozen.batch_at(int(step), part)
                return batch_at(dataset, schedule.batch_size, schedule.seed, int(step), part)
            except UserError as error:  # TensorFlow would pass on only its text
                self._user_errors.append(error)
                raise

        def batch(step):
            dtype = tf.float16 if self.frozen else tf.float32
            crops, labels = tf.numpy_function(read, [step], [dtype, tf.int32])
            crops.set_shape([schedule.batch_size // part.count, *shape])
            labels.set_shape(crops.shape[:1])
            return step, crops, labels

        with tf.name_scope("input"):
            self._first_step = tf.placeholder(tf.int64, [], name="first_step")
            steps = tf.data.Dataset.range(self._first_step, np.iinfo(np.int64).max)
            self._iterator = tf.data.make_initializable_iterator(
                steps.map(batch).prefetch(PREFETCHED_BATCHES)
            )
            number, crops, labels = self._iterator.get_next()
            self.next_batch = Batch(number, crops, labels, layer)

    def start_at(self, session: tf.Session, step: int) -> None:
        """Makes the pipeline continue after `step` steps; the session holds the net's variables."""
        if self.frozen:
            self.frozen.compute(session)
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
