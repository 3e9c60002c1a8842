"""Notices a training that has died, so that it does not go on for an hour."""

from __future__ import annotations

import math
from pathlib import Path

from training.run_dir import RunError
from training.towers import TrainingStep

CHANCE_MARGIN = 0.02  # nats around ln(classes) in which a batch tells nothing from guessing
VANISHING = 0.1  # a net that learns has gradients of a norm of one and more
PATIENCE = 100  # steps; a slow start may look dead for a few dozen


class Health:
    """Looks at each step of a training; raises when there is nothing left to train.

    Args:
      run_dir: folder of the run, to name.
      num_classes: of the data set; guessing among them has a loss of ln(num_classes).
    """

    def __init__(self, run_dir: Path, num_classes: int):
        self._run_dir = run_dir
        self._chance = math.log(num_classes)
        self._stuck_steps = 0

    def check(self, values: TrainingStep) -> None:
        """Looks at one step.

        Raises:
          RunError: its loss or gradients are not finite, or the net is as good as guessing and has
            had no gradients to speak of for PATIENCE steps. When the last ReLU holds every logit at
            zero, the loss is ln(num_classes) exactly, and the gradients are zero exactly.
        """
        for name, value in (("loss", values.loss), ("gradient", values.gradient_norm)):
            if not math.isfinite(value):
                raise RunError(
                    f"{self._run_dir}: the {name} of step {values.step} is {value}; the "
                    "checkpoints before it are kept: train in another --run_dir with a smaller "
                    "--learning_rate."
                )
        guesses = abs(values.loss - self._chance) < CHANCE_MARGIN
        vanishes = values.gradient_norm < VANISHING
        self._stuck_steps = self._stuck_steps + 1 if guesses and vanishes else 0
        if self._stuck_steps >= PATIENCE:
            raise RunError(
                f"{self._run_dir}: the net has died; at step {values.step} its loss has been that "
                f"of guessing ({self._chance:.3f}) for {PATIENCE} steps, without gradients to mend "
                "it: train in another --run_dir with another --seed, a smaller --learning_rate, or "
                "without --recipe."
            )
