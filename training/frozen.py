"""The output of the last frozen pooling layer for each training image, computed once.

Fine-tuning leaves the first layers as they are. Without random crops, only the image and its mirror
image have to be computed. The results are kept in memory, never in a file, so they cannot become
stale.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from tqdm import tqdm

from base.runtime import visible_cores
from squeezenet_model import SqueezeNetModel
from training.batches import batch_indices, crop_and_flip, random_offsets
from training.initial_weights import model_scope
from training.ops import standardized, with_method
from training.plan import Plan
from training.precision import with_precision
from training.recipe import BatchPart

MAX_BYTES = 1 << 30  # of outputs: for v1.1, those of 3,600 photos of 288 x 288 pixels
IMAGES_PER_RUN = 4  # per session.run, on each core


class Layer(NamedTuple):
    """A pooling layer with only frozen layers before it."""

    name: str
    shape: tuple[int, ...]  # of its output for one image: height, width, channels


def last_frozen_layer(plan: Plan) -> Layer | None:
    """The last pooling layer before anything is trained; None if crops are random, so that its
    output varies, or if its outputs for all images (also those to evaluate on) exceed MAX_BYTES."""
    dataset, frozen = plan.dataset, plan.schedule.recipe.frozen
    if not frozen or dataset.original_dim != dataset.resize_dim:
        return None
    model, found = plan.model, []

    def pooling(inputs: tf.Tensor, name: str) -> tf.Tensor:
        output = model.custom_max_pooling2d(inputs, name)
        shape = tuple(output.shape.as_list()[1:])
        found.append((len(tf.trainable_variables()), Layer(name, shape)))
        return output

    with tf.Graph().as_default():
        inputs = tf.zeros([1, model.resize_dim, model.resize_dim, 3])
        with_method(model, "custom_max_pooling2d", pooling).model_layers(inputs, is_training=False)
        num_frozen = round(frozen * len(tf.trainable_variables()))
    layer = max(pair for pair in found if pair[0] <= num_frozen)[1]
    # Two bytes a value in training, on either side of an image; up to four in evaluations.
    bytes_per_value = 2 * (1 + dataset.mirrored) * len(dataset.train.labels)
    bytes_per_value += 4 * len(dataset.evaluation_set.labels)
    return layer if bytes_per_value * np.prod(layer.shape) <= MAX_BYTES else None


def starting_after(model: SqueezeNetModel, layer: Layer, output: tf.Tensor) -> SqueezeNetModel:
    """A copy of the model that gets the output of one of its pooling layers: whatever comes before
    that layer is built, but not computed."""

    def pooling(inputs: tf.Tensor, name: str) -> tf.Tensor:
        if name == layer.name:
            return tf.cast(output, inputs.dtype)
        return model.custom_max_pooling2d(inputs, name)

    return with_method(model, "custom_max_pooling2d", pooling)


class FrozenFeatures:
    """The output of a layer for all training images, and for their mirror images."""

    def __init__(self, plan: Plan, layer: Layer):
        self._plan, self.layer = plan, layer

    def compute(self, session: tf.Session) -> None:
        """Computes them with the variables of the session, with a progress bar."""
        plan, records = self._plan, self._plan.dataset.train.records
        model, dim = plan.model, plan.model.resize_dim
        outputs: list[tf.Tensor] = []

        def pooling(inputs: tf.Tensor, name: str) -> tf.Tensor:
            output = model.custom_max_pooling2d(inputs, name)
            if name == self.layer.name:
                outputs.append(output)
            return output

        net = with_method(model, "custom_max_pooling2d", pooling)
        crops = tf.placeholder(tf.float32, [None, 3 * dim**2])
        with tf.name_scope("frozen"), model_scope(plan.schedule.recipe):
            with_precision(net, plan.schedule.precision).model_layers(
                standardized(crops, model), is_training=False
            )
        features = tf.cast(outputs[0], tf.float16)
        num_sides = 1 + plan.dataset.mirrored
        self._values = np.empty([num_sides, len(records), *self.layer.shape], np.float16)

        def run(start: int) -> None:
            images = records[start : start + IMAGES_PER_RUN]
            zeros = np.zeros(len(images), int)
            for side in range(num_sides):
                sides = crop_and_flip(images, dim, dim, zeros, zeros, zeros + side == 1)
                values = session.run(features, {crops: sides.astype(np.float32)})
                self._values[side, start : start + IMAGES_PER_RUN] = values

        starts = range(0, len(records), IMAGES_PER_RUN)
        with ThreadPoolExecutor(visible_cores()) as threads:
            runs = threads.map(run, starts)
            list(tqdm(runs, "frozen layers", len(starts), file=sys.stdout, disable=None))

    def batch_at(self, step: int, part: BatchPart) -> tuple[np.ndarray, np.ndarray]:
        """The same batch as `training.batches.batch_at`: the features in the place of the crops,
        float16 [N, height, width, channels], and the labels, int32 [N]."""
        schedule, dataset = self._plan.schedule, self._plan.dataset
        size, own = schedule.batch_size, part.of(schedule.batch_size)
        indices = batch_indices(len(dataset.train.labels), size, schedule.seed, step)[own]
        _, _, flip = random_offsets(size, 1, dataset.mirrored, schedule.seed, step)
        return self._values[flip[own].astype(int), indices], dataset.train.labels[indices]
