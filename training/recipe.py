"""The constants that decide how well the net trains, with the reason for each. No TensorFlow."""

import dataclasses
import math
import os
from typing import NamedTuple


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How train.py trains the chapter's net.

    Attributes:
      name: its name for --recipe.
      muon: whether Muon trains the kernels, or Adam, which always trains the biases.
      standardized: whether each filter is reset to mean 0 and a fixed norm after each step.
      learning_rate: peak learning rate of the kernels.
      bias_rate: learning rate of the biases, as a multiple of the kernels'.
      warm_up_epochs: epochs over which the learning rate rises to its peak.
      annealed: whether it then decays linearly to zero, or stays constant.
      label_smoothing: part of each label that is spread over all classes, 0..1.
      frozen: share of the layers, counted from the first, that keep their weights, 0..1.
    """

    name: str
    muon: bool
    standardized: bool
    learning_rate: float
    bias_rate: float
    warm_up_epochs: float
    annealed: bool
    label_smoothing: float = 0.0
    frozen: float = 0.0


# The course's own training: `tf.train.AdamOptimizer()` and nothing else.
CHAPTER = Recipe(
    name="chapter",
    muon=False,
    standardized=False,
    learning_rate=1e-3,  # the default of tf.train.AdamOptimizer
    bias_rate=1.0,
    warm_up_epochs=0.0,
    annealed=False,
)

# The better one; docs/recipe.md has the figures.
TUNED = Recipe(
    name="tuned",
    # Learns all directions of a kernel at once; Adam's steps follow the few strongest.
    muon=True,
    # Does what batch normalization does for other nets: no filter grows, none dies. The net ends in
    # a ReLU; a class whose output is zero for every image would no longer get a gradient.
    standardized=True,
    # A step's norm. A filter's norm is 1.4, so the largest steps turn it by 1.4% or a little more.
    learning_rate=0.02,
    bias_rate=0.25,  # Adam's 5e-3; a fifth of that did as well
    warm_up_epochs=0.25,
    annealed=True,
)

# For pretrained weights and a small set of photos: the last layer is fitted first
# (training/last_layer.py), then the later half of the layers is fine-tuned.
FINE_TUNED = Recipe(
    name="fine_tuned",
    muon=False,
    standardized=False,  # would rescale every pretrained filter
    learning_rate=3e-4,
    bias_rate=1.0,
    warm_up_epochs=0.0,
    annealed=True,
    # Without it the net memorizes a few hundred photos, and does worse on others.
    label_smoothing=0.1,
    # In the paper's nets, everything up to fire5: edges and textures, which all photos have in
    # common. A step takes less time and memory, and held-out photos are classified no worse.
    frozen=0.5,
)

RECIPES = {recipe.name: recipe for recipe in (TUNED, CHAPTER, FINE_TUNED)}

# Length of a run. CIFAR-10: 10,000 steps of 128 images. Digits: 141 steps of 64, a few seconds.
NUM_EPOCHS = {"cifar10": 25.6, "digits": 6.0}
NUM_EPOCHS_ELSEWHERE = 30.0

# Fine-tuning one of the paper's pretrained nets on a few hundred photos.
FINE_TUNED_EPOCHS = 20.0
FINE_TUNED_BATCH_SIZE = 32

BATCH_SIZE = 128  # as in TF1's CIFAR-10 tutorial
DIGITS_BATCH_SIZE = 64  # so that 1,500 images make enough steps in half the time
EVALS_PER_RUN = 5  # enough points for a curve; at 224 pixels, each takes seconds
MOST_STEPS_BETWEEN_EVALS = 1_000  # so a killed run loses about a minute of work at most

# Small towers keep their values in a core's cache, and with up to 32 images oneDNN keeps its
# kernels, too. Even smaller towers cost more than they save, but less than an idle core.
IMAGES_PER_TOWER = 32
FEWEST_IMAGES_PER_TOWER = 8
# Each tower is another copy of the net in the graph, which takes a quarter of a second to build.
MOST_TOWERS = 16


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The numbers of a training run.

    Attributes:
      num_epochs: passes over the training images.
      batch_size: images per step.
      total_steps: global_step at which the run is complete.
      recipe: how the weights are initialized and trained.
      learning_rate: its peak; overrides the recipe's own.
      warm_up_steps: steps until the peak is reached.
      eval_every: steps between checkpoints, each of which is evaluated.
      num_towers: equal parts of a batch that are processed in parallel; divides batch_size.
      num_gpus: GPUs to spread the towers over; with 0, TensorFlow places them.
      seed: 0 or more; determines initial weights, order of the images, crops, flips and dropout.
      summarize_layers: whether activations and gradients are also recorded for TensorBoard.
      profile: whether to trace a step.
      class_weights: whether to weight each image's part of the loss by how rare its class is.
    """

    num_epochs: float
    batch_size: int
    total_steps: int
    recipe: Recipe
    learning_rate: float
    warm_up_steps: int
    eval_every: int
    num_towers: int
    num_gpus: int = 0
    seed: int = 0
    summarize_layers: bool = False
    profile: bool = False
    class_weights: bool = False

    @property
    def is_the_chapters(self) -> bool:
        """Whether the optimizer is the chapter's own: Adam at its defaults."""
        return self.recipe == CHAPTER and self.learning_rate == CHAPTER.learning_rate

    def is_evaluated(self, step: int) -> bool:
        """Whether the checkpoint of a step is evaluated: every eval_every steps, and the last."""
        return step % self.eval_every == 0 or step >= self.total_steps


class Share(NamedTuple):
    """Which part of each batch a task of a cluster trains on.

    Attributes:
      index: of the task, 0 to count - 1; 0 for a single process.
      count: number of tasks that train.
    """

    index: int = 0
    count: int = 1

    def part(self, batch_size: int) -> slice:
        """Its slice of a batch of batch_size images, a multiple of count."""
        size = batch_size // self.count
        return slice(self.index * size, (self.index + 1) * size)


WHOLE_BATCH = Share()


def num_epochs(dataset_name: str) -> float:
    """The default number of passes over the training images."""
    return NUM_EPOCHS.get(dataset_name, NUM_EPOCHS_ELSEWHERE)


def batch_size(dataset_name: str) -> int:
    """The default number of images per step."""
    return DIGITS_BATCH_SIZE if dataset_name == "digits" else BATCH_SIZE


def make_schedule(
    images: int,
    num_epochs: float,
    recipe: Recipe = TUNED,
    batch_size: int = BATCH_SIZE,
    learning_rate: float | None = None,
    eval_every: int | None = None,
    num_towers: int | None = None,
    num_gpus: int = 0,
    **others,
) -> Schedule:
    """Builds the schedule of a run; None stands for the default.

    Args:
      images: number of training images.
      others: the other attributes of Schedule.
    """
    steps_per_epoch = images / batch_size
    total_steps = max(1, math.ceil(num_epochs * steps_per_epoch))
    interval = min(MOST_STEPS_BETWEEN_EVALS, math.ceil(total_steps / EVALS_PER_RUN))
    return Schedule(
        num_epochs=num_epochs,
        batch_size=batch_size,
        total_steps=total_steps,
        recipe=recipe,
        learning_rate=learning_rate or recipe.learning_rate,
        # At most a quarter of the run.
        warm_up_steps=min(round(recipe.warm_up_epochs * steps_per_epoch), total_steps // 4),
        eval_every=eval_every or interval,
        num_towers=num_towers or towers_for(batch_size, visible_cores(), num_gpus),
        num_gpus=num_gpus,
        **others,
    )


def towers_for(batch_size: int, cores: int, num_gpus: int = 0) -> int:
    """The default number of towers, which divides the batch evenly.

    One per GPU; without GPUs, one per IMAGES_PER_TOWER images, or one per core if that is more.

    Args:
      batch_size: images that the towers share.
      cores, num_gpus: of the machine.
    """
    at_least = min(cores, batch_size // FEWEST_IMAGES_PER_TOWER)
    on_cores = min(MOST_TOWERS, max(1, at_least, batch_size // IMAGES_PER_TOWER))
    most = num_gpus or on_cores
    return next(towers for towers in range(most, 0, -1) if batch_size % towers == 0)


def visible_cores() -> int:
    """The number of cores this process may use, which a container may limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
