"""This project's SqueezeNet v1.1 at 224 pixels, on images already in memory.

Arguments: a folder, which is ignored; "train" for batches of 32, Adam and all layers, or "classify"
for one image at a time on one thread.
"""

import dataclasses
import sys

import numpy as np

from benchmarks.contenders.turns import SEED, Turns
from imagenet.nets import SqueezeNet11
from squeezenet_model import tf
from training.input_pipeline import Batch
from training.recipe import FINE_TUNED, make_schedule
from training.runtime import session_config, use_one_thread_an_op
from training.step import build_training_step

BATCH_SIZE, DIM, CLASSES = 32, 224, 1000


def main() -> None:
    """Runs until it is stopped."""
    use_one_thread_an_op()
    train() if sys.argv[2] == "train" else classify()


def train() -> None:
    """Takes the steps of train.py, but trains all layers and does not smooth the labels."""
    turns = Turns(BATCH_SIZE)
    rng = np.random.default_rng(SEED)
    records = rng.integers(0, 256, [BATCH_SIZE, 3 * DIM * DIM]).astype(np.float32)
    recipe = dataclasses.replace(FINE_TUNED, frozen=0.0, label_smoothing=0.0)
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        global_step = tf.train.get_or_create_global_step().read_value()
        crops = tf.get_variable("crops", initializer=records, trainable=False)
        labels = tf.constant(rng.integers(0, CLASSES, BATCH_SIZE, dtype=np.int32))
        batch = Batch(global_step, crops.read_value(), labels)
        schedule = make_schedule(1_000_000, 1.0, recipe, BATCH_SIZE)
        step = build_training_step(SqueezeNet11(256, DIM, CLASSES), batch, schedule)
        session.run(tf.global_variables_initializer())
        while True:
            session.run([step.step, step.loss])  # not the summaries
            turns.step_done()


def classify() -> None:
    """Runs the forward pass of single images, with the weights as constants.

    This is what `tools.export --formats frozen_graph` writes; other runtimes have it, too.
    """
    turns = Turns(1)
    config = session_config()
    config.inter_op_parallelism_threads = 1
    rng = np.random.default_rng(SEED)
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        images = tf.placeholder(tf.float32, [1, DIM, DIM, 3])
        logits = SqueezeNet11(256, DIM, CLASSES).model_layers(images, is_training=False)
        for variable in tf.trainable_variables():  # a bias of 0 would be optimized away
            variable.load(rng.normal(0, 0.05, variable.shape), session)
        graph_def = tf.graph_util.convert_variables_to_constants(
            session, tf.get_default_graph().as_graph_def(), [logits.op.name]
        )
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        images, logits = tf.import_graph_def(
            graph_def, return_elements=[images.name, logits.name], name=""
        )
        run = session.make_callable(logits, [images])
        image = rng.standard_normal([1, DIM, DIM, 3], np.float32)
        while True:
            run(image)
            turns.step_done()


if __name__ == "__main__":
    main()
