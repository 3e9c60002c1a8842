"""What a run trains, and how: resolved once, before the training starts."""

import dataclasses
from pathlib import Path
from typing import Any

from data import Dataset
from imagenet.nets import describe
from saved.run import Run
from squeezenet_model import SqueezeNetModel
from training.recipe import Schedule


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training run.

    Attributes:
      model: the net to train.
      dataset: the images to train and evaluate on.
      schedule: the numbers of the run.
      run_dir: folder of the run; None in the tasks of a cluster that only compute.
      init_from: the saved run whose weights a new run starts from; None for random weights.
      recorded: what else settings.json records, in values that JSON has.
    """

    model: SqueezeNetModel
    dataset: Dataset
    schedule: Schedule
    run_dir: Path | None
    init_from: Run | None = None
    recorded: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What settings.json holds: the net and the classes a checkpoint fits, and the schedule."""
        return {
            **describe(self.model),
            "dataset": self.dataset.name,
            "class_names": list(self.dataset.class_names),
            **dataclasses.asdict(self.schedule),
            "recipe": self.schedule.recipe.name,
            "run_dir": str(self.run_dir),
            **self.recorded,
        }
