"""Evaluates checkpoints, in a separate graph and session."""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from data import Split
from squeezenet_model import SqueezeNetModel
from training.checkpoints import check_fits
from training.input_pipeline import preprocessed
from training.recipe import visible_cores
from training.runtime import session_config
from training.saved_run import batch_size_for

BATCH_SIZE = 250  # large enough to keep a core busy, small enough for several in its cache
FEW_IMAGES = 64  # for measures that need no more

CALIBRATION_BINS = 15  # as in the paper cited by calibration_error


class Evaluation(NamedTuple):
    """The result of evaluating a checkpoint on a split of N images.

    Attributes:
      checkpoint: its path, without extension.
      step: its global_step.
      probs: float32 [N, classes], each row sums to 1.
      predictions: int64 [N], the most probable class of each image.
      accuracy: share of correct predictions, 0..1.
      loss: mean cross-entropy in nats.
    """

    checkpoint: str
    step: int
    probs: np.ndarray
    predictions: np.ndarray
    accuracy: float
    loss: float


def calibration_error(probs: np.ndarray, labels: np.ndarray) -> float:
    """How far the net's confidence is from its accuracy: the expected calibration error.

    C. Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599): predictions are
    put into CALIBRATION_BINS bins by their probability; the error is the mean, over all
    predictions, of the distance between the mean probability of a bin and its accuracy.

    Args:
      probs: float32 [N, classes].
      labels: int [N].

    Returns:
      0..1.
    """
    confidence = probs.max(axis=1)
    surplus = confidence - (probs.argmax(axis=1) == labels)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return float(np.abs(np.bincount(bins, surplus)).sum() / len(labels))


class Evaluator:
    """Evaluates checkpoints on a split, every image exactly once.

    The graph is built once. Use it as a context manager, which closes the session.
    """

    def __init__(self, model: SqueezeNetModel, split: Split, class_names: tuple[str, ...]):
        self.model = copy.copy(model)  # run_model_setup sets its tensors as attributes
        self.split = split
        self.class_names = class_names
        self.session: tf.Session | None = None  # until the first checkpoint is restored

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *exc_info) -> None:
        if self.session is not None:
            self.session.close()

    def _build(self) -> None:
        """Builds the graph, only when it is needed: training starts sooner that way."""
        with tf.Graph().as_default():
            record_size = 3 * self.model.original_dim**2
            self.records = tf.placeholder(tf.float32, [None, record_size], name="records")
            self.labels = tf.placeholder(tf.int32, [None], name="labels")
            inputs = preprocessed(self.records, self.model)
            self.model.run_model_setup(inputs, self.labels, is_training=False)
            self.global_step = tf.train.get_or_create_global_step()
            self.variables = tf.trainable_variables()
            self.saver = tf.train.Saver()
            self._relus = {
                operation.name.removesuffix("/Relu"): operation.outputs[0]
                for operation in tf.get_default_graph().get_operations()
                if operation.type == "Relu"
            }
            self._zero_shares = {
                scope: tf.nn.zero_fraction(relu) for scope, relu in self._relus.items()
            }
            self._gradients = None  # built on first use
            self.session = tf.Session(config=session_config())

    def restore(self, checkpoint: str) -> None:
        """Restores the variables of a checkpoint, a path without extension.

        Raises:
          RunError: the checkpoint is of another net.
        """
        if self.session is None:
            self._build()
        check_fits(checkpoint, self.variables)
        with self.session.graph.as_default():  # or the saver would restore eagerly
            self.saver.restore(self.session, checkpoint)

    def evaluate(self, checkpoint: str) -> Evaluation:
        """Restores a checkpoint and runs the whole split, including the last partial batch.

        Args:
          checkpoint: path without extension, as `tf.train.Saver` gives it.
        """
        self.restore(checkpoint)
        starts = range(0, len(self.split.labels), self._batch_size())
        with ThreadPoolExecutor(visible_cores()) as threads:  # one batch per core
            probs, predictions, losses = zip(*threads.map(self._run_batch, starts), strict=True)
        probs, predictions = np.concatenate(probs), np.concatenate(predictions)
        return Evaluation(
            checkpoint=checkpoint,
            step=int(self.session.run(self.global_step)),
            probs=probs,
            predictions=predictions,
            accuracy=float(np.mean(predictions == self.split.labels)),
            loss=float(np.sum(losses) / len(self.split.labels)),
        )

    def _batch_size(self) -> int:
        return batch_size_for(self.model, BATCH_SIZE)

    def weights(self) -> dict[str, np.ndarray]:
        """The restored variables, by name."""
        return self._by_name(self.variables, self.session.run(self.variables))

    def activations(self) -> dict[str, np.ndarray]:
        """The outputs of each convolution's ReLU for a batch of images, by scope.

        Returns:
          float32 [images, height, width, filters] each.
        """
        batch = self._from_all_over(self._batch_size())
        return self.session.run(self._relus, {self.records: self.split.records[batch]})

    def zero_shares(self) -> dict[str, float]:
        """The share of zeros among each ReLU's outputs for a few images, 0..1, by scope."""
        few = self._from_all_over(min(FEW_IMAGES, self._batch_size()))
        return self.session.run(self._zero_shares, {self.records: self.split.records[few]})

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of the loss on a batch of images, by variable name."""
        if self._gradients is None:
            with self.session.graph.as_default():
                self._gradients = tf.gradients(self.model.loss, self.variables)
        batch = self._from_all_over(self._batch_size())
        values = self.session.run(
            self._gradients,
            {self.records: self.split.records[batch], self.labels: self.split.labels[batch]},
        )
        return self._by_name(self.variables, values)

    def _from_all_over(self, most: int) -> slice:
        """At most that many images from all over the split, which may be sorted by class."""
        return slice(None, None, math.ceil(len(self.split.labels) / most))

    @staticmethod
    def _by_name(variables, values) -> dict[str, np.ndarray]:
        names = (variable.op.name for variable in variables)
        return dict(zip(names, values, strict=True))

    def summarize(self, evaluation: Evaluation, split_name: str) -> dict:
        """The evaluation as stored in results.json; all shares are 0..1.

        class_accuracies are the recalls of the classes. The confusion matrix has a row per true
        class and a column per predicted class.
        """
        # Imported here because they take a second, and only the end of a run needs them.
        import tf_slim
        from scipy.stats import binomtest
        from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

        labels, size = self.split.labels, len(self.split.labels)
        classes = range(len(self.class_names))
        right = int(np.sum(evaluation.predictions == labels))
        interval = binomtest(right, size).proportion_ci(0.95, method="wilson")
        precisions, recalls, _, counts = precision_recall_fscore_support(
            labels, evaluation.predictions, labels=classes, zero_division=np.nan
        )
        parameters, _ = tf_slim.model_analyzer.analyze_vars(self.variables)
        return {
            "split": split_name,
            "images": size,
            "accuracy": evaluation.accuracy,
            "accuracy_interval_95": [interval.low, interval.high],
            "loss": evaluation.loss,
            "calibration_error": calibration_error(evaluation.probs, labels),
            "class_images": self._by_class(counts),
            "class_accuracies": self._by_class(recalls),
            "class_precisions": self._by_class(precisions),
            "confusion_matrix": confusion_matrix(
                labels, evaluation.predictions, labels=classes
            ).tolist(),
            "steps": evaluation.step,
            "parameters": parameters,
            "checkpoint": evaluation.checkpoint,
        }

    def _by_class(self, values: np.ndarray) -> dict:
        """Class name -> value; None for an undefined one, since JSON has no NaN."""
        values = [None if np.isnan(value) else value for value in values.tolist()]
        return dict(zip(self.class_names, values, strict=True))

    def _run_batch(self, start: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Probabilities, predictions and summed loss of the batch that starts at an image."""
        batch = slice(start, start + self._batch_size())
        labels = self.split.labels[batch]
        probs, predictions, loss = self.session.run(
            [self.model.probs, self.model.predictions, self.model.loss],
            {self.records: self.split.records[batch], self.labels: labels},
        )
        return probs, predictions, loss * len(labels)
