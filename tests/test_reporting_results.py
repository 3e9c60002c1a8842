"""results.json: what an evaluation comes to, in numbers."""

import numpy as np
import pytest

from data import Split
from evaluation.evaluator import Evaluation
from reporting.results import calibration_error, summarize
from squeezenet_model import tf


def test_an_evaluation_comes_to_these_numbers():
    """Five images of classes a and b, none of class c; three are classified correctly."""
    split = Split(np.zeros([5, 3], np.uint8), np.array([0, 0, 0, 1, 1], np.int32))
    predictions = np.array([0, 0, 1, 1, 0])
    probs = np.eye(3, dtype=np.float32)[predictions]
    evaluation = Evaluation("run/model.ckpt-7", 7, probs, predictions, accuracy=0.6, loss=1.5)
    with tf.Graph().as_default():
        variables = [tf.get_variable("kernel", [3, 5]), tf.get_variable("bias", [5])]
    summary = summarize(evaluation, split, ("a", "b", "c"), "test", variables)
    expected = {
        **{"split": "test", "images": 5, "accuracy": 0.6, "loss": 1.5, "steps": 7},
        **{"checkpoint": "run/model.ckpt-7", "parameters": 20},
        "class_images": {"a": 3, "b": 2, "c": 0},
        "class_accuracies": {"a": 2 / 3, "b": 0.5, "c": None},
        "class_precisions": {"a": 2 / 3, "b": 0.5, "c": None},
        "confusion_matrix": [[2, 1, 0], [1, 1, 0], [0, 0, 0]],
        "accuracy_interval_95": pytest.approx([0.2307, 0.8824], abs=1e-4),  # Wilson's
        "calibration_error": pytest.approx(0.4),  # always certain, 60% correct
    }
    assert {name: summary[name] for name in expected} == expected


def test_the_calibration_error_is_the_distance_of_the_probabilities_from_the_accuracy():
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])  # 50% correct at 0.9, 100% at 0.6
    assert calibration_error(probs, labels) == pytest.approx((0.4 + 0.4) / 2)
