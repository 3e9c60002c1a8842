"""The figures of a run: as wide as TensorBoard shows them, with the right content."""

import os
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from data import Split
from reporting import figures

CARD_WIDTH = 350  # pixels, in TensorBoard's Images tab
NAMES = ("automobile", "$5", "猫\n\x1b")


@pytest.fixture
def split():
    """Four images of 8 x 8, the last two of one class."""
    records = np.random.default_rng(0).integers(0, 256, [4, 3 * 8 * 8], np.uint8)
    return Split(records, np.array([0, 1, 2, 2], np.int32))


def border(image: Image.Image, pixels: int) -> np.ndarray:
    """The values of an image's outermost pixels."""
    values = np.asarray(image)
    inside = np.zeros(values.shape[:2], bool)
    inside[pixels:-pixels, pixels:-pixels] = True
    return values[~inside]


class TestTheConfusionMatrix:
    def test_of_few_classes_fits_a_card(self):
        image = figures.confusion_matrix(np.arange(3), np.arange(3), NAMES)
        assert image.width == CARD_WIDTH

    def test_has_a_margin(self):
        image = figures.confusion_matrix(np.arange(3), np.arange(3), NAMES)
        assert (border(image, 4) == 255).all()

    def test_of_many_classes_has_a_bounded_size(self):
        names = tuple(map(str, range(1_000)))
        image = figures.confusion_matrix(np.arange(1_000), np.arange(1_000), names)
        assert image.size == (800, 800)


class TestTheWorstMistakes:
    def test_fit_a_card(self, split):
        wrong = np.roll(np.eye(3, dtype=np.float32)[split.labels], 1, axis=1)
        assert figures.worst(split, wrong, NAMES, dim=8).width == CARD_WIDTH

    def test_are_none_if_everything_is_right(self, split):
        right = np.eye(3, dtype=np.float32)[split.labels]
        assert figures.worst(split, right, NAMES, dim=8) is None


class TestDrawings:
    """Figures neither depend on the caller's matplotlib settings nor change them."""

    @pytest.fixture
    def drawings(self, split):
        """A function that draws a confusion matrix, wrong images and a comparison, as PNG files."""
        wrong = np.roll(np.eye(3, dtype=np.float32)[split.labels], 1, axis=1)
        comparison = TestAComparisonOfScopes.comparison(conv1=[[1], [1]])

        def draw():
            images = (
                figures.confusion_matrix(split.labels, wrong.argmax(axis=1), NAMES),
                figures.worst(split, wrong, NAMES, dim=8),
                figures.scopes_comparison(comparison),
            )
            return list(map(figures.png, images))

        return draw

    def test_do_without_pyplot(self, drawings, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails
        assert len(drawings()) == 3

    def test_leave_a_notebook_its_backend(self, drawings, monkeypatch):
        monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        drawings()
        assert os.environ["MPLBACKEND"] == "module://matplotlib_inline.backend_inline"

    @pytest.mark.parametrize(
        "settings",
        [
            {"text.usetex": True},
            {"axes.facecolor": "red", "font.size": 40, "savefig.dpi": 17, "savefig.format": "pdf"},
            {"image.cmap": "jet", "image.origin": "lower", "figure.autolayout": True},
            {"savefig.bbox": "tight", "text.parse_math": True, "axes.formatter.use_locale": True},
        ],
    )
    def test_are_the_same_whatever_the_callers_settings(self, drawings, settings):
        expected = drawings()
        with matplotlib.rc_context(settings):
            before = dict(matplotlib.rcParams)
            assert drawings() == expected
            assert dict(matplotlib.rcParams) == before


class TestAComparisonOfScopes:
    @staticmethod
    def comparison(**scopes):
        """A comparison of the given scopes, each with its kernel's shapes in A and B."""
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

    def test_shows_the_scopes_that_both_nets_have(self):
        shared = {"conv1": [[1], [1]], "fire1/squeeze": [[1], [2]]}
        image = figures.scopes_comparison(self.comparison(**shared))
        more = figures.scopes_comparison(self.comparison(**shared, fire9=[[1], None]))
        assert image.size == more.size
        assert image.tobytes() == more.tobytes()

    def test_grows_with_them(self):
        heights = [
            figures.scopes_comparison(self.comparison(**scopes)).height
            for scopes in ({"conv1": [[1], [1]]}, {"conv1": [[1], [1]], "conv2": [[1], [1]]})
        ]
        assert heights[0] < heights[1]

    def test_shows_whether_there_are_dead_filters(self):
        known, unknown = self.comparison(conv1=[[1], [1]]), self.comparison(conv1=[[1], [1]])
        known["dead_relus"] = [{"scope": "conv1", "dead": [0.0, 0.0]}]
        unknown["dead_relus"] = []  # which draws no bars either
        images = [figures.scopes_comparison(rows).tobytes() for rows in (known, unknown)]
        assert images[0] != images[1]

    def test_is_none_without_common_scopes(self):
        assert figures.scopes_comparison(self.comparison(conv1=[[1], None])) is None


class TestWriting:
    def test_says_where(self, tmp_path, capsys):
        path = tmp_path / "new" / "image.png"
        figures.write_image(Image.new("RGB", (2, 3)), path)
        assert capsys.readouterr().out == f"\nsaved to {path}\n"
        assert Image.open(path).size == (2, 3)

    def test_says_why_it_failed(self, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        figures.write_image(Image.new("RGB", (2, 3)), tmp_path / "file" / "image.png")
        assert capsys.readouterr().err.startswith("not saved: ")
