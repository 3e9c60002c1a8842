"""Evaluates checkpoints, in a separate graph and session."""

import contextlib
import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from base.runtime import visible_cores
from data import Split
from evaluation.inference import InferenceNet, batch_size_for
from squeezenet_model import SqueezeNetModel
from training.batches import records_to_images

BATCH_SIZE = 250  # large enough to keep a core busy, small enough for several in its cache
FEW_IMAGES = 32  # for measures that need no more; TensorBoard's histograms take much memory


class Evaluation(NamedTuple):
    """The result of evaluating a checkpoint on a split of N images."""

    checkpoint: str  # its path, without extension
    step: int  # its global_step
    probs: np.ndarray  # float32 [N, classes], each row sums to 1
    predictions: np.ndarray  # int64 [N], the most probable class of each image
    accuracy: float  # fraction of correct predictions, 0..1
    loss: float  # mean cross-entropy in nats


class Evaluator(contextlib.AbstractContextManager):
    """Evaluates checkpoints on a split, every image exactly once; closes its session on exit. The
    graph is built for the first checkpoint, so that training starts sooner."""

    def __init__(
        self,
        model: SqueezeNetModel,
        split: Split,
        precision: str = "float32",
    ):
        self.model = model
        self.precision = precision
        self.split = split
        self._batch_size = batch_size_for(model, BATCH_SIZE)

    def __exit__(self, *exc_info: object) -> None:
        if "net" in vars(self):
            self.net.session.close()

    @functools.cached_property
    def net(self) -> InferenceNet:
        """The net, with the weights of the last checkpoint that was evaluated or restored."""
        return InferenceNet(self.model, self.precision)

    def evaluate(self, checkpoint: str) -> Evaluation:
        """Restores a checkpoint (a path without extension) and runs the whole split, including the
        last partial batch. Raises UserError if the checkpoint is of another net."""
        self.net.restore(checkpoint)
        fetches = [self.net.model.probs, self.net.model.predictions, self.net.model.loss]
        size = self._batch_size
        batches = [slice(i, i + size) for i in range(0, len(self.split.labels), size)]
        with ThreadPoolExecutor(visible_cores()) as threads:  # one batch per core
            results = threads.map(functools.partial(self._run, fetches), batches)
            all_probs, all_predictions, losses = zip(*results, strict=True)
        predictions = np.concatenate(all_predictions)
        return Evaluation(
            checkpoint=checkpoint,
            step=int(self.net.session.run(self.net.global_step)),
            probs=np.concatenate(all_probs),
            predictions=predictions,
            accuracy=float(np.mean(predictions == self.split.labels)),
            loss=float(np.average(losses, weights=[len(batch) for batch in all_predictions])),
        )

    def weights(self) -> dict[str, np.ndarray]:
        """The restored variables, by name."""
        return self.net.session.run({v.op.name: v for v in self.net.variables})

    def activations(self) -> dict[str, np.ndarray]:
        """The outputs of each convolution's ReLU for a few images, by scope: float32
        [images, height, width, filters] each."""
        return self._run(self.net.relus, self._evenly_spaced(min(FEW_IMAGES, self._batch_size)))

    def zero_fractions(self) -> dict[str, float]:
        """The fraction of zeros among each ReLU's outputs for a few images, 0..1, by scope."""
        return {scope: float(np.mean(relu == 0)) for scope, relu in self.activations().items()}

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of the loss on a batch of images, by variable name."""
        return self._run(self._gradients, self._evenly_spaced(self._batch_size))

    @functools.cached_property
    def _gradients(self) -> dict[str, tf.Tensor]:
        with self.net.session.graph.as_default():
            gradients = tf.gradients(self.net.model.loss, self.net.variables)
        return {v.op.name: g for v, g in zip(self.net.variables, gradients, strict=True)}

    def _evenly_spaced(self, maximum: int) -> slice:
        """At most so many images from all over the split: it may be sorted by class."""
        return slice(None, None, math.ceil(len(self.split.labels) / maximum))

    def _run(self, fetches: Any, chosen: slice) -> Any:
        """The values of some tensors for some images of the split."""
        images = records_to_images(self.split.records[chosen], self.model.original_dim)
        return self.net.run(fetches, images, self.split.labels[chosen])
