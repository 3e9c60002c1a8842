"""This project: the command train.py, SqueezeNet v1.1, and the machine's own rate."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from base.files import read_json
from base.runtime import fast_precision, load_tensorflow_quietly, session_config
from benchmarks.contenders.process import FLOP, Runner
from command.train import main as train_command
from data import Dataset, Split
from imagenet.nets import SqueezeNet11
from reporting.progress import RunProgress
from squeezenet_model import tf
from training.input_pipeline import Batch
from training.plan import Plan
from training.precision import with_precision
from training.recipe import DEFAULTS, make_schedule
from training.step import build_training_step

DIM, CLASSES = 224, 1000  # of v1.1
SIDE = 2048  # of the matrices


def train(runner: Runner) -> float:
    """The unmodified command `train.py --dataset cifar10`, held after each step; its accuracy."""
    job, steps, step_done = runner.job, runner.steps(), RunProgress.step_done

    def step_done_and_wait(progress, values):
        step_done(progress, values)
        next(steps, None)

    patched = mock.patch.object(RunProgress, "step_done", step_done_and_wait)
    with patched, tempfile.TemporaryDirectory() as run_dir:
        flags = ["--dataset", "cifar10", "--data_dir", job.data_dir, "--run_dir", run_dir]
        flags += ["--num_epochs", str(job.num_epochs), "--seed", str(job.seed), *job.options]
        if code := train_command(flags):
            sys.exit(code)
        return read_json(Path(run_dir, "results.json"))["accuracy"]


def train_v1_1(runner: Runner) -> None:
    """The steps of train.py on a batch in memory, but of all layers, without smoothed labels."""
    load_tensorflow_quietly()
    size, rng, paper = runner.job.batch_size, np.random.default_rng(0), DEFAULTS["paper"]
    split = Split(
        records=rng.integers(0, 256, [size, 3 * DIM * DIM]).astype(np.float32),
        labels=rng.integers(0, CLASSES, size, dtype=np.int32),
    )
    paper = paper._replace(recipe=replace(paper.recipe, frozen=0.0, label_smoothing=0.0))
    plan = Plan(
        model=SqueezeNet11(256, DIM, CLASSES),
        dataset=Dataset("random", split, split, ("",) * CLASSES, 256, DIM, mirrored=True),
        schedule=make_schedule(
            1_000_000, paper, {"batch_size": size, "precision": precision_of(runner)}
        ),
        run_dir=None,
    )
    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        crops = tf.get_variable("crops", initializer=split.records, trainable=False).read_value()
        step = tf.train.get_or_create_global_step().read_value()
        values = build_training_step(plan, Batch(step, crops, tf.constant(split.labels)))
        session.run(tf.global_variables_initializer())
        for _ in runner.steps():
            session.run([values.step, values.loss])  # not what TensorBoard shows


def classify_v1_1(runner: Runner) -> None:
    """The forward pass of single images on one thread, with the weights as constants.

    This is what `tools.export --formats frozen_graph` writes; other runtimes have it, too.
    """
    load_tensorflow_quietly()
    rng, config = np.random.default_rng(0), session_config()
    config.inter_op_parallelism_threads = 1
    with tf.Graph().as_default() as graph, tf.Session(config=config) as session:
        images = tf.placeholder(tf.float32, [1, DIM, DIM, 3])
        net = with_precision(SqueezeNet11(256, DIM, CLASSES), precision_of(runner))
        logits = net.model_layers(images, is_training=False)
        for variable in tf.trainable_variables():  # a bias of 0 would be optimized away
            variable.load(rng.normal(0, 0.05, variable.shape), session)
        constant = tf.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [logits.op.name]
        )
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        ends = tf.import_graph_def(constant, return_elements=[images.name, logits.name], name="")
        classify, image = session.make_callable(ends[1], ends[:1]), rng.random(images.shape)
        for _ in runner.steps():
            classify(image.astype(np.float32))


def precision_of(runner: Runner) -> str:
    """float32 if the job says so, otherwise what this processor is faster in."""
    return "float32" if "float32" in runner.job.options else fast_precision()


def multiply(runner: Runner) -> None:
    """The machine's own rate: products of square float32 matrices, with TensorFlow's own kernel.

    As many as there are operations in the training on an image count as an image.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        matrix = tf.get_variable("matrix", [SIDE, SIDE])
        product = tf.matmul(matrix, matrix)
        session.run(matrix.initializer)
        for _ in runner.steps(images=2 * SIDE**3 / FLOP):
            session.run(product.op)
