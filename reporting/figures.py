"""Figures of a run: crops, filters, confusion matrix, worst mistakes, a comparison of two runs."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from data import Split, printable
from training.run_dir import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED_CLASSES = 40  # of the confusion matrix
WORST = 12  # misclassified images that are shown
# TensorBoard's Images tab scales every image to a width of 350 pixels, without smoothing, so
# figures are drawn at that width if it is enough.
CARD_INCHES, DPI = 3.5, 100


def png(image: Image.Image) -> bytes:
    """An image as the content of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_image(image: Image.Image, path: Path) -> None:
    """Writes a PNG file and prints its path, or why it could not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, png(image))
        print(f"\nsaved to {path}")
    except OSError as error:  # somebody else's run, for instance; the report itself is printed
        print(f"{path}: not saved ({error.strerror})", file=sys.stderr)


def records_to_images(records: np.ndarray, dim: int) -> np.ndarray:
    """[images, 3 * dim * dim], channel-major, 0..255 -> uint8 [images, dim, dim, 3]."""
    return records.reshape(-1, 3, dim, dim).transpose(0, 2, 3, 1).astype(np.uint8)


def grid(images: np.ndarray, scale: int) -> Image.Image:
    """Arranges images in a square grid with gaps.

    Args:
      images: uint8 [images, height, width, 3].
      scale: factor by which each pixel is enlarged, along both sides.
    """
    columns = int(np.ceil(np.sqrt(len(images))))
    missing = -len(images) % columns
    padded = np.pad(images, [(0, missing), (0, 1), (0, 1), (0, 0)], constant_values=255)
    rows = padded.reshape(-1, columns, *padded.shape[1:])
    joined = rows.transpose(0, 2, 1, 3, 4).reshape(len(rows) * padded.shape[1], -1, 3)
    return Image.fromarray(joined.repeat(scale, axis=0).repeat(scale, axis=1))


def filters(kernel: np.ndarray) -> Image.Image:
    """The filters of a first convolution as a grid of small images.

    Args:
      kernel: float32 [height, width, 3, filters]. Each filter is scaled to 0..255 separately; gray
        stands for zero.
    """
    longest = np.abs(kernel).max(axis=(0, 1, 2), keepdims=True)
    shades = 127.5 + 127.5 * kernel / np.maximum(longest, 1e-12)
    return grid(shades.transpose(3, 0, 1, 2).round().astype(np.uint8), scale=10)


@contextlib.contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """In this context matplotlib uses its defaults, whatever the caller's settings are.

    A wrong MPLBACKEND, a damaged matplotlibrc, or one that asks for LaTeX must not end a run, and
    settings made here must not affect a notebook's other figures.
    """
    matplotlib = load_matplotlib()
    defaults = dict(matplotlib.rcParamsDefault)
    del defaults["backend"]  # for windows; saving a Figure needs none
    defaults["text.parse_math"] = False  # a class may be called $5, which is not a formula
    with matplotlib.rc_context(defaults), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # class names in any script
        yield


def load_matplotlib() -> ModuleType:
    """Imports matplotlib, without the user's settings if they make the import fail."""
    try:
        import matplotlib  # takes a second; needed once per run
    except Exception:  # of many kinds: ValueError, UnicodeDecodeError, ...
        for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
            del sys.modules[name]  # leftovers, which would not match the second import
        folder = Path(importlib.util.find_spec("matplotlib").origin).parent
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            with contextlib.chdir(folder / "mpl-data"):  # its matplotlibrc takes precedence
                import matplotlib
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend
    return matplotlib


@matplotlib_defaults()
def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, class_names: tuple[str, ...], dpi: int = DPI
) -> Image.Image:
    """Draws how many images of each class were classified as each class."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predictions, labels=range(len(class_names)))
    is_named = len(class_names) <= MOST_NAMED_CLASSES  # more labels would take gigabytes
    size = max(CARD_INCHES, 0.5 + 0.3 * len(class_names)) if is_named else 8.0
    figure = new_figure(size, size)
    ax = figure.subplots()
    ax.imshow(counts, cmap="Blues")
    ax.set_xlabel("predicted class", fontsize=8)
    ax.set_ylabel("true class", fontsize=8)
    ax.tick_params(labelsize=7)
    if is_named:
        ticks, names = range(len(class_names)), list(map(printable, class_names))
        ax.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(ticks, names)
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if count > counts.max() / 2 else "black"
            ax.text(column, row, count, color=color, ha="center", va="center", fontsize=7)
    return drawn(figure, dpi)


@matplotlib_defaults()
def worst(
    split: Split, probs: np.ndarray, class_names: tuple[str, ...], dim: int
) -> Image.Image | None:
    """The misclassified images whose true class got the lowest probability; None without any.

    Args:
      split: the images.
      probs: float32 [images, classes].
      class_names: one per class.
      dim: side of a stored image in pixels.
    """
    class_names = tuple(map(printable, class_names))
    own = probs[np.arange(len(probs)), split.labels]
    wrong = np.flatnonzero(probs.argmax(axis=1) != split.labels)
    shown = wrong[np.argsort(own[wrong], kind="stable")][:WORST]
    if not len(shown):
        return None
    columns = 3  # each wide enough for its caption
    rows = -(-len(shown) // columns)
    figure = new_figure(CARD_INCHES, 0.4 + 1.45 * rows)
    figure.suptitle("true class and its probability,\nthen the predicted class", fontsize=8)
    axes = np.ravel(figure.subplots(rows, columns))
    for ax in axes:
        ax.axis("off")
    images = records_to_images(split.records[shown], dim)
    for ax, index, pixels in zip(axes, shown, images, strict=False):
        predicted = probs[index].argmax()
        ax.imshow(pixels)
        ax.set_title(
            f"{class_names[split.labels[index]]} {own[index]:.0%}\n"
            f"{class_names[predicted]} {probs[index, predicted]:.0%}",
            fontsize=8,
        )
    return drawn(figure, DPI)


@matplotlib_defaults()
def scopes_comparison(comparison: dict) -> Image.Image | None:
    """Draws the distance between two runs' kernels, and their dead filters, per scope.

    Args:
      comparison: what `tools.scopes.compare` returns.

    Returns:
      Bars for each convolution that both nets have; None if they have none in common.
    """
    rows = {
        row["variable"].removesuffix("/kernel"): row
        for row in comparison["variables"]
        if row["variable"].endswith("/kernel") and None not in row["shape"]
    }
    if not rows:
        return None
    dead = {row["scope"]: row["dead"] for row in comparison["dead_relus"]}
    has_dead = any(None not in dead.get(scope, [None]) for scope in rows)
    figure = new_figure(8 if has_dead else 5, 1.6 + 0.28 * len(rows))
    heading = f"A  {printable(comparison['a'])}\nB  {printable(comparison['b'])}"
    figure.suptitle(heading, fontsize=9, ha="left", x=0.02)
    distances, *others = np.ravel(figure.subplots(1, 2 if has_dead else 1, sharey=True))
    places = np.arange(len(rows))
    for place, row in zip(places, rows.values(), strict=True):
        if row["moved"] is None:
            distances.text(0, place, " not comparable: shapes differ", va="center", fontsize=8)
    moved = [100 * (row["moved"] or 0) for row in rows.values()]
    draw_bars(distances, places, moved, 0.7, "tab:gray")
    distances.set_yticks(places, rows)
    distances.invert_yaxis()  # the net's first scope at the top
    distances.set_title("distance between the kernels, in % of A's norm", fontsize=9)
    for ax in others:
        for run, (name, color) in enumerate((("A", "tab:blue"), ("B", "tab:orange"))):
            shares = [100 * (dead.get(scope, [None] * 2)[run] or 0) for scope in rows]
            draw_bars(ax, places + 0.4 * run - 0.2, shares, 0.38, color, name)
        ax.set_title("dead filters, in %", fontsize=9)
        figure.legend(loc="outside upper right")
    return drawn(figure, DPI)


def draw_bars(
    axes: Axes,
    places: np.ndarray,
    percentages: list[float],
    height: float,
    color: str,
    label: str | None = None,
) -> None:
    """Draws horizontal bars with their numbers to the right."""
    bars = axes.barh(places, percentages, height, color=color, label=label)
    texts = [f"{number:.1f}" if number else "" for number in percentages]
    axes.bar_label(bars, texts, padding=2, fontsize=7)
    axes.set_xlim(0, 1.15 * max(*percentages, axes.get_xlim()[1] / 1.15, 1.0))
    axes.spines[["top", "right"]].set_visible(False)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, with a margin; not registered with pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def drawn(figure: Figure, dpi: int) -> Image.Image:
    """A matplotlib figure as an image."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return Image.open(file).convert("RGB")
