"""Fits a new last layer on features that a pretrained net computes once.

This is the first phase of training on your own photos, as in TF1's image retraining tutorial
(tensorflow/hub, examples/image_retraining), which calls the features "bottlenecks". They are kept
in memory, never in a file, so they cannot become stale.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow.compat.v1 as tf
from tqdm import tqdm

from base.runtime import session_config, visible_cores
from data import Dataset
from training.batches import batch_indices, crop_and_flip, random_offsets
from training.ops import standardized, training_loss, with_dropout
from training.plan import Plan
from training.precision import with_precision

CROPS_PER_IMAGE = 2  # the second is mirrored
# 606 MB for the paper's nets, where each crop has 17 x 17 x 512 features of two bytes. For larger
# data sets, a random subset is enough to start from.
MAX_CROPS = 2_048
CROPS_PER_RUN = 8  # per session.run, on each core

FIT_STEPS = 100
FIT_BATCH_SIZE = 64
FIT_LEARNING_RATE = 1e-3  # Adam's default; decays to zero


def fit_last_layer(plan: Plan, checkpoint: str) -> dict[str, np.ndarray]:
    """Trains the last layer of plan.model; the other layers' weights come from a checkpoint. The
    result is a function of the two, bit for bit.

    Returns `final_conv/kernel`, float32 [1, 1, channels, classes], and `final_conv/bias`, float32
    [classes]. Raises UserError if a photo can no longer be read.
    """
    model, seed = plan.model, plan.schedule.seed
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        crops = tf.placeholder(tf.float32, [None, 3 * model.resize_dim**2], name="crops")
        labels = tf.placeholder(tf.int32, [None], name="labels")

        # Feeding the features themselves would not do: after TensorFlow's constant folding, the
        # gradients would need images, too.
        def cut(features: tf.Tensor) -> tf.Tensor:
            tf.identity(features, "computed")
            return tf.cast(tf.placeholder(tf.float32, features.shape, "cached"), features.dtype)

        net = with_precision(with_dropout(model, cut), plan.schedule.precision)
        logits = net.model_layers(standardized(crops, model), is_training=False)
        computed, cached = map(session.graph.get_tensor_by_name, ("computed:0", "cached:0"))
        *others, kernel, bias = tf.trainable_variables()
        tf.train.init_from_checkpoint(checkpoint, {v.op.name: v for v in others})
        loss, _ = model.loss_and_accuracy(logits, labels)
        loss = training_loss(loss, logits, labels, class_weights=plan.class_weights)
        step = tf.train.get_or_create_global_step()
        rate = tf.train.cosine_decay(FIT_LEARNING_RATE, step, FIT_STEPS)
        fit = tf.train.AdamOptimizer(rate).minimize(loss, step, [kernel, bias])

        session.run(tf.global_variables_initializer())
        # Logits above 0 for every class, so that the final ReLU passes a gradient to all of them.
        kernel.load(np.zeros(kernel.shape, np.float32), session)
        bias.load(np.ones(bias.shape, np.float32), session)
        values, image_labels = compute_features(session, crops, computed, plan.dataset, seed)
        for number in range(FIT_STEPS):
            indices = batch_indices(len(values), FIT_BATCH_SIZE, seed, number)
            session.run(fit, {cached: values[indices], labels: image_labels[indices]})
        return session.run({kernel.op.name: kernel, bias.op.name: bias})


def compute_features(
    session: tf.Session, crops: tf.Tensor, features: tf.Tensor, dataset: Dataset, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a random crop of each image, and then of its mirror image, through the net, with a
    progress bar: from crops, a placeholder, float32 [N, 3 * resize_dim * resize_dim], to the values
    of features, float16 [M, height, width, channels], and the images' labels, int32 [M]."""
    split, dim, crop_dim = dataset.train, dataset.original_dim, dataset.resize_dim
    num_crops = min(MAX_CROPS, CROPS_PER_IMAGE * len(dataset.train.labels))
    num_runs = max(1, num_crops // CROPS_PER_RUN)
    values = np.empty([num_runs, CROPS_PER_RUN, *features.shape[1:]], np.float16)
    labels = np.empty([num_runs, CROPS_PER_RUN], np.int32)

    def run(number: int) -> None:
        places = np.arange(number * CROPS_PER_RUN, (number + 1) * CROPS_PER_RUN)
        indices = batch_indices(len(split.labels), CROPS_PER_RUN, seed, number)
        top, left, _ = random_offsets(CROPS_PER_RUN, dim - crop_dim + 1, False, seed, number)
        flip = (places // len(split.labels) % 2 == 1) & dataset.mirrored
        batch = crop_and_flip(split.records[indices], dim, crop_dim, top, left, flip)
        values[number] = session.run(features, {crops: batch.astype(np.float32)})
        labels[number] = split.labels[indices]

    with ThreadPoolExecutor(visible_cores()) as threads:  # one batch per core
        runs = threads.map(run, range(num_runs))
        list(tqdm(runs, "features", num_runs, file=sys.stdout, disable=None))
    return values.reshape(-1, *values.shape[2:]), labels.reshape(-1)
