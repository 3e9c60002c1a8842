"""Reports a training run's progress: in the terminal, in TensorBoard, and in results.json."""

import contextlib
import itertools
import statistics
import time
from pathlib import Path
from typing import Any, Protocol

import tensorflow.compat.v1 as tf
from tqdm import tqdm

from base.files import read_json, write_json
from evaluation.evaluator import Evaluation, Evaluator
from reporting import figures, summaries
from reporting.console import TrainingBar, print_evaluation
from reporting.events import EventFile
from reporting.results import summarize
from reporting.scopes import drawn_graph, modules, tags
from training.batches import batch_at, records_to_images
from training.plan import Plan
from training.scope_scalars import MEASURES, SUMMARY_STEPS, kernel_scopes
from training.step import TrainingStep


class Progress(Protocol):
    """What the training loop tells about a run. All methods raise UserError when the disk is full
    or the folder can no longer be written."""

    def started(self, session: tf.Session) -> None:
        """The session holds the variables with which the training starts, or resumes."""

    def step_done(self, values: TrainingStep) -> None:
        """A step has been taken, with these values, as numpy has them."""

    def flush(self) -> None:
        """A checkpoint follows: no resumed run will repeat what was told so far."""

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """A checkpoint has been evaluated."""

    def finished(self) -> dict | None:
        """The last step has been evaluated. Returns what results.json holds, if it is written."""


class Silence:
    """The progress of the tasks of a cluster that only compute: it shows and writes nothing."""

    def started(self, session: tf.Session) -> None:
        """Does nothing, like the others."""

    def step_done(self, values: TrainingStep) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """Does nothing."""

    def finished(self) -> None:
        """Does nothing."""


def progress_of(plan: Plan, step: int) -> contextlib.AbstractContextManager[Progress]:
    """The progress of a run after a step, 0 for a new run; its net is in the default graph."""
    if plan.run_dir:
        return RunProgress(plan, plan.run_dir, step)
    return contextlib.nullcontext(Silence())


class RunProgress(contextlib.AbstractContextManager):
    """Shows a run in the terminal and in TensorBoard, as run_dir/train and run_dir/eval: two runs
    that share their charts."""

    def __init__(self, plan: Plan, run_dir: Path, step: int):
        schedule = plan.schedule
        self._plan, self._run_dir, self._step = plan, run_dir, step
        self._tags = tags(kernel_scopes())
        self._train = EventFile(run_dir / "train", step + 1 if step else 0)
        self._eval = EventFile(run_dir / "eval", step if schedule.evaluates_at(step) else step + 1)
        self._bar = TrainingBar(
            step, schedule.total_steps, schedule.num_epochs, not schedule.recipe.frozen
        )
        self._created = time.perf_counter()
        self._step_ends: list[float] = []  # in seconds, as if evaluations took no time
        self._paused = 0.0
        self._results: dict[str, Any] = {}  # of the last step, once it has been evaluated

    def __exit__(self, *exc_info: object) -> None:
        """Closes the files and the bar."""
        self._train.close()
        self._eval.close()
        self._bar.close()

    def started(self, session: tf.Session) -> None:
        """Says that a run is resumed or complete; adds the graph, settings, scopes, first images
        and weights of a new one."""
        if self._step >= self._plan.schedule.total_steps:
            print(
                f"complete since step {self._step:,}; a larger --num_epochs would train it further"
            )
        elif self._step:
            print(f"resumed at step {self._step:,}", flush=True)
        else:
            plan, net = self._plan, modules(self._plan.model)
            self._train.add(0, graph_def=drawn_graph(plan.model).SerializeToString())
            crops, _ = batch_at(plan.dataset, plan.schedule.batch_size, plan.schedule.seed, step=0)
            images = records_to_images(crops[:64], plan.model.resize_dim)  # 8 x 8 of them
            for summary in (
                summaries.text_table("settings", ("setting", "value"), plan.settings.items()),
                summaries.scopes_table(net),
                summaries.images({"augmented": figures.grid(images, scale=2)}),
                summaries.scope_charts(self._tags),
            ):
                self._train.add(0, summary=summary)
            self._eval.add(0, summary=summaries.hparams(plan.settings, net, self._run_dir))
            self._add_weights(0, session.run({v.op.name: v for v in tf.trainable_variables()}))

    def step_done(self, values: TrainingStep) -> None:
        """Times and shows a step; adds every SUMMARY_STEPS-th step and the last to the curves."""
        self._step_ends.append(time.perf_counter() - self._paused)
        speed = self._images_per_second(self._step_ends[-1 - SUMMARY_STEPS :])
        if len(values.scope_scalars):  # a summary step
            scalars = {
                "loss": values.loss,
                "accuracy": values.accuracy,
                "learning_rate": values.learning_rate,
            }
            if speed is not None:
                scalars["images_per_second"] = speed
            scalars |= {
                f"{tag}/kernel/{measure}": value
                for tag, row in zip(self._tags.values(), values.scope_scalars, strict=True)
                for measure, value in zip(MEASURES, row, strict=True)
            }
            self._train.add_scalars(int(values.step), scalars)
        self._bar.step_done(values, speed)

    def flush(self) -> None:
        """Writes the events so far to the disk."""
        self._train.flush()
        self._eval.flush()

    def evaluated(self, evaluation: Evaluation, evaluator: Evaluator) -> None:
        """Shows an evaluation, and adds it and its weights to the events; with summarize_layers,
        also what the layers put out and their gradients; after the last step, its mistakes."""
        step, schedule, dataset = evaluation.step, self._plan.schedule, self._plan.dataset
        before = schedule.recipe.interpolation
        if before and self._step_ends and step >= schedule.total_steps:
            tqdm.write(
                f"the weights are now a mean: {before:.0%} of those before the fine-tuning, "
                f"{1 - before:.0%} of those after it"
            )
        zeros = self._tagged(evaluator.zero_fractions(), "/activation/zeros")
        measures = {"loss": evaluation.loss, "accuracy": evaluation.accuracy, **zeros}
        self._eval.add_scalars(step, measures)
        self._add_weights(step, evaluator.weights())
        if schedule.summarize_layers:
            activations = self._tagged(evaluator.activations(), "/activation")
            gradients = self._tagged(evaluator.gradients(), "/gradient")
            self._eval.add(step, summary=summaries.histograms(activations | gradients))
        if step >= schedule.total_steps:
            split, names = evaluator.split, dataset.class_names
            matrix = figures.confusion_matrix(split.labels, evaluation.predictions, names)
            worst = figures.worst(split, evaluation.probs, names, dataset.original_dim)
            drawings = summaries.images({"confusion_matrix": matrix, "worst": worst})
            self._eval.add(step, summary=drawings)
            self._results = summarize(
                evaluation, split, names, dataset.evaluation_name, evaluator.net.variables
            )
        self.flush()
        print_evaluation(evaluation, dataset.evaluation_name)
        if self._step_ends:
            self._paused = time.perf_counter() - self._step_ends[-1]

    def finished(self) -> dict:
        """Writes results.json, unless it exists for this step: then it has the times of the run."""
        path = self._run_dir / "results.json"
        results = self._results | {
            "images_per_second": self._images_per_second(self._step_ends),
            "wall_seconds": time.perf_counter() - self._created,
        }
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            if read_json(path)["steps"] == results["steps"]:
                return results
        write_json(path, results)
        return results

    def _images_per_second(self, ends: list[float]) -> float | None:
        """The speed between the ends of some steps; None before the second.

        The first step of all, in which TensorFlow is still setting itself up, is never counted. Nor
        are steps that took far longer than most: Ctrl-Z has stopped them, or the machine has slept.
        """
        times = [end - start for start, end in itertools.pairwise(ends)]
        if not times:
            return None
        limit = 1.0 + 5.0 * statistics.median_low(times)
        counted = [seconds for seconds in times if seconds <= limit]
        return self._plan.schedule.batch_size * len(counted) / sum(counted)

    def _add_weights(self, step: int, weights: dict[str, Any]) -> None:
        """Adds a histogram of each variable, and an image of the first convolution's filters."""
        self._eval.add(step, summary=summaries.histograms(self._tagged(weights)))
        scope, tag = next(iter(self._tags.items()))
        filters = figures.filters(weights[f"{scope}/kernel"])
        self._eval.add(step, summary=summaries.images({f"{tag}/filters": filters}))

    def _tagged(self, values: dict[str, Any], ending: str = "") -> dict[str, Any]:
        """Values by tags with an ending, instead of by the names of scopes or variables in them."""
        return {
            self._tags[scope] + name.removeprefix(scope) + ending: value
            for name, value in values.items()
            for scope in self._tags
            if f"{name}/".startswith(f"{scope}/")
        }
