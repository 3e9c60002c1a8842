"""Detects that training has collapsed, so that it does not run for another hour."""

import math

from base import UserError
from training.step import TrainingStep

CHANCE_MARGIN = 0.02  # nats around ln(classes) where a batch is no different from guessing
# (norm, steps): a run stops after so many steps in a row with gradients below a norm. A dead last
# ReLU leaves no gradient at all. A net whose inner layers have died still moves its final biases,
# with norms of 0.1 and less. But so does one that has not started to learn, so it gets more time.
VANISHED = ((1e-3, 100), (0.1, 1_000))


class TrainingDied(UserError):
    """The net can no longer learn."""


class Health:
    """Checks each training step of a net for num_classes classes, whose loss of guessing is
    ln(num_classes)."""

    def __init__(self, num_classes: int):
        self._chance = math.log(num_classes)
        self._stuck_steps = [0] * len(VANISHED)

    def check(self, values: TrainingStep) -> None:
        """Raises TrainingDied if the step's loss or gradients are not finite, or if the net has
        done no better than guessing, with almost no gradient, for many steps."""
        for name, value in (("loss", values.loss), ("gradient", values.gradient_norm)):
            if not math.isfinite(value):
                raise TrainingDied(
                    f"step {values.step}: the {name} is {value}, so training cannot continue (its "
                    "checkpoints are kept); train in another --run_dir with a smaller "
                    "--learning_rate."
                )
        for index, (norm, patience) in enumerate(VANISHED):
            stuck = abs(values.loss - self._chance) < CHANCE_MARGIN and values.gradient_norm < norm
            self._stuck_steps[index] = self._stuck_steps[index] + 1 if stuck else 0
            if self._stuck_steps[index] >= patience:
                raise TrainingDied(
                    f"step {values.step}: the net has died: its loss has been that of guessing "
                    f"({self._chance:.3f}) for {patience:,} steps, with almost no gradient; train "
                    "in another --run_dir with another --seed, a smaller --learning_rate, or the "
                    "tuned --recipe."
                )
