"""Figures of a run: crops, filters, confusion matrix, worst mistakes, a comparison of two runs."""

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from base import UserError, printable
from base.files import output_folder, write_file
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
        if not path.parent.exists():
            output_folder(path.parent)
        write_file(path, png(image))
    except (OSError, UserError) as error:  # somebody else's run, for instance
        print(f"not saved: {printable(error)}", file=sys.stderr)
    else:
        print(f"\nsaved to {printable(path)}")


def grid(images: np.ndarray, scale: int) -> Image.Image:
    """Images, uint8 [N, height, width, 3], in a square grid with gaps; each pixel becomes a square
    of scale x scale."""
    columns = int(np.ceil(np.sqrt(len(images))))
    gaps = (0, -len(images) % columns), (0, 1), (0, 1), (0, 0)
    padded = np.pad(images, gaps, constant_values=255)
    joined = np.vstack([np.hstack(row) for row in padded.reshape(-1, columns, *padded.shape[1:])])
    return Image.fromarray(joined.repeat(scale, axis=0).repeat(scale, axis=1))


def filters(kernel: np.ndarray) -> Image.Image:
    """The filters of a first convolution, float32 [height, width, 3, filters], as a grid of images:
    each is scaled to 0..255 separately, and gray stands for zero."""
    largest = np.abs(kernel).max(axis=(0, 1, 2), keepdims=True)
    shades = 127.5 + 127.5 * kernel / np.maximum(largest, 1e-12)
    return grid(shades.transpose(3, 0, 1, 2).round().astype(np.uint8), scale=10)


@contextlib.contextmanager
def matplotlib_defaults(**settings) -> Iterator[None]:
    """In this context matplotlib has its defaults but for SETTINGS and these settings, and loses
    none of the caller's: those must not end a run, which a request for LaTeX would, and these must
    not change a notebook's other figures."""
    from matplotlib import style  # takes a second; needed once per run

    with style.context(SETTINGS | settings, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # class names in any script
        yield


@matplotlib_defaults(**{"axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7})
def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, class_names: tuple[str, ...], dpi: int = DPI
) -> Image.Image:
    """Draws how many images of each class were classified as each class."""
    classes = len(class_names)
    counts, _, _ = np.histogram2d(labels, predictions, bins=np.arange(classes + 1))
    is_labeled = classes <= MAX_LABELED_CLASSES
    size = max(CARD_INCHES, 0.5 + 0.3 * classes) if is_labeled else 8.0
    figure, ax = new_figure(size, size)
    ax.imshow(counts, cmap="Blues")
    ax.set(xlabel="predicted class", ylabel="true class")
    if is_labeled:
        names = list(map(printable, class_names))
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if count > counts.max() / 2 else "black"
            ax.text(column, row, int(count), color=color, ha="center", va="center", fontsize=7)
    return drawn(figure, dpi)


@matplotlib_defaults()
def worst(
    split: Split, probs: np.ndarray, class_names: tuple[str, ...], dim: int
) -> Image.Image | None:
    """The misclassified images whose true class got the lowest probability; None without any.

    Args:
      probs: float32 [images, classes].
      dim: side of a stored image in pixels.
    """
    labels, predictions = split.labels, probs.argmax(axis=1)
    own = probs[np.arange(len(probs)), labels]
    shown = [i for i in own.argsort(kind="stable") if labels[i] != predictions[i]][:MAX_WORST]
    if not shown:
        return None
    rows = -(-len(shown) // 3)  # three columns, each wide enough for its caption
    figure, axes = new_figure(
        *(CARD_INCHES, 0.4 + 1.45 * rows, rows, 3),
        subplot_kw={"frame_on": False, "xticks": [], "yticks": []},
    )
    figure.suptitle("true class and its probability,\nthen the predicted class", fontsize=8)
    for ax, index in zip(axes.flat, shown, strict=False):
        ax.imshow(records_to_images(split.records[[index]], dim)[0])
        ax.set_title(
            f"{printable(class_names[labels[index]])} {own[index]:.0%}\n"
            f"{printable(class_names[predictions[index]])} {probs[index].max():.0%}",
            fontsize=8,
        )
    return drawn(figure, DPI)


@matplotlib_defaults(**{"axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False})
def scopes_comparison(comparison: dict) -> Image.Image | None:
    """Draws the distance between two runs' kernels, and their dead filters, as bars for each
    convolution that both nets have; None if they have none in common.

    Args:
      comparison: what `tools.scopes.compare` returns.
    """
    moved = {
        row["variable"].removesuffix("/kernel"): row["moved"]
        for row in comparison["variables"]
        if row["variable"].endswith("/kernel") and None not in row["shape"]
    }
    if not moved:
        return None
    dead = {row["scope"]: row["dead"] for row in comparison["dead_relus"]}
    in_a, in_b = zip(*(dead.get(scope, (None, None)) for scope in moved), strict=True)
    figure, (left, right) = new_figure(8, 1.6 + 0.28 * len(moved), 1, 2, sharey=True)
    runs = f"A  {printable(comparison['a'])}\nB  {printable(comparison['b'])}"
    figure.suptitle(runs, fontsize=9, ha="left", x=0.02)
    left.set_title("distance between the kernels, in % of A's norm")
    right.set_title("dead filters, in % (blank: no images)")
    for ax, fractions, label, color, thickness, offset in (
        (left, tuple(moved.values()), "", "tab:gray", 0.7, 0.0),
        (right, in_a, "A", "tab:blue", 0.38, -0.2),
        (right, in_b, "B", "tab:orange", 0.38, 0.2),
    ):
        percentages = 100 * np.array(fractions, float)  # None becomes NaN, which is not drawn
        places = np.arange(len(moved)) + offset
        bars = ax.barh(places, percentages, thickness, color=color, label=label)
        ax.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
        ax.set_xlim(0, 1.15 * max(ax.dataLim.x1, 1.0))
    names = [f"{scope} (shapes differ)" if moved[scope] is None else scope for scope in moved]
    left.set_yticks(range(len(names)), names)
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
