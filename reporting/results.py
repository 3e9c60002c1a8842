"""An evaluation in numbers, as results.json stores them."""

import numpy as np

from data import Split
from evaluation.evaluator import Evaluation

CALIBRATION_BINS = 15  # as in the paper cited by calibration_error


def summarize(
    evaluation: Evaluation,
    split: Split,
    class_names: tuple[str, ...],
    split_name: str,
    variables: list,
) -> dict:
    """The evaluation of a net, which has these variables, on a split, as stored in results.json.

    Fractions are 0..1, class_accuracies the recalls of the classes; None stands for an undefined
    number, since JSON has no NaN. The confusion matrix has a row per true class and a column per
    predicted class.
    """
    # Imported here because they take a second, and only the end of a run needs them.
    import tf_slim
    from scipy.stats import binomtest
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    def by_class(values: np.ndarray) -> dict:
        pairs = zip(class_names, values.tolist(), strict=True)
        return {name: None if np.isnan(value) else value for name, value in pairs}

    labels, predictions, classes = split.labels, evaluation.predictions, range(len(class_names))
    correct = int(np.sum(predictions == labels))
    interval = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    precisions, recalls, _, counts = precision_recall_fscore_support(
        labels, predictions, labels=classes, zero_division=np.nan
    )
    return {
        "split": split_name,
        "images": len(labels),
        "accuracy": evaluation.accuracy,
        "accuracy_interval_95": [interval.low, interval.high],
        "loss": evaluation.loss,
        "calibration_error": calibration_error(evaluation.probs, labels),
        "class_images": by_class(counts),
        "class_accuracies": by_class(recalls),
        "class_precisions": by_class(precisions),
        "confusion_matrix": confusion_matrix(labels, predictions, labels=classes).tolist(),
        "steps": evaluation.step,
        "parameters": tf_slim.model_analyzer.analyze_vars(variables)[0],
        "checkpoint": evaluation.checkpoint,
    }


def calibration_error(probs: np.ndarray, labels: np.ndarray) -> float:
    """How far the net's confidence is from its accuracy, 0..1: the expected calibration error.

    C. Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599): predictions are
    put into CALIBRATION_BINS bins by their probability; the error is the mean, over all
    predictions, of the distance between the mean probability of a bin and its accuracy.

    Args:
      probs: float32 [N, classes].
      labels: int [N].
    """
    confidence = probs.max(axis=1)
    surplus = confidence - (probs.argmax(axis=1) == labels)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return float(np.abs(np.bincount(bins, surplus)).sum() / len(labels))
