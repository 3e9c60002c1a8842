"""The same net in Keras 3 on the TensorFlow backend, trained by model.fit."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.contenders.process import PARAMETERS, Runner

STEPS_AT_ONCE = 10  # steps_per_execution: steps per call from Python
WARM_UP = 0.05  # of the steps


def fire_module(inputs: keras.KerasTensor, squeeze: int, expand: int) -> keras.KerasTensor:
    """The chapter's fire module."""
    squeezed = layers.Conv2D(squeeze, 1, activation="relu")(inputs)
    expand1x1 = layers.Conv2D(expand, 1, activation="relu")(squeezed)
    expand3x3 = layers.Conv2D(expand, 3, padding="same", activation="relu")(squeezed)
    return layers.Concatenate()([expand1x1, expand3x3])


def chapter_net() -> keras.Model:
    """The chapter's net for ten classes."""
    inputs = keras.Input([24, 24, 3])
    layer = layers.Conv2D(64, 3, padding="same", activation="relu")(inputs)
    layer = layers.MaxPooling2D()(layer)
    layer = fire_module(fire_module(layer, 32, 64), 32, 64)
    layer = layers.MaxPooling2D()(layer)
    layer = fire_module(fire_module(layer, 32, 128), 32, 128)
    layer = layers.Dropout(0.5)(layer)
    layer = layers.Conv2D(10, 1, activation="relu")(layer)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(layer))


def standardized(crops: tf.Tensor | np.ndarray) -> tf.Tensor:
    """[batch, 3, height, width] -> [batch, height, width, 3]."""
    return tf.image.per_image_standardization(tf.transpose(crops, [0, 2, 3, 1]))


def train(runner: Runner) -> float:
    """Adam with Keras' own cosine schedule and a warm-up; returns the accuracy."""
    job, total_steps = runner.job, runner.total_steps
    keras.utils.set_random_seed(job.seed)
    if "bfloat16" in job.options:
        keras.config.set_dtype_policy("mixed_bfloat16")
    net, warm_up_steps = chapter_net(), round(WARM_UP * total_steps)
    assert net.count_params() == PARAMETERS
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=total_steps - warm_up_steps,
        warmup_target=job.learning_rate,
        warmup_steps=warm_up_steps,
    )

    def make_batch(step):
        crops, labels = tf.numpy_function(runner.batch, [step], [tf.float32, tf.int32])
        crops = tf.ensure_shape(crops, [job.batch_size, 3, 24, 24])
        return standardized(crops), tf.ensure_shape(labels, [job.batch_size])

    net.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile="compiled" in job.options,  # with XLA
        steps_per_execution=STEPS_AT_ONCE,
    )
    batches = tf.data.Dataset.range(2**60).map(make_batch).prefetch(4)
    steps = runner.steps(at_once=STEPS_AT_ONCE)
    wait = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: next(steps, None))
    net.fit(batches, steps_per_epoch=total_steps, verbose=0, callbacks=[wait])
    return runner.accuracy(lambda crops: net.predict_on_batch(standardized(crops)))
