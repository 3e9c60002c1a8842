"""The chapter's net, trained as simply as TF1 allows: python -m examples.plain_loop

Placeholders, a feed_dict, one session, and the class as it is. train.py adds what a longer training
needs: checkpoints to resume from, a better recipe, more speed, and TensorBoard."""

import warnings
from collections.abc import Iterable

import numpy as np

import data
from squeezenet_model import SqueezeNetModel, tf

warnings.filterwarnings("ignore", "`tf.layers")  # deprecated, but what the chapter uses


def train(
    dataset: data.Dataset, steps: Iterable[int], batch_size: int = 32, seed: int = 0
) -> float:
    """Trains on a random batch per step; returns the accuracy on the test images, 0..1."""
    images, test, rng = dataset.train, dataset.test, np.random.default_rng(seed)
    model = SqueezeNetModel(dataset.original_dim, dataset.resize_dim, len(dataset.class_names))
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        records = tf.placeholder(tf.float32, [None, 3 * dataset.original_dim**2])
        labels = tf.placeholder(tf.int32, [None])
        crops = tf.map_fn(lambda record: model.image_preprocessing(record, True), records)
        model.run_model_setup(crops, labels, is_training=True)

        # The same variables once more, without random crops and dropout.
        centers = tf.map_fn(lambda record: model.image_preprocessing(record, False), records)
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            predictions = tf.argmax(model.model_layers(centers, is_training=False), axis=-1)

        session.run(tf.global_variables_initializer())
        for step in steps:
            chosen = rng.integers(len(images.labels), size=batch_size)
            feed_dict = {records: images.records[chosen], labels: images.labels[chosen]}
            loss, _ = session.run([model.loss, model.train_op], feed_dict)
            if step % 100 == 0:
                print(f"step {step}: loss {loss:.3f}")

        parts = np.array_split(test.records, 1 + len(test.labels) // 250)
        found = [session.run(predictions, {records: part}) for part in parts]
        return float(np.mean(np.concatenate(found) == test.labels))


if __name__ == "__main__":
    print(f"test accuracy {train(data.load('digits'), range(801)):.2%}")
