"""The same net in Keras 3 on the TensorFlow backend, trained by model.fit.

Arguments: folder of the images; "jit" to compile with XLA, "graph" for none.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.contenders.turns import (
    BATCH_SIZE,
    PREFETCHED_BATCHES,
    SEED,
    Turns,
    check_parameters,
    images,
)
from training.batches import batch_at

STEPS_AT_ONCE = 10  # steps_per_execution: steps per call from Python


def fire_module(inputs: keras.KerasTensor, squeeze: int, expand: int) -> keras.KerasTensor:
    """The chapter's fire module."""
    squeezed = layers.Conv2D(squeeze, 1, activation="relu")(inputs)
    expand1x1 = layers.Conv2D(expand, 1, activation="relu")(squeezed)
    expand3x3 = layers.Conv2D(expand, 3, padding="same", activation="relu")(squeezed)
    return layers.Concatenate()([expand1x1, expand3x3])


def build_net(dim: int) -> keras.Model:
    """The chapter's net for ten classes."""
    inputs = keras.Input([dim, dim, 3])
    layer = layers.Conv2D(64, 3, padding="same", activation="relu")(inputs)
    layer = layers.MaxPooling2D()(layer)
    layer = fire_module(fire_module(layer, 32, 64), 32, 64)
    layer = layers.MaxPooling2D()(layer)
    layer = fire_module(fire_module(layer, 32, 128), 32, 128)
    layer = layers.Dropout(0.5)(layer)
    layer = layers.Conv2D(10, 1, activation="relu")(layer)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(layer))


def training_dataset(dataset, seed: int = SEED) -> tf.data.Dataset:
    """Standardized batches, prefetched."""
    dim = dataset.resize_dim

    def make(step):
        crops, labels = tf.numpy_function(
            lambda step: batch_at(dataset, BATCH_SIZE, seed, int(step)),
            [step],
            [tf.float32, tf.int32],
        )
        crops = tf.reshape(crops, [BATCH_SIZE, 3, dim, dim])
        inputs = tf.image.per_image_standardization(tf.transpose(crops, [0, 2, 3, 1]))
        return inputs, tf.ensure_shape(labels, [BATCH_SIZE])

    steps = tf.data.Dataset.range(np.iinfo(np.int64).max)
    return steps.map(make).prefetch(PREFETCHED_BATCHES)


def main() -> None:
    """Trains until it is stopped."""
    turns = Turns()
    dataset = images()
    net = build_net(dataset.resize_dim)
    check_parameters(net.count_params())
    net.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=sys.argv[2] == "jit",
        steps_per_execution=STEPS_AT_ONCE,
    )
    wait = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: turns.step_done(STEPS_AT_ONCE)
    )
    net.fit(training_dataset(dataset), steps_per_epoch=1_000_000, verbose=0, callbacks=[wait])


if __name__ == "__main__":
    main()
