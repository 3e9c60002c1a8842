"""Evaluates checkpoints, in a separate graph and session."""

import contextlib
import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from base.runtime import visible_cores
from data import Split
from squeezenet_model import SqueezeNetModel
from training.batches import records_to_images
from training.inference import InferenceNet, batch_size_for

BATCH_SIZE = 250  # large enough to keep a core busy, small enough for several in its cache
FEW_IMAGES = 64  # for measures that need no more


class Evaluation(NamedTuple):
    """The result of evaluating a checkpoint on a split of N images.

    Attributes:
      checkpoint: its path, without extension.
      step: its global_step.
      probs: float32 [N, classes], each row sums to 1.
      predictions: int64 [N], the most probable class of each image.
      accuracy: fraction of correct predictions, 0..1.
      loss: mean cross-entropy in nats.
    """

    checkpoint: str
    step: int
    probs: np.ndarray
    predictions: np.ndarray
    accuracy: float
    loss: float


class Evaluator(contextlib.AbstractContextManager):
    """Evaluates checkpoints on a split, every image exactly once.

    A context manager, which closes the session. The graph is built once, for the first checkpoint:
    training starts sooner that way.
    """

    def __init__(self, model: SqueezeNetModel, split: Split):
        self.model = model
        self.split = split
        self._batch_size = batch_size_for(model, BATCH_SIZE)

    def __exit__(self, *exc_info: object) -> None:
        if "net" in vars(self):
            self.net.session.close()

    @functools.cached_property
    def net(self) -> InferenceNet:
        """The net, with the weights of the last checkpoint that was evaluated or restored."""
        return InferenceNet(self.model)

    def evaluate(self, checkpoint: str) -> Evaluation:
        """Restores a checkpoint and runs the whole split, including the last partial batch.

        Args:
          checkpoint: path without extension, as `tf.train.Saver` gives it.

        Raises:
          UserError: the checkpoint is of another net.
        """
        self.net.restore(checkpoint)
        starts = range(0, len(self.split.labels), self._batch_size)
        with ThreadPoolExecutor(visible_cores()) as threads:  # one batch per core
            results = threads.map(self._run_batch, starts)
            all_probs, all_predictions, losses = zip(*results, strict=True)
        predictions = np.concatenate(all_predictions)
        return Evaluation(
            checkpoint=checkpoint,
            step=int(self.net.session.run(self.net.global_step)),
            probs=np.concatenate(all_probs),
            predictions=predictions,
            accuracy=float(np.mean(predictions == self.split.labels)),
            loss=float(np.sum(losses) / len(self.split.labels)),
        )

    def weights(self) -> dict[str, np.ndarray]:
        """The restored variables, by name."""
        return self.net.session.run({v.op.name: v for v in self.net.variables})

    def activations(self) -> dict[str, np.ndarray]:
        """The outputs of each convolution's ReLU for a batch of images, by scope.

        Returns:
          float32 [images, height, width, filters] each.
        """
        return self.net.run(self.net.relus, *self._evenly_spaced(self._batch_size))

    def zero_fractions(self) -> dict[str, float]:
        """The fraction of zeros among each ReLU's outputs for a few images, 0..1, by scope."""
        images = self._evenly_spaced(min(FEW_IMAGES, self._batch_size))
        return self.net.run(self._zero_fractions, *images)

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of the loss on a batch of images, by variable name."""
        return self.net.run(self._gradients, *self._evenly_spaced(self._batch_size))

    @functools.cached_property
    def _zero_fractions(self) -> dict[str, tf.Tensor]:
        with self.net.session.graph.as_default():
            return {scope: tf.nn.zero_fraction(relu) for scope, relu in self.net.relus.items()}

    @functools.cached_property
    def _gradients(self) -> dict[str, tf.Tensor]:
        variables = self.net.variables
        with self.net.session.graph.as_default():
            gradients = tf.gradients(self.net.model.loss, variables)
        return {v.op.name: gradient for v, gradient in zip(variables, gradients, strict=True)}

    def _evenly_spaced(self, maximum: int) -> tuple[np.ndarray, np.ndarray]:
        """At most so many images and labels, from all over the split: it may be sorted by class."""
        return self._images(slice(None, None, math.ceil(len(self.split.labels) / maximum)))

    def _images(self, chosen: slice) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of the split, as the net takes them."""
        images = records_to_images(self.split.records[chosen], self.model.original_dim)
        return images, self.split.labels[chosen]

    def _run_batch(self, start: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Probabilities, predictions and summed loss of the batch that starts at an image."""
        images, labels = self._images(slice(start, start + self._batch_size))
        fetches = [self.net.probs, self.net.model.predictions, self.net.model.loss]
        probs, predictions, loss = self.net.run(fetches, images, labels)
        return probs, predictions, loss * len(labels)
