"""Evaluation: every image once, the last partial batch included."""

import numpy as np
import pytest

from data import Split
from squeezenet_model import SqueezeNetModel, tf
from training import evaluation as evaluation_module
from training.evaluation import Evaluator


@pytest.fixture
def model():
    return SqueezeNetModel(original_dim=8, resize_dim=6, output_size=3)


@pytest.fixture
def checkpoint(model, tmp_path):
    """An untrained net at step 7."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        with tf.variable_scope("", initializer=tf.glorot_uniform_initializer()):
            model.model_layers(tf.zeros([1, 6, 6, 3]), is_training=False)
        step = tf.train.get_or_create_global_step()
        session.run([tf.global_variables_initializer()])
        session.run(step.assign(7))
        return tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), step)


def evaluate(model, dataset, checkpoint):
    with Evaluator(model, dataset.test, dataset.class_names) as evaluator:
        evaluation = evaluator.evaluate(checkpoint)
        return evaluation, evaluator.summarize(evaluation, "test")


def test_gives_the_same_in_batches_of_any_size(model, tiny_dataset, checkpoint, monkeypatch):
    whole, _ = evaluate(model, tiny_dataset, checkpoint)
    for batch_size in (1, 2, 4, 5):
        monkeypatch.setattr(evaluation_module, "BATCH_SIZE", batch_size)
        parts, _ = evaluate(model, tiny_dataset, checkpoint)
        np.testing.assert_allclose(parts.probs, whole.probs, rtol=1e-5)
        assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
        assert parts.accuracy == whole.accuracy


def test_measures_accuracy_and_loss(model, tiny_dataset, checkpoint):
    evaluation, summary = evaluate(model, tiny_dataset, checkpoint)
    labels = tiny_dataset.test.labels
    assert evaluation.step == summary["steps"] == 7
    assert evaluation.probs.shape == (5, 3)
    np.testing.assert_array_equal(evaluation.predictions, evaluation.probs.argmax(axis=1))
    assert summary["accuracy"] == np.mean(evaluation.predictions == labels)
    assert summary["loss"] == pytest.approx(
        -np.log(evaluation.probs[range(5), labels]).mean(), rel=1e-5
    )
    for label, name in enumerate("abc"):
        of_class = labels == label
        right = np.mean(evaluation.predictions[of_class] == label)
        assert summary["class_accuracies"][name] == right
    low, high = summary["accuracy_interval_95"]
    assert 0 <= low < summary["accuracy"] < high <= 1
    assert summary["parameters"] == sum(
        np.prod(shape) for name, shape in tf.train.list_variables(checkpoint) if "/" in name
    )


def test_counts_the_zeros_of_each_relu(model, tiny_dataset, checkpoint):
    with Evaluator(model, tiny_dataset.test, tiny_dataset.class_names) as evaluator:
        evaluator.restore(checkpoint)
        shares, activations = evaluator.zero_shares(), evaluator.activations()
    assert len(shares) == len(activations) == 14
    assert 0 < shares["conv1"] < 1
    for scope, values in activations.items():
        assert shares[scope] == pytest.approx(np.mean(values == 0))


@pytest.mark.parametrize(
    ("measure", "most"),
    [("zero_shares", "FEW_IMAGES"), ("activations", "BATCH_SIZE"), ("gradients", "BATCH_SIZE")],
)
def test_measures_on_images_from_all_over_the_split(
    model, tiny_dataset, checkpoint, monkeypatch, measure, most
):
    """Its first images may all be of one class."""

    def measured(split):
        with Evaluator(model, split, tiny_dataset.class_names) as evaluator:
            evaluator.restore(checkpoint)
            return getattr(evaluator, measure)()

    test = tiny_dataset.test
    spread = measured(Split(test.records[::3], test.labels[::3]))
    monkeypatch.setattr(evaluation_module, most, 2)
    for name, values in measured(test).items():
        np.testing.assert_array_equal(values, spread[name])


def test_leaves_the_callers_model_alone(model, tiny_dataset, checkpoint):
    evaluate(model, tiny_dataset, checkpoint)
    assert not hasattr(model, "probs")
