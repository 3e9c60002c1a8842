"""Notices a training that has died, so that it does not go on for an hour."""

from __future__ import annotations

import math
from pathlib import Path

from training import RunError
from training.step import TrainingStep

CHANCE_MARGIN = 0.02  # nats around ln(classes) in which a batch tells nothing from guessing
# A run is given up after so many steps in a row with gradients below a norm. None at all is what a
# dead last ReLU leaves. A net whose inner layers have died still moves its final biases, with norms
# of 0.1 and less; but so does one that has not begun to learn yet, so it is given more time.
VANISHED = ((1e-3, 100), (0.1, 1_000))


class TrainingDied(RunError):
    """The net cannot learn any more."""


class Health:
    """Looks at each step of a training; raises when there is nothing left to train.

    Args:
      run_dir: folder of the run, to name.
      num_classes: of the data set; guessing among them has a loss of ln(num_classes).
    """

    def __init__(self, run_dir: Path, num_classes: int):
        self._run_dir = run_dir
        self._chance = math.log(num_classes)
        self._stuck_steps = [0] * len(VANISHED)

    def check(self, values: TrainingStep) -> None:
        """Looks at one step.

        Raises:
          TrainingDied: its loss or gradients are not finite, or the net has been as good as
            guessing, without gradients to speak of, for long.
        """
        for name, value in (("loss", values.loss), ("gradient", values.gradient_norm)):
            if not math.isfinite(value):
                raise TrainingDied(
                    f"{self._run_dir}: the {name} of step {values.step} is {value}; the "
                    "checkpoints before it are kept: train in another --run_dir with a smaller "
                    "--learning_rate."
                )
        guesses = abs(values.loss - self._chance) < CHANCE_MARGIN
        for index, (norm, patience) in enumerate(VANISHED):
            stuck = guesses and values.gradient_norm < norm
            self._stuck_steps[index] = self._stuck_steps[index] + 1 if stuck else 0
            if self._stuck_steps[index] >= patience:
                raise TrainingDied(
                    f"{self._run_dir}: the net has died; at step {values.step} its loss has been "
                    f"that of guessing ({self._chance:.3f}) for {patience:,} steps, without "
                    "gradients to mend it: train in another --run_dir with another --seed, a "
                    "smaller --learning_rate, or the tuned --recipe."
                )
