"""The course's own loop as a learner would write it: images one by one, Adam, a plain Session.

Arguments: folder of the images, batch size.
"""

import sys

import data
from benchmarks.contenders.turns import Turns, images
from squeezenet_model import SqueezeNetModel, tf


def main() -> None:
    """Trains until it is stopped."""
    batch_size = int(sys.argv[2])
    turns = Turns(batch_size)
    model = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)
    with tf.Graph().as_default():
        initializer, train_op = training_step(model, images(), batch_size)
        with tf.Session() as session:
            session.run([tf.global_variables_initializer(), initializer])
            while True:
                session.run(train_op)
                turns.step_done()


def training_step(model: SqueezeNetModel, images: data.Dataset, batch_size: int) -> tuple:
    """Builds the graph: the operation that starts the pipeline, and the one that takes a step."""
    split = images.train
    dataset = tf.data.Dataset.from_tensor_slices((split.records, split.labels))
    dataset = dataset.shuffle(len(split.labels)).repeat()
    dataset = dataset.map(
        lambda record, label: (model.image_preprocessing(record, is_training=True), label)
    )
    iterator = tf.data.make_initializable_iterator(dataset.batch(batch_size))
    inputs, labels = iterator.get_next()
    model.run_model_setup(inputs, labels, is_training=True)
    return iterator.initializer, model.train_op


if __name__ == "__main__":
    main()
