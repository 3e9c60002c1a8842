"""The inference graph: a net with a checkpoint's weights, for evaluation, tools and exports."""

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from base.runtime import session_config
from saved.checkpoints import check_fits
from saved.run import Run
from squeezenet_model import SqueezeNetModel
from training.ops import preprocessed
from training.precision import with_precision


class InferenceNet(contextlib.AbstractContextManager):
    """A model's net in a graph and a session of its own, which is closed on exit.

    It takes images as they are stored and has the chapter's preprocessing inside. Its operations
    have the chapter's names.

    Attributes:
      model: a copy on which run_model_setup has set probs, predictions, loss and accuracy.
      images: placeholder, float32 [N, original_dim, original_dim, 3], 0..255.
      labels: placeholder, int32 [N]; only the loss and the accuracy need it.
      relus: the output of each convolution by its scope, float32 [N, height, width, filters].
      global_step: int64 scalar, of the checkpoint.
      variables: the trainable ones, in the order of the net.
      saver, session: TensorFlow's.
    """

    def __init__(self, model: SqueezeNetModel, precision: str = "float32"):
        self.model = with_precision(copy.copy(model), precision)
        with tf.Graph().as_default() as graph:
            self.images = tf.placeholder(
                tf.float32, [None, model.original_dim, model.original_dim, 3], name="images"
            )
            self.labels = tf.placeholder(tf.int32, [None], name="labels")
            self.model.run_model_setup(
                self._preprocessed(self.images), self.labels, is_training=False
            )
            self.relus = {
                operation.name.removesuffix("/Relu"): tf.cast(operation.outputs[0], tf.float32)
                for operation in graph.get_operations()
                if operation.type == "Relu"
            }
            self.global_step = tf.train.get_or_create_global_step()
            self.variables = tf.trainable_variables()
            self.saver = tf.train.Saver()
            self.session = tf.Session(config=session_config())

    def __exit__(self, *exc_info: object) -> None:
        self.session.close()

    def restore(self, checkpoint: str) -> None:
        """Restores the variables of a checkpoint, a path without extension. Raises UserError if it
        is of another net."""
        check_fits(checkpoint, self.variables)
        with self.session.graph.as_default():  # or the saver would restore eagerly
            self.saver.restore(self.session, checkpoint)

    def build(self, images: tf.Tensor) -> tf.Tensor:
        """Another copy of the net with the same variables: [N, original_dim, original_dim, 3] of
        0..255 -> probabilities [N, classes]. Call it in the session's graph."""
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            logits = self.model.model_layers(self._preprocessed(images), is_training=False)
        return tf.nn.softmax(logits, name="probs")

    def run(self, fetches: Any, images: np.ndarray, labels: Sequence[int] | np.ndarray = ()) -> Any:
        """The values of some tensors; may be called from several threads at once.

        Args:
          fetches: as for session.run.
          images: uint8 or float32 [N, original_dim, original_dim, 3], 0..255.
          labels: int [N], if something fetched depends on them.
        """
        return self.session.run(fetches, {self.images: images, self.labels: labels})

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """How probable each class is: float32 [N, classes]; images as for `run`."""
        return self.run(self.model.probs, images)

    def _preprocessed(self, images: tf.Tensor) -> tf.Tensor:
        """float32 [N, resize_dim, resize_dim, 3], what the net sees of the images."""
        with tf.name_scope("preprocessing"):
            records = tf.reshape(
                tf.transpose(images, [0, 3, 1, 2]), [-1, 3 * self.model.original_dim**2]
            )
            return preprocessed(records, self.model)


def load_net(run: Run, precision: str = "float32") -> InferenceNet:
    """The net of a saved run with the weights of its checkpoint. Raises UserError if the checkpoint
    does not fit the run's settings."""
    net = InferenceNet(run.model, precision)
    net.restore(run.checkpoint)
    return net


def batch_size_for(model: SqueezeNetModel, maximum: int) -> int:
    """How many images to evaluate at once: the maximum of 24 x 24 pixels, fewer larger ones."""
    return max(1, min(maximum, maximum * 24**2 // model.resize_dim**2))
