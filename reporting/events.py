"""The TensorBoard events of a run: train and eval as two runs of one chart, and all else shown."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from data import Split
from reporting import summaries
from reporting.scopes import chapter_graph
from squeezenet_model import SqueezeNetModel
from training import RunError
from training.checkpoints import reason
from training.evaluation import Evaluation
from training.run_dir import read_settings
from training.step import TrainingStep

SHOWN_CROPS = 64
SHOWN_ACTIVATIONS = 32  # images; TensorBoard's histograms take 240 bytes of memory a value
# What the thread that writes the files dies of, as TensorFlow hands it on.
WRITE_ERRORS = (OSError, IndexError, RuntimeError, tf.errors.OpError)


class EventWriters:
    """Writes into run_dir/train and run_dir/eval; a context manager that closes both.

    Args:
      run_dir: folder of the run.
      next_step: the first step whose training values are still to come; 0 for a new run.
      next_evaluation: the first step whose evaluation is still to come. What an interrupted run
        wrote of these steps and later ones is taken back (the START of a session has this effect
        on a curve), so that it neither overlaps itself nor has a gap.

    Raises:
      RunError: the disk is full or the folder cannot be written; so do all methods but close.
    """

    def __init__(self, run_dir: Path, next_step: int, next_evaluation: int):
        self._run_dir = run_dir
        with self._told():
            for name in ("train", "eval"):
                (run_dir / name).mkdir(exist_ok=True)
                if not os.access(run_dir / name, os.W_OK):  # TensorFlow would only log it
                    raise PermissionError(f"no permission to write into {name}")
            self.train = tf.summary.FileWriter(str(run_dir / "train"))
            self.eval = tf.summary.FileWriter(str(run_dir / "eval"))
            start = tf.SessionLog(status=tf.SessionLog.START)
            self.train.add_session_log(start, next_step)
            self.eval.add_session_log(start, next_evaluation)

    def __enter__(self) -> EventWriters:
        return self

    def __exit__(self, *exc_info) -> None:
        # What could not be written has been told by flush, or is less than why the run ends.
        with contextlib.suppress(*WRITE_ERRORS):
            self.train.close()
            self.eval.close()

    def write_start(self, model: SqueezeNetModel, crops: np.ndarray) -> None:
        """Adds what a new run begins with: its graph, settings and scopes, and a first batch.

        Args:
          model: its graph is drawn as the chapter has it.
          crops: float32 [batch, 3 * resize_dim * resize_dim], 0..255, channel-major: what the
            first step is trained on, cropped and mirrored.
        """
        settings = read_settings(self._run_dir) or {}
        images = summaries.records_to_images(crops[:SHOWN_CROPS], model.resize_dim)
        start = (
            summaries.text("settings", summaries.settings_table(settings)),
            summaries.text("scopes", summaries.scopes_table(model)),
            summaries.image("augmented", summaries.grid(images, scale=2)),
        )
        graph = chapter_graph(model)
        with self._told():
            self.train.add_graph(graph)
        self._add(self.train, 0, start)
        self._add(self.eval, 0, [summaries.hparams(settings, self._run_dir)])

    def write_step(self, values: TrainingStep, images_per_second: float | None) -> None:
        """Adds a training step's loss, accuracy, learning rate and speed."""
        scalars = {
            "loss": values.loss,
            "accuracy": values.accuracy,
            "learning_rate": values.learning_rate,
        }
        if images_per_second is not None:
            scalars["images_per_second"] = images_per_second
        with self._told():
            add_scalars(self.train, int(values.step), scalars)

    def write_evaluation(self, evaluation: Evaluation, weights: dict[str, np.ndarray]) -> None:
        """Adds an evaluation's loss and accuracy, and the weights it was made with, by name."""
        scalars = {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
        with self._told():
            add_scalars(self.eval, evaluation.step, scalars)
        self.write_weights(evaluation.step, weights)

    def write_weights(self, step: int, weights: dict[str, np.ndarray]) -> None:
        """Adds a histogram of each variable, and an image of the first convolution's filters."""
        filters = summaries.image("conv1/filters", summaries.filters(weights["conv1/kernel"]))
        self._add(self.eval, step, [summaries.histograms(weights), filters])

    def write_layers(
        self, step: int, activations: dict[str, np.ndarray], gradients: dict[str, np.ndarray]
    ) -> None:
        """Adds what `Evaluator.activations` and `gradients` give, and the activations' zeros."""
        shown = {
            f"{scope}/activation": values[:SHOWN_ACTIVATIONS]
            for scope, values in activations.items()
        } | {f"{name}/gradient": values for name, values in gradients.items()}
        zeros = {
            f"{scope}/activation/zeros": np.mean(values == 0)
            for scope, values in activations.items()
        }
        self._add(self.eval, step, [summaries.histograms(shown)])
        with self._told():
            add_scalars(self.eval, step, zeros)

    def write_end(
        self, evaluation: Evaluation, split: Split, class_names: tuple[str, ...], dim: int
    ) -> None:
        """Adds what the last evaluation got wrong, as images.

        Args:
          evaluation: of the last step.
          split: the images that it is of, dim pixels along each side.
          class_names: one per class.
        """
        matrix = summaries.confusion_matrix(split.labels, evaluation.predictions, class_names)
        worst = summaries.worst(split, evaluation.probs, class_names, dim)
        images = [summaries.image("confusion_matrix", matrix)]
        if worst is not None:
            images.append(summaries.image("worst", worst))
        self._add(self.eval, evaluation.step, images)

    def flush(self) -> None:
        """Returns when all that was added is in the files."""
        with self._told():
            self.train.flush()
            self.eval.flush()

    def _add(
        self, writer: tf.summary.FileWriter, step: int, messages: Sequence[tf.Summary]
    ) -> None:
        with self._told():
            for message in messages:
                writer.add_summary(message, step)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns what the writers' threads died of into a sentence for the user."""
        try:
            yield
        except WRITE_ERRORS as error:
            raise RunError(
                f"{self._run_dir}: the events for TensorBoard cannot be written ({reason(error)}); "
                "free or mend the disk, then run the same command again: it goes on from the "
                "checkpoint before."
            ) from error


def add_scalars(writer: tf.summary.FileWriter, step: int, scalars: dict[str, float]) -> None:
    """Writes one event with a value per tag."""
    values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    writer.add_summary(tf.Summary(value=values), step)
