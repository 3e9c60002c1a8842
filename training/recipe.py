"""The constants that decide how well the net trains, with the reason beside each. No TensorFlow."""

from dataclasses import dataclass

# Highest learning rate of the schedule. After two epochs of CIFAR-10 (seed 0) the net had 54% of
# its training pictures right; with Adam's own 1e-3 it had 50%, with 1e-2 53%.
LEARNING_RATE = 5e-3

# Epochs until the learning rate reaches it, the usual care for Adam's first steps. By itself it is
# not enough: no length of it that was tried on the digits kept every seed alive.
WARM_UP_EPOCHS = 1.0

# Gradients longer than this (the norm of all of them together) are cut to it. They have spikes of
# up to 50 here, and after one of them Adam's next steps silence layers, which no schedule mends.
CLIP_NORM = 1.0

# What final_conv's biases begin with. The net ends in a ReLU, and a class whose logit it holds at
# zero for every picture gets no gradient, so it never comes back: that is how SqueezeNet gets stuck
# at a loss of ln(classes). Begun this far above zero, no logit meets the ReLU while the net finds
# its feet, and softmax does not see what all logits have in common.
FINAL_BIAS = 10.0

# Length of a run. CIFAR-10: 10,000 steps of 128 pictures. Digits: half a minute on two cores.
NUM_EPOCHS = {"cifar10": 25.6, "digits": 30.0}
NUM_EPOCHS_ELSEWHERE = 30.0

BATCH_SIZE = 128  # that of the figures published for this net
EVALS_PER_RUN = 10
MOST_STEPS_BETWEEN_EVALS = 1_000  # a killed run loses about a minute of work at most

# Small towers keep their values in a core's cache; smaller ones cost more than they save.
PICTURES_PER_TOWER = 32
# Every tower is a copy of the net in the graph, which takes a quarter of a second to build.
MOST_TOWERS = 16


@dataclass(frozen=True)
class Schedule:
    """The numbers of a training run.

    Attributes:
      num_epochs: times that each training picture is shown.
      batch_size: pictures a step.
      total_steps: global_step at which the run is complete.
      warm_up_steps: steps until the learning rate reaches its peak.
      learning_rate: that peak.
      eval_every: steps from one checkpoint and evaluation to the next.
      num_towers: parts of a batch that are worked on side by side; divides batch_size.
      seed: 0 or more; fixes the first weights, the order of the pictures, crops, flips, dropout.
    """

    num_epochs: float
    batch_size: int
    total_steps: int
    warm_up_steps: int
    learning_rate: float
    eval_every: int
    num_towers: int
    seed: int

    def is_evaluated(self, step: int) -> bool:
        """Whether the checkpoint of a step is evaluated: every eval_every steps, and the last."""
        return step % self.eval_every == 0 or step >= self.total_steps


def num_epochs(dataset_name: str) -> float:
    """How many times each training picture is shown."""
    return NUM_EPOCHS.get(dataset_name, NUM_EPOCHS_ELSEWHERE)


def num_towers(batch_size: int) -> int:
    """The most towers that share a batch evenly and have PICTURES_PER_TOWER or more each."""
    most = min(MOST_TOWERS, max(1, batch_size // PICTURES_PER_TOWER))
    return next(towers for towers in range(most, 0, -1) if batch_size % towers == 0)


def warm_up_steps(steps_per_epoch: float, total_steps: int) -> int:
    """Steps of the warm-up: WARM_UP_EPOCHS, but at most a quarter of a short run."""
    return min(round(WARM_UP_EPOCHS * steps_per_epoch), total_steps // 4)


def eval_every(total_steps: int) -> int:
    """Steps from one checkpoint and evaluation to the next."""
    return min(MOST_STEPS_BETWEEN_EVALS, max(1, total_steps // EVALS_PER_RUN))
