"""A whole training of the net in Keras 3 by model.fit: Adam with Keras' own cosine schedule."""

from benchmarks.contenders.keras3 import (  # first: it chooses Keras' backend
    STEPS_AT_ONCE,
    build_net,
    training_dataset,
)

# isort: split
import keras
import tensorflow as tf

from benchmarks.contenders.whole_run import answer, evaluation_batches, read_arguments

WARM_UP = 0.05  # of the steps


def main() -> None:
    """Trains, then prints the accuracy."""
    run = read_arguments()
    keras.utils.set_random_seed(run.seed)
    net = build_net(run.dataset.resize_dim)
    warm_up_steps = round(WARM_UP * run.total_steps)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=run.total_steps - warm_up_steps,
        warmup_target=run.learning_rate,
        warmup_steps=warm_up_steps,
    )
    net.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=STEPS_AT_ONCE,
    )
    batches = training_dataset(run.dataset, run.seed)
    net.fit(batches, steps_per_epoch=run.total_steps, verbose=0)
    correct = 0
    for crops, labels in evaluation_batches(run.dataset):
        inputs = tf.image.per_image_standardization(crops.transpose(0, 2, 3, 1))
        correct += (net.predict_on_batch(inputs).argmax(1) == labels).sum()
    answer(correct, run.dataset)


if __name__ == "__main__":
    main()
