"""What a run trains, and how: resolved once, before the training starts."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

import data
from imagenet.nets import describe
from saved.run import Run
from squeezenet_model import SqueezeNetModel
from training.recipe import Schedule


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training run."""

    model: SqueezeNetModel
    dataset: data.Dataset
    schedule: Schedule
    run_dir: Path | None  # None in the tasks of a cluster that only compute
    init_from: Run | None = None  # whose weights a new run starts from; None for random weights
    # What else settings.json records, in values that JSON has.
    recorded: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def class_weights(self) -> np.ndarray | None:
        """Float32 [classes], how much an image of each class counts; None if all count the same."""
        return data.class_weights(self.dataset) if self.schedule.class_weights else None

    @property
    def settings(self) -> dict[str, Any]:
        """What settings.json holds: the net and the classes a checkpoint fits, and the schedule."""
        return {
            **describe(self.model),
            "dataset": self.dataset.name,
            "images": self.dataset.digest or self.dataset.name,
            "class_names": list(self.dataset.class_names),
            **dataclasses.asdict(self.schedule),
            "recipe": self.schedule.recipe.name,
            "run_dir": str(self.run_dir),
            **self.recorded,
        }
