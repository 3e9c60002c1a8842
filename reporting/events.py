"""Writes a run's TensorBoard events: train and eval as two runs that share their charts."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from data import Split
from reporting import figures, summaries
from reporting.scopes import drawn_graph, modules, tags
from squeezenet_model import SqueezeNetModel
from training import RunError
from training.checkpoints import reason
from training.evaluation import Evaluation
from training.run_dir import read_settings
from training.scope_scalars import MEASURES
from training.step import TrainingStep

SHOWN_CROPS = 64
SHOWN_ACTIVATIONS = 32  # images; TensorBoard's histograms take 240 bytes of memory per value
# What TensorFlow raises when the thread that writes the files has died.
WRITE_ERRORS = (OSError, IndexError, RuntimeError, tf.errors.OpError)


class EventWriters:
    """Writes into run_dir/train and run_dir/eval; a context manager that closes both.

    Args:
      run_dir: folder of the run.
      scopes: of the net's convolutions, in the order they run.
      next_step: the first step whose training values are still to come; 0 for a new run.
      next_evaluation: the first step whose evaluation is still to come. TensorBoard discards what
        an interrupted run wrote about these steps and later ones (because of the session's START
        event), so that no curve overlaps itself or has a gap.

    Raises:
      RunError: the disk is full or the folder cannot be written; this goes for all methods.
    """

    def __init__(self, run_dir: Path, scopes: Sequence[str], next_step: int, next_evaluation: int):
        self._run_dir = run_dir
        self._tags = tags(scopes)
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
        # flush has already reported what could not be written, or the run ends for a worse reason.
        with contextlib.suppress(*WRITE_ERRORS):
            self.train.close()
            self.eval.close()

    def write_start(self, model: SqueezeNetModel, crops: np.ndarray) -> None:
        """Adds the start of a new run: its graph, settings and scopes, and the first batch.

        Args:
          model: its graph is shown as in the chapter.
          crops: float32 [batch, 3 * resize_dim * resize_dim], 0..255, channel-major: the images of
            the first step, cropped and flipped.
        """
        settings = read_settings(self._run_dir) or {}
        net = modules(model)
        images = figures.records_to_images(crops[:SHOWN_CROPS], model.resize_dim)
        graph = drawn_graph(model).SerializeToString()
        with self._told():
            self.train.add_event(tf.Event(wall_time=time.time(), graph_def=graph))
        start = (
            summaries.text("settings", summaries.settings_table(settings)),
            summaries.text("scopes", summaries.scopes_table(net)),
            summaries.image("augmented", figures.grid(images, scale=2)),
            summaries.scope_charts(net, self._tags),
        )
        self._add(self.train, 0, start)
        self._add(self.eval, 0, [summaries.hparams(settings, net, self._run_dir)])

    def write_step(self, values: TrainingStep, images_per_second: float | None) -> None:
        """Adds a training step's loss, accuracy, learning rate, speed, and measures per scope.

        Args:
          values: numpy values; scope_scalars may have no rows.
          images_per_second: None if it is not known yet.
        """
        scalars = {
            "loss": values.loss,
            "accuracy": values.accuracy,
            "learning_rate": values.learning_rate,
        }
        if images_per_second is not None:
            scalars["images_per_second"] = images_per_second
        if len(values.scope_scalars):
            for tag, row in zip(self._tags.values(), values.scope_scalars, strict=True):
                for measure, value in zip(MEASURES, row, strict=True):
                    scalars[f"{tag}/kernel/{measure}"] = value
        with self._told():
            add_scalars(self.train, int(values.step), scalars)

    def write_evaluation(
        self, evaluation: Evaluation, weights: dict[str, np.ndarray], zeros: dict[str, float]
    ) -> None:
        """Adds an evaluation's loss and accuracy, and the weights it used.

        Args:
          evaluation: of a checkpoint.
          weights: the checkpoint's variables, by name.
          zeros: the share of zeros among each ReLU's outputs, 0..1, by scope.
        """
        scalars = {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
        for scope, share in zeros.items():
            scalars[self._tag(f"{scope}/activation/zeros")] = share
        with self._told():
            add_scalars(self.eval, evaluation.step, scalars)
        self.write_weights(evaluation.step, weights)

    def write_weights(self, step: int, weights: dict[str, np.ndarray]) -> None:
        """Adds a histogram of each variable, and an image of the first convolution's filters."""
        scope, tag = next(iter(self._tags.items()))
        first = figures.filters(weights[f"{scope}/kernel"])
        self._add_histograms(step, weights)
        self._add(self.eval, step, [summaries.image(f"{tag}/filters", first)])

    def write_layers(
        self, step: int, activations: dict[str, np.ndarray], gradients: dict[str, np.ndarray]
    ) -> None:
        """Adds histograms of what `Evaluator.activations` and `gradients` return."""
        for scope, values in activations.items():
            self._add_histograms(step, {f"{scope}/activation": values[:SHOWN_ACTIVATIONS]})
        self._add_histograms(step, {f"{name}/gradient": gradients[name] for name in gradients})

    def write_end(
        self, evaluation: Evaluation, split: Split, class_names: tuple[str, ...], dim: int
    ) -> None:
        """Adds the confusion matrix and the worst mistakes of the last evaluation, as images.

        Args:
          evaluation: of the last step.
          split: the evaluated images, dim pixels along each side.
          class_names: one per class.
        """
        matrix = figures.confusion_matrix(split.labels, evaluation.predictions, class_names)
        worst = figures.worst(split, evaluation.probs, class_names, dim)
        images = [summaries.image("confusion_matrix", matrix)]
        if worst is not None:
            images.append(summaries.image("worst", worst))
        self._add(self.eval, evaluation.step, images)

    def flush(self) -> None:
        """Returns once everything that was added is in the files."""
        with self._told():
            self.train.flush()
            self.eval.flush()

    def _tag(self, name: str) -> str:
        """The tag of something inside a scope: "fire1/squeeze/kernel", for instance."""
        scope = max((scope for scope in self._tags if name.startswith(f"{scope}/")), key=len)
        return self._tags[scope] + name.removeprefix(scope)

    def _add_histograms(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Adds a histogram of each array; their names start with a scope."""
        tagged = {self._tag(name): values for name, values in arrays.items()}
        self._add(self.eval, step, [summaries.histograms(tagged)])

    def _add(
        self, writer: tf.summary.FileWriter, step: int, messages: Sequence[tf.Summary]
    ) -> None:
        with self._told():
            for message in messages:
                writer.add_summary(message, step)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns an error of the writers' threads into a sentence for the user."""
        try:
            yield
        except WRITE_ERRORS as error:
            raise RunError(
                f"{self._run_dir}: the events for TensorBoard cannot be written ({reason(error)}); "
                "free some space or fix the disk, then run the same command again to resume from "
                "the last checkpoint."
            ) from error


def add_scalars(writer: tf.summary.FileWriter, step: int, scalars: dict[str, float]) -> None:
    """Writes one event with a value per tag."""
    values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    writer.add_summary(tf.Summary(value=values), step)
