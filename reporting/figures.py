"""Figures of a run: crops, filters, confusion matrix, worst mistakes, a comparison of two runs."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from base import UserError, printable
from base.files import write_file
from data import Split
from training.batches import records_to_images

MAX_LABELED_CLASSES = 40  # of the confusion matrix; more labels would take gigabytes
MAX_WORST = 12  # misclassified images that are shown
# TensorBoard's Images tab scales every image to a width of 350 pixels, without smoothing, so
# figures are drawn at that width if it is enough.
CARD_INCHES, DPI = 3.5, 100
SETTINGS = {
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,  # inches
    "figure.constrained_layout.h_pad": 0.1,
    "text.parse_math": False,  # a class may be called $5, which is not a formula
}


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
    except (OSError, UserError) as error:  # somebody else's run, for instance
        print(f"not saved: {printable(error)}", file=sys.stderr)
    else:
        print(f"\nsaved to {printable(path)}")


def grid(images: np.ndarray, scale: int) -> Image.Image:
    """Arranges images in a square grid with gaps.

    Args:
      images: uint8 [images, height, width, 3].
      scale: factor by which each pixel is enlarged, along both sides.
    """
    columns = int(np.ceil(np.sqrt(len(images))))
    gaps = [(0, -len(images) % columns), (0, 1), (0, 1), (0, 0)]
    padded = np.pad(images, gaps, constant_values=255)
    joined = np.vstack([np.hstack(row) for row in padded.reshape(-1, columns, *padded.shape[1:])])
    return Image.fromarray(joined.repeat(scale, axis=0).repeat(scale, axis=1))


def filters(kernel: np.ndarray) -> Image.Image:
    """The filters of a first convolution as a grid of small images.

    Args:
      kernel: float32 [height, width, 3, filters]. Each filter is scaled to 0..255 separately; gray
        stands for zero.
    """
    largest = np.abs(kernel).max(axis=(0, 1, 2), keepdims=True)
    shades = 127.5 + 127.5 * kernel / np.maximum(largest, 1e-12)
    return grid(shades.transpose(3, 0, 1, 2).round().astype(np.uint8), scale=10)


@contextlib.contextmanager
def matplotlib_defaults(**settings) -> Iterator[None]:
    """In this context matplotlib uses its defaults, whatever the caller's settings are; figures
    get constrained layout, with a margin of 0.1 inches.

    A request for LaTeX, for instance, must not end a run, and settings made here must not affect a
    notebook's other figures.

    Args:
      settings: exceptions from the defaults.
    """
    if not os.environ.get("MPLBACKEND", "").startswith("module://"):  # as notebooks set it
        os.environ.pop("MPLBACKEND", None)  # a wrong name would end the import
    import matplotlib  # takes a second; needed once per run

    defaults: dict = {**matplotlib.rcParamsDefault, **SETTINGS, **settings}
    del defaults["backend"]  # for windows; saving a figure needs none
    with matplotlib.rc_context(defaults), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # class names in any script
        yield


@matplotlib_defaults(**{"axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7})
def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, class_names: tuple[str, ...], dpi: int = DPI
) -> Image.Image:
    """Draws how many images of each class were classified as each class."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predictions, labels=range(len(class_names)))
    is_labeled = len(class_names) <= MAX_LABELED_CLASSES
    size = max(CARD_INCHES, 0.5 + 0.3 * len(class_names)) if is_labeled else 8.0
    figure, ax = new_figure(size, size)
    ax.imshow(counts, cmap="Blues")
    ax.set(xlabel="predicted class", ylabel="true class")
    if is_labeled:
        names = list(map(printable, class_names))
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
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
    own, predictions = probs[np.arange(len(probs)), split.labels], probs.argmax(axis=1)
    wrong = np.flatnonzero(predictions != split.labels)
    if not len(wrong):
        return None
    shown = wrong[np.argsort(own[wrong], kind="stable")][:MAX_WORST]
    rows = -(-len(shown) // 3)  # three columns, each wide enough for its caption
    figure, axes = new_figure(
        *(CARD_INCHES, 0.4 + 1.45 * rows, rows, 3),
        subplot_kw={"frame_on": False, "xticks": [], "yticks": []},
    )
    figure.suptitle("true class and its probability,\nthen the predicted class", fontsize=8)
    images = records_to_images(split.records[shown], dim)
    for ax, index, pixels in zip(axes.flat, shown, images, strict=False):
        ax.imshow(pixels)
        ax.set_title(
            f"{printable(class_names[split.labels[index]])} {own[index]:.0%}\n"
            f"{printable(class_names[predictions[index]])} {probs[index].max():.0%}",
            fontsize=8,
        )
    return drawn(figure, DPI)


@matplotlib_defaults(**{"axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False})
def scopes_comparison(comparison: dict) -> Image.Image | None:
    """Draws the distance between two runs' kernels, and their dead filters, per scope.

    Args:
      comparison: what `tools.scopes.compare` returns.

    Returns:
      Bars for each convolution that both nets have; None if they have none in common.
    """
    moved = {
        row["variable"].removesuffix("/kernel"): row["moved"]
        for row in comparison["variables"]
        if row["variable"].endswith("/kernel") and None not in row["shape"]
    }
    if not moved:
        return None
    found = {row["scope"]: row["dead"] for row in comparison["dead_relus"]}
    in_a, in_b = zip(*(found.get(scope, (None, None)) for scope in moved), strict=True)
    unknown = " and ".join(run for run, dead in (("A", in_a), ("B", in_b)) if set(dead) == {None})
    places = np.arange(len(moved))
    figure, (left, right) = new_figure(8, 1.6 + 0.28 * len(moved), 1, 2, sharey=True)
    figure.suptitle(
        f"A  {printable(comparison['a'])}\nB  {printable(comparison['b'])}",
        fontsize=9,
        ha="left",
        x=0.02,
    )
    left.set_title("distance between the kernels, in % of A's norm")
    right.set_title("dead filters, in %" + (f" (no images of {unknown})" if unknown else ""))
    for ax, fractions, label, color, thickness, offset in (
        (left, moved.values(), "", "tab:gray", 0.7, 0.0),
        (right, in_a, "A", "tab:blue", 0.38, -0.2),
        (right, in_b, "B", "tab:orange", 0.38, 0.2),
    ):
        percentages = [100 * (fraction or 0) for fraction in fractions]
        bars = ax.barh(places + offset, percentages, thickness, color=color, label=label)
        ax.bar_label(
            bars, fmt=lambda number: f"{number:.1f}" if number else "", padding=2, fontsize=7
        )
        ax.set_xlim(0, 1.15 * max(ax.dataLim.x1, 1.0))
    names = [f"{scope} (shapes differ)" if moved[scope] is None else scope for scope in moved]
    left.set_yticks(places, names)
    left.invert_yaxis()  # the net's first scope at the top
    figure.legend(loc="outside upper right")
    return drawn(figure, DPI)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """An empty figure, in inches, with a margin, and its axes; not registered with pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **options)


def drawn(figure, dpi: int) -> Image.Image:
    """A matplotlib figure as an image."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return Image.open(file).convert("RGB")
