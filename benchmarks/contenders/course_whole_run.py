"""A whole training by the course's own loop. Its learning rate is constant: Adam's default."""

from benchmarks.contenders.course import training_step
from benchmarks.contenders.turns import BATCH_SIZE
from benchmarks.contenders.whole_run import EVALUATION_BATCH, answer, read_arguments
from squeezenet_model import SqueezeNetModel, tf


def main() -> None:
    """Trains, then prints the accuracy."""
    run = read_arguments()
    split = run.dataset.evaluation_set
    model = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)
    with tf.Graph().as_default():
        tf.set_random_seed(run.seed)
        initializer, train_op = training_step(model, run.dataset, BATCH_SIZE)
        records = tf.data.Dataset.from_tensor_slices((split.records, split.labels))
        records = records.map(
            lambda record, label: (model.image_preprocessing(record, is_training=False), label)
        )
        evaluation = tf.data.make_one_shot_iterator(records.batch(EVALUATION_BATCH))
        inputs, labels = evaluation.get_next()
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            model.run_model_setup(inputs, labels, is_training=False)
        correct = tf.equal(model.predictions, tf.cast(labels, tf.int64))
        with tf.Session() as session:
            session.run([tf.global_variables_initializer(), initializer])
            for _ in range(run.total_steps):
                session.run(train_op)
            num_batches = -(-len(split.labels) // EVALUATION_BATCH)
            answer(sum(session.run(correct).sum() for _ in range(num_batches)), run.dataset)


if __name__ == "__main__":
    main()
