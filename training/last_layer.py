"""Fits a new last layer on features that a pretrained net computes once.

The first part of training on your own photos, as in TF1's image retraining tutorial
(tensorflow/hub, examples/image_retraining), which called the features "bottlenecks". They are kept
in memory while they are needed, never in a file, so they cannot outlive the weights or the photos.
"""

from __future__ import annotations

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow.compat.v1 as tf
from tqdm import tqdm

from data import Dataset
from squeezenet_model import SqueezeNetModel
from training.batches import batch_at, batch_indices
from training.input_pipeline import standardized
from training.recipe import visible_cores
from training.runtime import session_config

CROPS_PER_IMAGE = 4
# 354 MB for the paper's nets, where each has 13 x 13 x 512 features of two bytes. Of more images
# than this, a random part is enough to start from.
MOST_CROPS = 2_048
CROPS_PER_RUN = 32  # through the net at once, on each core

FIT_STEPS = 100
FIT_BATCH_SIZE = 64
FIT_LEARNING_RATE = 1e-3  # Adam's default, annealed


def fit_last_layer(
    model: SqueezeNetModel, checkpoint: str, dataset: Dataset, seed: int
) -> dict[str, np.ndarray]:
    """Trains the last layer of a net whose other layers are those of a checkpoint.

    The result is a function of the arguments, bit for bit.

    Args:
      model: the net to train.
      checkpoint: has the variables of all other layers; path without extension.
      dataset: its train split, crops and flips.
      seed: 0 or more; fixes the crops and their order.

    Returns:
      The last layer's variables by name: `final_conv/kernel`, float32 [1, 1, channels, classes],
      and `final_conv/bias`, float32 [classes].

    Raises:
      DataError: an image is damaged.
    """
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        crops = tf.placeholder(tf.float32, [None, 3 * model.resize_dim**2], name="crops")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        net = cut_before_last_layer(model)
        logits = net.model_layers(standardized(crops, model), is_training=False)
        *others, kernel, bias = tf.trainable_variables()
        tf.train.init_from_checkpoint(checkpoint, {v.op.name: v for v in others})
        loss, _ = model.loss_and_accuracy(logits, labels)
        step = tf.train.get_or_create_global_step()
        rate = tf.train.cosine_decay(FIT_LEARNING_RATE, step, FIT_STEPS)
        fit = tf.train.AdamOptimizer(rate).minimize(loss, step, [kernel, bias])

        session.run(tf.global_variables_initializer())
        # Above 0 for every class, so that the ReLU at the net's end keeps none silent.
        kernel.load(np.zeros(kernel.shape, np.float32), session)
        bias.load(np.ones(bias.shape, np.float32), session)
        values, image_labels = compute_features(session, crops, net.computed, dataset, seed)
        for number in range(FIT_STEPS):
            indices = batch_indices(len(values), FIT_BATCH_SIZE, seed, number)
            batch = {net.cached: values[indices], labels: image_labels[indices]}
            session.run(fit, batch)
        return session.run({kernel.op.name: kernel, bias.op.name: bias})


def cut_before_last_layer(model: SqueezeNetModel) -> SqueezeNetModel:
    """A copy of the model, of a subclass whose last layer takes features that are fed to it.

    Building the net sets on it `computed`, the features of the images that go in, and `cached`,
    the placeholder for those that the last layer takes in their place. Both are float32
    [batch, height, width, channels], and what comes before the net's dropout. (Feeding the features
    themselves would do, but TensorFlow's constant folding makes the gradients ask for images too.)
    """

    class CutNet(type(model)):
        def custom_dropout(self, inputs, is_training):
            self.computed = inputs
            self.cached = tf.placeholder(tf.float32, inputs.shape, name="cached")
            return self.cached

    net = copy.copy(model)
    net.__class__ = CutNet
    return net


def compute_features(
    session: tf.Session, crops: tf.Tensor, features: tf.Tensor, dataset: Dataset, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Runs the crops of the first steps of training through the net, with a progress bar.

    Args:
      session: has the net's weights.
      crops: float32 [N, 3 * resize_dim * resize_dim], the net's input.
      features: float32 [N, height, width, channels], what to compute of it.
      dataset, seed: which crops these are.

    Returns:
      The features, float16 [M, height, width, channels], and the images' labels, int32 [M].
    """
    size = len(dataset.train.labels)
    num_runs = max(1, min(MOST_CROPS, CROPS_PER_IMAGE * size) // CROPS_PER_RUN)
    values = np.empty([num_runs, CROPS_PER_RUN, *features.shape[1:]], np.float16)
    labels = np.empty([num_runs, CROPS_PER_RUN], np.int32)

    def run(number: int) -> None:
        batch, labels[number] = batch_at(dataset, CROPS_PER_RUN, seed, number)
        values[number] = session.run(features, {crops: batch})

    with ThreadPoolExecutor(visible_cores()) as threads:  # a batch a core
        runs = threads.map(run, range(num_runs))
        for _ in tqdm(runs, "features", num_runs, file=sys.stdout, disable=None):
            pass
    return values.reshape(-1, *values.shape[2:]), labels.reshape(-1)
