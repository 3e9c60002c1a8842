"""The course's own loop as a learner would write it: images one by one, Adam, a plain Session.

Arguments: folder of the images, batch size.
"""

import sys

from benchmarks.contenders.turns import Turns, images
from squeezenet_model import SqueezeNetModel, tf


def main() -> None:
    """Trains until it is stopped."""
    batch_size = int(sys.argv[2])
    turns = Turns(batch_size)
    split = images().train
    model = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)
    with tf.Graph().as_default():
        dataset = tf.data.Dataset.from_tensor_slices((split.records, split.labels))
        dataset = dataset.shuffle(len(split.labels)).repeat()
        dataset = dataset.map(
            lambda record, label: (model.image_preprocessing(record, is_training=True), label)
        )
        iterator = tf.data.make_initializable_iterator(dataset.batch(batch_size))
        inputs, labels = iterator.get_next()
        model.run_model_setup(inputs, labels, is_training=True)
        with tf.Session() as session:
            session.run([tf.global_variables_initializer(), iterator.initializer])
            while True:
                session.run(model.train_op)
                turns.step_done()


if __name__ == "__main__":
    main()
