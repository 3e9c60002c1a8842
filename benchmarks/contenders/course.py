"""The course's own loop as a learner would write it: images one by one, Adam, a plain Session."""

from benchmarks.contenders.process import Runner
from squeezenet_model import SqueezeNetModel, tf


def train(runner: Runner) -> float:
    """Trains; the learning rate is constant, Adam's default. Returns the accuracy."""
    model, split = SqueezeNetModel(32, 24, output_size=10), runner.dataset.train

    def preprocess(record, label):
        return model.image_preprocessing(record, is_training=True), label

    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(runner.job.seed)
        images = tf.data.Dataset.from_tensor_slices((split.records, split.labels))
        images = images.shuffle(len(split.labels)).repeat().map(preprocess)
        batches = tf.data.make_initializable_iterator(images.batch(runner.job.batch_size))
        inputs, labels = batches.get_next()
        model.run_model_setup(inputs, labels, is_training=True)
        session.run([tf.global_variables_initializer(), batches.initializer])
        for _ in runner.steps():
            session.run(model.train_op)

        # The test.
        crops = tf.placeholder(tf.float32, [None, 3, 24, 24])
        inputs = model.standardize(tf.transpose(crops, [0, 2, 3, 1]))
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            logits = model.model_layers(inputs, is_training=False)
        return runner.accuracy(lambda values: session.run(logits, {crops: values}))
