"""Nets with random weights, for tests that need no training."""

from types import MappingProxyType

import numpy as np

from saved.run import Run
from squeezenet_model import SqueezeNetModel, tf


class SmallNet(SqueezeNetModel):
    """Two small fire modules, so its graph is built fast."""

    FIRE_PARAMS_1 = ((4, 8, "fire1"),)
    FIRE_PARAMS_2 = ((4, 8, "fire2"),)


def save_net(
    folder, model: SqueezeNetModel, weights=MappingProxyType({}), class_names=("a", "b", "c")
) -> Run:
    """Saves a net at step 7.

    Args:
      weights: arrays by variable name; the others are random, but the same every time.
    """
    rng = np.random.default_rng(0)
    with tf.Graph().as_default(), tf.Session() as session:
        model.model_layers(tf.zeros([1, *[model.resize_dim] * 2, 3]), is_training=False)
        tf.train.get_or_create_global_step().load(7, session)
        for variable in tf.trainable_variables():
            scale = (2 / np.prod(variable.shape[:-1])) ** 0.5 if variable.shape.rank == 4 else 0.1
            noise = rng.normal(scale=scale, size=variable.shape)
            variable.load(weights.get(variable.op.name, noise), session)
        checkpoint = tf.train.Saver().save(session, str(folder / "model.ckpt"), 7)
    return Run({"class_names": [*class_names]}, model, checkpoint, folder, folder)
