"""The TensorBoard events of a run: train and eval as two curves of one chart, and the graph."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow.compat.v1 as tf

from squeezenet_model import SqueezeNetModel
from training.checkpoints import reason
from training.evaluation import Evaluation
from training.run_dir import RunError
from training.towers import TrainingStep

# What the thread that writes the files dies of, as TensorFlow hands it on.
WRITE_ERRORS = (OSError, IndexError, RuntimeError, tf.errors.OpError)


class EventWriters:
    """Writes into run_dir/train and run_dir/eval; a context manager that closes both.

    Args:
      run_dir: folder of the run.
      next_step: the first step whose training values are still to come.
      next_evaluation: the first step whose evaluation is still to come. What an interrupted run
        wrote of these steps and later ones is taken back (the START of a session has this effect
        on a curve), so that it neither overlaps itself nor has a gap.
      model: its graph, as the chapter draws it, is written when nothing has been trained yet.

    Raises:
      RunError: the disk is full or the folder cannot be written; so do all methods but close.
    """

    def __init__(self, run_dir: Path, next_step: int, next_evaluation: int, model: SqueezeNetModel):
        self._run_dir = run_dir
        with self._told():
            for name in ("train", "eval"):
                (run_dir / name).mkdir(exist_ok=True)
                if not os.access(run_dir / name, os.W_OK):  # TensorFlow would only log it
                    raise PermissionError(f"no permission to write into {name}")
            self.train = tf.summary.FileWriter(str(run_dir / "train"))
            self.eval = tf.summary.FileWriter(str(run_dir / "eval"))
            if next_step == 1:
                self.train.add_graph(chapter_graph(model))
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

    def write_evaluation(self, evaluation: Evaluation) -> None:
        """Adds an evaluation's loss and accuracy."""
        scalars = {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
        with self._told():
            add_scalars(self.eval, evaluation.step, scalars)
        self.flush()

    def flush(self) -> None:
        """Returns when all that was added is in the files."""
        with self._told():
            self.train.flush()
            self.eval.flush()

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


def chapter_graph(model: SqueezeNetModel) -> tf.Graph:
    """The net as the chapter's class builds it: one tower, no gradients, no optimizer.

    This is what TensorBoard's Graphs tab shows. The graph that trains holds a copy of the net per
    tower, and their gradients, which would hide it.
    """
    with tf.Graph().as_default() as graph:
        shape = [None, model.resize_dim, model.resize_dim, 3]
        inputs = tf.placeholder(tf.float32, shape, name="input")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        copy.copy(model).run_model_setup(inputs, labels, is_training=False)
    return graph
