"""Writes a run's TensorBoard events: train and eval as two runs that share their charts."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

from base import UserError, reason
from reporting import figures, summaries
from reporting.scopes import drawn_graph, modules, tags
from training.batches import records_to_images
from training.evaluation import Evaluation, Evaluator
from training.plan import Plan
from training.scope_scalars import MEASURES
from training.step import TrainingStep

NAME = re.compile(r"events\.out\.tfevents\.(\d{10})\.")
SHOWN_CROPS = 64
SHOWN_ACTIVATIONS = 32  # images; TensorBoard's histograms take 240 bytes of memory per value


class EventFile:
    """A file of events in a folder; everything is on disk after `flush`.

    (tf.summary.FileWriter writes in a thread of its own, whose errors reach nobody.)

    Args:
      folder: created if need be.
      first_step: TensorBoard discards what an interrupted run wrote about this step and later ones,
        because of the session's START event.

    Raises:
      UserError: the disk is full or the folder cannot be written; this goes for all methods.
    """

    def __init__(self, folder: Path, first_step: int):
        self._folder = folder
        with self._sentence():
            folder.mkdir(exist_ok=True)
            found = [NAME.match(path.name) for path in folder.iterdir()]
            # TensorBoard reads files in the order of their names, whatever the clock says.
            number = max([int(time.time()), *(int(name[1]) + 1 for name in found if name)])
            path = folder / f"events.out.tfevents.{number:010d}.{socket.gethostname()}"
            self._writer = tf.io.TFRecordWriter(str(path))
        self.add(0, file_version="brain.Event:2")
        self.add(first_step, session_log=tf.SessionLog(status=tf.SessionLog.START))

    def add(self, step: int, **content: object) -> None:
        """Adds an event with one of tf.Event's contents."""
        event = tf.Event(wall_time=time.time(), step=step, **content)
        with self._sentence():
            self._writer.write(event.SerializeToString())

    def add_scalars(self, step: int, scalars: dict[str, float]) -> None:
        """Adds a value per tag."""
        values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self.add(step, summary=tf.Summary(value=values))

    def flush(self) -> None:
        """Returns once everything that was added is in the file."""
        with self._sentence():
            self._writer.flush()

    def close(self) -> None:
        """Closes the file. `flush` has reported what could not be written, or the run ends for a
        worse reason."""
        with contextlib.suppress(OSError, tf.errors.OpError):
            self._writer.close()

    @contextlib.contextmanager
    def _sentence(self) -> Iterator[None]:
        """Turns an error of writing into a sentence for the user."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                f"{self._folder}: the events for TensorBoard cannot be written ({reason(error)}); "
                "free some space or fix the disk, then run the same command again to resume from "
                "the last checkpoint."
            ) from error


class RunEvents:
    """The events of a run, in run_dir/train and run_dir/eval.

    Args:
      plan: the run.
      run_dir: its folder.
      scopes: of the net's convolutions, in the order they run.
      step: after which it resumes; 0 for a new run.

    Raises:
      UserError: the events cannot be written; this goes for all methods.
    """

    def __init__(self, plan: Plan, run_dir: Path, scopes: Sequence[str], step: int):
        self._plan, self._run_dir = plan, run_dir
        self._tags = tags(scopes)
        self._train = EventFile(run_dir / "train", step + 1 if step else 0)
        is_evaluated_again = plan.schedule.evaluates_at(step)
        self._eval = EventFile(run_dir / "eval", step if is_evaluated_again else step + 1)

    def close(self) -> None:
        """Closes both files."""
        self._train.close()
        self._eval.close()

    def write_start(self, crops: np.ndarray) -> None:
        """Adds the start of a new run: its graph, settings and scopes, and the first batch.

        Args:
          crops: float32 [batch, 3 * resize_dim * resize_dim], 0..255, channel-major: the images of
            the first step, cropped and flipped.
        """
        model, settings = self._plan.model, self._plan.settings
        net = modules(model)
        images = records_to_images(crops[:SHOWN_CROPS], model.resize_dim)
        self._train.add(0, graph_def=drawn_graph(model).SerializeToString())
        for summary in (
            summaries.text_table("settings", ("setting", "value"), settings.items()),
            summaries.scopes_table(net),
            summaries.image("augmented", figures.grid(images, scale=2)),
            summaries.scope_charts(net, self._tags),
        ):
            self._train.add(0, summary=summary)
        self._eval.add(0, summary=summaries.hparams(settings, net, self._run_dir))

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
        self._train.add_scalars(int(values.step), scalars)

    def write_evaluation(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """Adds an evaluation's loss and accuracy, and the weights it used; with summarize_layers,
        also what the layers put out and their gradients; after the last step, its mistakes."""
        step, plan = evaluation.step, self._plan
        scalars = {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
        for scope, fraction in evaluator.zero_fractions().items():
            scalars[self._tag(f"{scope}/activation/zeros")] = fraction
        self._eval.add_scalars(step, scalars)
        self.write_weights(step, evaluator.weights())
        if plan.schedule.summarize_layers:
            layers = evaluator.activations()
            self._add_histograms(
                step, {f"{name}/activation": layers[name][:SHOWN_ACTIVATIONS] for name in layers}
            )
            gradients = evaluator.gradients()
            self._add_histograms(step, {f"{name}/gradient": gradients[name] for name in gradients})
        if step >= plan.schedule.total_steps:
            split, names = evaluator.split, plan.dataset.class_names
            matrix = figures.confusion_matrix(split.labels, evaluation.predictions, names)
            self._eval.add(step, summary=summaries.image("confusion_matrix", matrix))
            worst = figures.worst(split, evaluation.probs, names, plan.model.original_dim)
            if worst is not None:
                self._eval.add(step, summary=summaries.image("worst", worst))

    def write_weights(self, step: int, weights: dict[str, np.ndarray]) -> None:
        """Adds a histogram of each variable, and an image of the first convolution's filters."""
        scope, tag = next(iter(self._tags.items()))
        self._add_histograms(step, weights)
        first = figures.filters(weights[f"{scope}/kernel"])
        self._eval.add(step, summary=summaries.image(f"{tag}/filters", first))

    def flush(self) -> None:
        """Returns once everything that was added is in the files."""
        self._train.flush()
        self._eval.flush()

    def _tag(self, name: str) -> str:
        """The tag of something inside a scope: "fire1/squeeze/kernel", for instance."""
        scope = max((scope for scope in self._tags if name.startswith(f"{scope}/")), key=len)
        return self._tags[scope] + name.removeprefix(scope)

    def _add_histograms(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Adds a histogram of each array; their names start with a scope."""
        tagged = {self._tag(name): values for name, values in arrays.items()}
        self._eval.add(step, summary=summaries.histograms(tagged))
