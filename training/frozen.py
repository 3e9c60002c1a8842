"""What pretrained layers put out for the training images, computed once.

Fine-tuning leaves the first layers as they are. Without random crops, only the image and its mirror
image have to be computed. The results are kept in memory, never in a file, so they cannot become
stale.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from tqdm import tqdm

from base.runtime import visible_cores
from squeezenet_model import SqueezeNetModel
from training.batches import batch_indices, crop_and_flip, random_offsets
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

    @property
    def output(self) -> str:
        """The name of its output in a graph with one net."""
        return f"{self.name}/MaxPool:0"


def last_frozen_layer(plan: Plan) -> Layer | None:
    """The last pooling layer before anything is trained; None if crops are random, so that its
    output varies, or if its outputs for all images exceed MAX_BYTES."""
    dataset, model, frozen = plan.dataset, plan.model, plan.schedule.recipe.frozen
    if not frozen or dataset.original_dim != dataset.resize_dim:
        return None
    with tf.Graph().as_default() as graph:
        inputs = tf.zeros([1, model.resize_dim, model.resize_dim, 3])
        model.model_layers(inputs, is_training=False)
        variables = tf.trainable_variables()
    operations = graph.get_operations()  # in the order in which they were built
    first_trained = operations.index(variables[round(frozen * len(variables))].op)
    pooling = [each for each in operations[:first_trained] if each.type == "MaxPool"][-1]
    shape = tuple(pooling.outputs[0].shape.as_list()[1:])
    values_per_image = (1 + dataset.mirrored) * np.prod(shape)  # of two bytes
    if 2 * values_per_image * len(dataset.train.labels) > MAX_BYTES:
        return None
    return Layer(pooling.name.removesuffix("/MaxPool"), shape)


def starting_after(model: SqueezeNetModel, layer: Layer, output: tf.Tensor) -> SqueezeNetModel:
    """A copy of the model that gets the output of one of its pooling layers: whatever comes before
    that layer is built, but not computed."""

    def pooling(inputs: tf.Tensor, name: str) -> tf.Tensor:
        if name == layer.name:
            return tf.cast(output, inputs.dtype)
        return model.custom_max_pooling2d(inputs, name)

    return with_method(model, "custom_max_pooling2d", pooling)


class PretrainedNet:
    """Another copy of the net in the default graph, with the same variables, that computes what its
    layers put out for the training images."""

    def __init__(self, plan: Plan):
        self._plan, model = plan, plan.model
        self._crops = tf.placeholder(tf.float32, [None, 3 * model.resize_dim**2])
        with tf.name_scope("pretrained"), tf.variable_scope("", reuse=tf.AUTO_REUSE):
            net = with_precision(model, plan.schedule.precision)
            net.model_layers(standardized(self._crops, model), is_training=False)

    def output(self, name: str) -> tf.Tensor:
        """A tensor of this copy by its name in a graph with one net."""
        return tf.get_default_graph().get_tensor_by_name(f"pretrained/{name}")

    def compute(
        self, session: tf.Session, outputs: Sequence[tf.Tensor], indices: np.ndarray
    ) -> list[np.ndarray]:
        """Runs images (by their indices) and then their mirror images through the net, with a
        progress bar: float16 [2, images, ...] for each of the outputs; [1, images, ...] if mirror
        images do not keep their class."""
        dataset, sides = self._plan.dataset, (False, True)[: 1 + self._plan.dataset.mirrored]
        dim, crop_dim = dataset.original_dim, dataset.resize_dim
        halves = [tf.cast(output, tf.float16) for output in outputs]
        shapes = [[len(sides), len(indices), *output.shape[1:]] for output in outputs]
        arrays = [np.empty(shape, np.float16) for shape in shapes]

        def run(start: int) -> None:
            part = slice(start, start + IMAGES_PER_RUN)
            records = dataset.train.records[indices[part]]
            corner = np.full(len(records), (dim - crop_dim) // 2)
            for side in sides:
                flip = np.full(len(records), side)
                crops = crop_and_flip(records, dim, crop_dim, corner, corner, flip)
                values = session.run(halves, {self._crops: crops.astype(np.float32)})
                for array, value in zip(arrays, values, strict=True):
                    array[int(side), part] = value

        starts = range(0, len(indices), IMAGES_PER_RUN)
        with ThreadPoolExecutor(visible_cores()) as threads:
            runs = threads.map(run, starts)
            list(tqdm(runs, "pretrained layers", len(starts), file=sys.stdout, disable=None))
        return arrays


class FrozenFeatures:
    """The output of a layer for all training images and their mirror images, float16
    [sides, images, height, width, channels]."""

    values: np.ndarray | None = None

    def __init__(self, plan: Plan, layer: Layer):
        self._plan, self.layer = plan, layer

    def compute(self, session: tf.Session) -> None:
        """Computes them with the variables of the session, unless they are known."""
        if self.values is None:
            net, images = PretrainedNet(self._plan), np.arange(len(self._plan.dataset.train.labels))
            [self.values] = net.compute(session, [net.output(self.layer.output)], images)

    def batch_at(self, step: int, part: BatchPart) -> tuple[np.ndarray, np.ndarray]:
        """The same batch as `training.batches.batch_at`: the features in the place of the crops,
        float16 [N, height, width, channels], and the labels, int32 [N]."""
        assert self.values is not None
        schedule, dataset = self._plan.schedule, self._plan.dataset
        size, own = schedule.batch_size, part.of(schedule.batch_size)
        indices = batch_indices(len(dataset.train.labels), size, schedule.seed, step)[own]
        _, _, flip = random_offsets(size, 1, dataset.mirrored, schedule.seed, step)
        return self.values[flip[own].astype(int), indices], dataset.train.labels[indices]
