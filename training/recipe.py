"""The constants that decide how well the net trains, with the reason for each. No TensorFlow."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from base import UserError
from base.runtime import fast_precision, visible_cores
from imagenet import DEFAULT_NET


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How train.py trains a net."""

    name: str  # its name for --recipe
    muon: bool  # whether Muon trains the kernels, or Adam, which always trains the biases
    standardized: bool  # whether each filter is reset to mean 0 and a fixed norm after each step
    learning_rate: float  # peak learning rate of the kernels
    bias_rate: float  # learning rate of the biases, as a multiple of the kernels'
    warm_up_epochs: float  # epochs over which the learning rate rises to its peak
    annealed: bool  # whether it then decays linearly to zero, or stays constant
    label_smoothing: float = 0.0  # fraction of each label that is spread over all classes, 0..1
    # Fraction of the initial weights in the final ones: M. Wortsman et al., "Robust fine-tuning of
    # zero-shot models" (arXiv 2109.01903).
    interpolation: float = 0.0
    frozen: float = 0.0  # fraction of the layers, from the first, that keep their weights, 0..1


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

# The better one; docs/results.md has the figures.
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
WISE_FT = Recipe(
    name="wise_ft",
    muon=False,
    standardized=False,  # would rescale every pretrained filter
    learning_rate=5e-4,
    bias_rate=1.0,
    # Adam's first steps move every weight by the whole rate. Without a warm-up, that destroys what
    # the layers have learned.
    warm_up_epochs=2.0,
    annealed=True,
    # Without it the net memorizes a few hundred photos, and does worse on others; with 0.1 it is no
    # more accurate, and less certain than it could be.
    label_smoothing=0.03,
    # In the paper's nets, everything up to fire5: edges and textures, which all photos have in
    # common. A step takes less time and memory, and held-out photos are classified no worse.
    frozen=0.5,
    # With 250 photos, a half would be as accurate; with 2,000, less so.
    interpolation=0.25,
)

# What earlier versions fine-tuned with; their runs resume with it.
FINE_TUNED = dataclasses.replace(
    WISE_FT,
    name="fine_tuned",
    learning_rate=3e-4,
    warm_up_epochs=0.0,
    label_smoothing=0.1,
    interpolation=0.0,
)

PRECISIONS = ("float32", "bfloat16")
RECIPES = {recipe.name: recipe for recipe in (TUNED, CHAPTER, WISE_FT, FINE_TUNED)}


class Defaults(NamedTuple):
    """What train.py does unless its flags say otherwise."""

    num_epochs: float  # passes over the training images
    batch_size: int  # images per step
    recipe: Recipe
    bfloat16: bool = True  # whether to use it where it is fast
    evals: int = 5  # enough points for a curve; at 288 pixels, each takes seconds


# By data set; "photos" stands for folders of your own, "paper" for the paper's nets on them.
DEFAULTS = {
    # 141 steps of 64, so that 1,500 images make enough steps in a few seconds. In these, the casts
    # to bfloat16 cost as much as they save.
    "digits": Defaults(6.0, 64, TUNED, bfloat16=False),
    # 10,000 steps; batches as in TF1's CIFAR-10 tutorial.
    "cifar10": Defaults(25.6, 128, TUNED),
    "photos": Defaults(30.0, 128, TUNED),
    "paper": Defaults(12.0, 32, WISE_FT, evals=2),
}
MAX_STEPS_BETWEEN_EVALS = 1_000  # so a killed run loses about a minute of work at most

# Small towers keep their values in a core's cache, and with up to 32 images oneDNN keeps its
# kernels, too. Even smaller towers cost more than they save, but less than an idle core.
IMAGES_PER_TOWER = 32
MIN_IMAGES_PER_TOWER = 8
# Each tower is another copy of the net in the graph, which takes a quarter of a second to build.
MAX_TOWERS = 16


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The numbers of a training run."""

    num_epochs: float  # passes over the training images
    batch_size: int  # images per step
    total_steps: int  # global_step at which the run is complete
    recipe: Recipe  # how the weights are initialized and trained
    learning_rate: float  # its peak; overrides the recipe's own
    warm_up_steps: int  # steps until the peak is reached
    eval_every: int  # steps between checkpoints, each of which is evaluated
    num_towers: int  # equal parts of a batch that are processed in parallel; divides batch_size
    num_gpus: int = 0  # GPUs to spread the towers over; with 0, TensorFlow places them
    seed: int = 0  # determines initial weights, order of the images, crops, flips and dropout
    summarize_layers: bool = False  # whether to record activations and gradients for TensorBoard
    precision: str = "float32"  # of the layers, or "bfloat16"; variables are always float32
    class_weights: bool = False  # whether to weight the loss of an image by how rare its class is

    def evaluates_at(self, step: int) -> bool:
        """Whether the checkpoint of a step is evaluated: every eval_every steps, and the last."""
        return step % self.eval_every == 0 or step >= self.total_steps


@dataclasses.dataclass(frozen=True)
class BatchPart:
    """The part of each batch that a task of a cluster trains on: index is 0 to count - 1."""

    index: int = 0
    count: int = 1

    def of(self, batch_size: int) -> slice:
        """Its slice of a batch of batch_size images, a multiple of count."""
        size = batch_size // self.count
        return slice(self.index * size, (self.index + 1) * size)


WHOLE_BATCH = BatchPart()


def defaults_for(dataset_name: str, net: str = DEFAULT_NET) -> Defaults:
    """The defaults for a data set and a net."""
    name = dataset_name if net == DEFAULT_NET else "paper"
    return DEFAULTS.get(name, DEFAULTS["photos"])


def make_schedule(
    num_images: int,
    defaults: Defaults,
    given: Mapping[str, Any],
    num_tasks: int = 1,
    num_gpus: int = 0,
) -> Schedule:
    """The schedule of a run: what is given, and defaults for the rest.

    Args:
      num_images: to train on.
      given: train.py's flags by name, None for those that are not given; batch_size and num_towers
        are those of one task.
      num_tasks: tasks that train, in a cluster.
      num_gpus: GPUs of this machine.

    Raises UserError if num_towers does not divide the batch.
    """
    recipe = RECIPES.get(given.get("recipe", ""), defaults.recipe)
    batch_size = given.get("batch_size") or defaults.batch_size
    num_epochs = given.get("num_epochs") or defaults.num_epochs
    num_towers = given.get("num_towers") or towers_for(batch_size, visible_cores(), num_gpus)
    if batch_size % num_towers:
        raise UserError(
            f"--num_towers {num_towers}: does not divide the batch size, {batch_size}; choose "
            "another number, or another --batch_size."
        )
    # The reproduction computes as the chapter does; on GPUs, bfloat16 has not been tried.
    may_be_bfloat16 = defaults.bfloat16 and recipe is not CHAPTER and not num_gpus
    steps_per_epoch = num_images / (batch_size * num_tasks)
    total_steps = max(1, math.ceil(num_epochs * steps_per_epoch))
    return Schedule(
        num_epochs=num_epochs,
        batch_size=batch_size * num_tasks,
        total_steps=total_steps,
        recipe=recipe,
        learning_rate=given.get("learning_rate") or recipe.learning_rate,
        # At most a quarter of the run.
        warm_up_steps=min(round(recipe.warm_up_epochs * steps_per_epoch), total_steps // 4),
        eval_every=given.get("eval_every")
        or min(MAX_STEPS_BETWEEN_EVALS, math.ceil(total_steps / defaults.evals)),
        num_towers=num_towers,
        num_gpus=num_gpus,
        seed=given.get("seed") or 0,
        precision=given.get("precision") or (fast_precision() if may_be_bfloat16 else "float32"),
        summarize_layers=bool(given.get("summarize_layers")),
        class_weights=bool(given.get("class_weights")),
    )


def towers_for(batch_size: int, cores: int, num_gpus: int = 0) -> int:
    """The default number of towers, which divides the batch evenly: one per GPU; without GPUs, one
    per IMAGES_PER_TOWER images, or one per core if that is more."""
    one_per_core = min(cores, batch_size // MIN_IMAGES_PER_TOWER)
    on_cores = min(MAX_TOWERS, max(1, one_per_core, batch_size // IMAGES_PER_TOWER))
    return next(n for n in range(num_gpus or on_cores, 0, -1) if batch_size % n == 0)
