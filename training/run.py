"""One run from start to results.json: what train.py does, and what a sweep does again and again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from data import Split
from training import loop
from training.evaluation import Evaluator
from training.interruption import Interruption
from training.run_dir import open_run_dir, read_json, write_json


class RunResult(NamedTuple):
    """How a run ended.

    Attributes:
      step: global_step of its last checkpoint.
      results: what results.json holds; None where the run was interrupted.
      signal: the number of the signal that came, or None; after the last step it came too late to
        interrupt the run.
    """

    step: int
    results: dict | None
    signal: int | None


def run(
    training: loop.Training,
    evaluated: Split,
    split_name: str,
    settings: dict,
    watcher: loop.Watcher,
) -> RunResult:
    """Trains from the newest checkpoint to the last step; leaves results.json in the run's folder.

    Args:
      training: what is trained, on what, how and where.
      evaluated: what the checkpoints are evaluated on, called split_name.
      settings: what settings.json shall say of it.
      watcher: is told of each step and evaluation.

    Raises:
      RunError: with a sentence for the user.
    """
    started = time.perf_counter()
    class_names = training.dataset.class_names
    with (
        open_run_dir(training.run_dir, settings),
        Evaluator(training.model, evaluated, class_names, split_name) as evaluator,
        Interruption() as interruption,
    ):
        result = loop.train(training, evaluator, watcher, interruption)
        if result.evaluation is None:
            return RunResult(result.step, None, interruption.received)
        results = evaluator.summarize(result.evaluation)
        results["images_per_second"] = result.images_per_second
        results["wall_seconds"] = time.perf_counter() - started
        write_results(training.run_dir, results)
    return RunResult(result.step, results, interruption.received)


def write_results(run_dir: Path, results: dict) -> None:
    """Writes results.json, unless there is one of the same step: it knows how long that took."""
    try:
        if read_json(run_dir / "results.json")["steps"] == results["steps"]:
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass  # there is none yet, or none that can be read
    write_json(run_dir / "results.json", results)
