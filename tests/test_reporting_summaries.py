"""Drawings do not depend on the caller's matplotlib, and do not change it."""

import sys

import matplotlib
import numpy as np
import pytest

from data import Split
from reporting import summaries

LABELS = np.array([0, 0, 1, 2], np.int32)
NAMES = ("a", "$b", "猫\n\x1b")


def drawings() -> list[bytes]:
    """A confusion matrix and wrong images, as PNG files."""
    predictions = np.array([0, 1, 1, 0])
    probs = np.eye(3, dtype=np.float32)[predictions]
    split = Split(np.zeros([4, 3 * 8 * 8], np.uint8), LABELS)
    matrix = summaries.confusion_matrix(LABELS, predictions, NAMES)
    return [summaries.png(image) for image in (matrix, summaries.worst(split, probs, NAMES, dim=8))]


def test_they_do_without_pyplot(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails
    assert len(drawings()) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"axes.facecolor": "red", "font.size": 40, "savefig.dpi": 17, "savefig.format": "pdf"},
        {"image.cmap": "jet", "image.origin": "lower", "figure.autolayout": True},
        {"savefig.bbox": "tight", "text.parse_math": True, "axes.formatter.use_locale": True},
    ],
)
def test_they_are_the_same_whatever_the_callers_settings(settings):
    expected = drawings()
    with matplotlib.rc_context(settings):
        before = dict(matplotlib.rcParams)
        assert drawings() == expected
        assert dict(matplotlib.rcParams) == before


def test_a_matrix_of_more_classes_than_can_be_named_is_drawn_too():
    names = tuple(map(str, range(300)))
    assert summaries.confusion_matrix(LABELS, LABELS, names).size == (800, 800)
