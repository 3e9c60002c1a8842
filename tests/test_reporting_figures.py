"""The figures of a run: as wide as TensorBoard shows them, with the right content."""

import os
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageOps

from data import Split
from reporting import figures

CARD_WIDTH = 350  # pixels, in TensorBoard's Images tab
NAMES = ("automobile", "$5", "猫\n\x1b")


def comparison(*both, **others) -> dict:
    """A comparison of scopes that both nets have, and others with their kernel's shapes in each."""
    scopes = {scope: [[1], [1]] for scope in both} | others
    return {
        "a": "runs/a/model.ckpt-1",
        "b": "runs/b/model.ckpt-1",
        "variables": [
            {
                "variable": f"{scope}/kernel",
                "shape": shapes,
                "moved": 0.5 if shapes[0] == shapes[1] else None,
            }
            for scope, shapes in scopes.items()
        ],
        "dead_relus": [{"scope": scope, "dead": [0.25, None]} for scope in scopes],
    }


@pytest.fixture
def split():
    """Four images of 8 x 8, the last two of one class."""
    records = np.random.default_rng(0).integers(0, 256, [4, 3 * 8 * 8], np.uint8)
    return Split(records, np.array([0, 1, 2, 2], np.int32))


@pytest.fixture
def draw(split):
    """A function that draws a confusion matrix, wrong images and a comparison."""
    wrong = np.roll(np.eye(3, dtype=np.float32)[split.labels], 1, axis=1)
    return lambda: (
        figures.confusion_matrix(split.labels, wrong.argmax(axis=1), NAMES),
        figures.worst(split, wrong, NAMES, dim=8),
        figures.scopes_comparison(comparison("conv1")),
    )


def test_figures_in_tensorboard_fit_a_card_and_have_a_margin(draw):
    for image in draw()[:2]:
        left, top, right, bottom = ImageOps.invert(image).getbbox()  # of what is not white
        assert (image.width, min(left, top) >= 4) == (CARD_WIDTH, True)
        assert min(image.width - right, image.height - bottom) >= 4


def test_a_confusion_matrix_of_many_classes_has_a_bounded_size():
    numbers = np.arange(1_000)
    assert figures.confusion_matrix(numbers, numbers, (*map(str, numbers),)).size == (800, 800)


def test_the_worst_mistakes_are_none_if_everything_is_right(split):
    assert figures.worst(split, np.eye(3, dtype=np.float32)[split.labels], NAMES, dim=8) is None


def test_figures_leave_a_notebook_its_backend_and_do_without_pyplot(draw, monkeypatch):
    backend = "module://matplotlib_inline.backend_inline"
    monkeypatch.setenv("MPLBACKEND", backend)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails
    draw()
    assert os.environ["MPLBACKEND"] == backend


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"axes.facecolor": "red", "font.size": 40, "savefig.dpi": 17, "savefig.format": "pdf"},
        {"image.cmap": "jet", "image.origin": "lower", "figure.autolayout": True},
        {"savefig.bbox": "tight", "text.parse_math": True, "axes.formatter.use_locale": True},
    ],
)
def test_figures_neither_depend_on_the_callers_settings_nor_change_them(draw, settings):
    expected = draw()
    with matplotlib.rc_context(settings):
        before = dict(matplotlib.rcParams)
        assert draw() == expected
        assert dict(matplotlib.rcParams) == before


def test_a_comparison_shows_the_scopes_that_both_nets_have():
    shapes = {"fire1/squeeze": [[1], [2]]}
    image = figures.scopes_comparison(comparison("conv1", **shapes))
    assert image == figures.scopes_comparison(comparison("conv1", **shapes, fire9=[[1], None]))
    assert image.height > figures.scopes_comparison(comparison("conv1")).height


def test_a_comparison_shows_whether_there_are_dead_filters():
    none = comparison("conv1") | {"dead_relus": [{"scope": "conv1", "dead": [0.0, 0.0]}]}
    unknown = comparison("conv1") | {"dead_relus": []}  # which draws no bars either
    assert figures.scopes_comparison(none) != figures.scopes_comparison(unknown)


def test_a_comparison_without_common_scopes_is_none():
    assert figures.scopes_comparison(comparison(conv1=[[1], None])) is None


def test_writing_an_image_says_where_or_why_it_failed(tmp_path, capsys):
    paths = tmp_path / "new" / "image.png", tmp_path / "new" / "image.png" / "image.png"
    for path in paths:
        figures.write_image(Image.new("RGB", (2, 3)), path)
    out, err = capsys.readouterr()
    assert (out, err.startswith("not saved: ")) == (f"\nsaved to {paths[0]}\n", True)
    assert Image.open(paths[0]).size == (2, 3)
