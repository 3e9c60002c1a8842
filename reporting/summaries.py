"""What TensorBoard shows besides curves, as Summary messages: histograms, images, texts, HParams.

TF1's summary operations would have to run in the graph that trains; these messages are made from
numpy arrays, beside it.
"""

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
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api
from tensorboard.plugins.text.metadata import create_summary_metadata

from data import Split, printable
from reporting import scopes
from squeezenet_model import SqueezeNetModel

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from matplotlib.figure import Figure

# The settings that the HParams tab compares. It shows five columns without being asked, the first
# in the alphabet; all others stand in the text panel.
COMPARED = ("dataset", "learning_rate", "num_epochs", "recipe", "squeeze_ratio")
MOST_NAMED_CLASSES = 40  # in a drawing
WORST = 12  # wrongly classified images that are shown


def histograms(arrays: dict[str, np.ndarray]) -> tf.Summary:
    """One histogram for each array; the arrays' names are the tags."""
    return merged(*(histogram_pb(tag, values) for tag, values in arrays.items()))


def text(tag: str, markdown: str) -> tf.Summary:
    """A panel of the Text tab."""
    metadata = tf.SummaryMetadata.FromString(
        create_summary_metadata(tag, description="").SerializeToString()
    )
    tensor = tf.make_tensor_proto(markdown, dtype=tf.string)
    return tf.Summary(value=[tf.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def markdown_table(titles: tuple[str, ...], rows: list[tuple]) -> str:
    """A table for a text panel."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(map(printable, line)) + " |" for line in lines)


def settings_table(settings: dict) -> str:
    """What settings.json holds, for a text panel."""
    return markdown_table(("setting", "value"), list(settings.items()))


def scopes_table(model: SqueezeNetModel) -> str:
    """What each variable scope holds, for a text panel."""
    titles = ("scope", "output", "parameters", "share", "multiply-adds", "plain 3x3", "saved")
    rows = [
        (
            row["scope"],
            " x ".join(map(str, row["output"] or [])),
            f"{row['parameters']:,}",
            f"{row['parameters_share']:.1%}",
            f"{row['multiply_adds']:,}",
            f"{row['plain_parameters']:,}" if row["plain_parameters"] else "",
            f"{row['saved']:.1f}x" if row["saved"] else "",
        )
        for row in scopes.table(model)
    ]
    return markdown_table(titles, rows)


def hparams(settings: dict, run_dir: Path) -> tf.Summary:
    """The row of a run in the HParams tab, and the columns of that table.

    TensorBoard takes the columns from one of the runs, so each names them all.
    """
    values = {name: settings[name] for name in COMPARED if settings.get(name) is not None}
    columns = [api.HParam(name) for name in COMPARED]
    metrics = [api.Metric(tag) for tag in ("accuracy", "loss")]
    # Its own name first: TensorBoard cuts long ones off. The rest tells runs of one name apart.
    trial = f"{run_dir.name} in {run_dir.parent}"
    return merged(api.hparams_config_pb(columns, metrics), api.hparams_pb(values, trial_id=trial))


def merged(*tensorboards: Message) -> tf.Summary:
    """TensorBoard's messages as one of TensorFlow's: each package has a class of its own."""
    return tf.Summary.FromString(b"".join(part.SerializeToString() for part in tensorboards))


def image(tag: str, pixels: np.ndarray | Image.Image) -> tf.Summary:
    """An image: uint8 [height, width, 3], or Pillow's."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    encoded = tf.Summary.Image(
        height=image.height, width=image.width, encoded_image_string=png(image)
    )
    return tf.Summary(value=[tf.Summary.Value(tag=tag, image=encoded)])


def png(image: Image.Image) -> bytes:
    """An image as the content of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def grid(images: np.ndarray, scale: int) -> np.ndarray:
    """Images side by side in a square, with gaps between them.

    Args:
      images: uint8 [images, height, width, 3].
      scale: pixels that each pixel becomes, along both sides.

    Returns:
      uint8 [height, width, 3].
    """
    columns = int(np.ceil(np.sqrt(len(images))))
    missing = -len(images) % columns
    padded = np.pad(images, [(0, missing), (0, 1), (0, 1), (0, 0)], constant_values=255)
    rows = padded.reshape(-1, columns, *padded.shape[1:])
    joined = rows.transpose(0, 2, 1, 3, 4).reshape(len(rows) * padded.shape[1], -1, 3)
    return joined.repeat(scale, axis=0).repeat(scale, axis=1)


def records_to_images(records: np.ndarray, dim: int) -> np.ndarray:
    """[images, 3 * dim * dim], channel-major, 0..255 -> uint8 [images, dim, dim, 3]."""
    return records.reshape(-1, 3, dim, dim).transpose(0, 2, 3, 1).astype(np.uint8)


def filters(kernel: np.ndarray) -> np.ndarray:
    """The filters of a first convolution as a grid of small images.

    Args:
      kernel: float32 [height, width, 3, filters]. Each filter is stretched to 0..255 by itself;
        gray stands for zero.
    """
    longest = np.abs(kernel).max(axis=(0, 1, 2), keepdims=True)
    shades = 127.5 + 127.5 * kernel / np.maximum(longest, 1e-12)
    return grid(shades.transpose(3, 0, 1, 2).round().astype(np.uint8), scale=10)


@contextlib.contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """Draws as matplotlib does by default, whatever the caller's settings are.

    Neither a wrong MPLBACKEND nor a damaged matplotlibrc, nor one that asks for LaTeX, may end a
    run; and what is set here must not change what else a notebook draws.
    """
    matplotlib = load_matplotlib()
    defaults = dict(matplotlib.rcParamsDefault)
    del defaults["backend"]  # of windows; a Figure that is saved has none
    defaults["text.parse_math"] = False  # a class may be called $5: no formula
    with matplotlib.rc_context(defaults), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name has such a letter
        yield


def load_matplotlib() -> ModuleType:
    """Imports matplotlib, without its settings if they end the import."""
    try:
        import matplotlib
    except Exception:  # of many kinds: ValueError, UnicodeDecodeError, ...
        for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
            del sys.modules[name]  # which do not fit the package when it is imported again
        folder = Path(importlib.util.find_spec("matplotlib").origin).parent
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            with contextlib.chdir(folder / "mpl-data"):  # whose matplotlibrc comes first
                import matplotlib
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend
    return matplotlib


@matplotlib_defaults()
def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, class_names: tuple[str, ...]
) -> Image.Image:
    """How many images of each class were taken for which."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predictions, labels=range(len(class_names)))
    is_named = len(class_names) <= MOST_NAMED_CLASSES  # more names and numbers take gigabytes
    size = 1.2 + 0.4 * len(class_names) if is_named else 8  # inches; TensorBoard shrinks wide ones
    figure = new_figure(size, size)
    ax = figure.subplots()
    ax.imshow(counts, cmap="Blues")
    ax.set(xlabel="Predicted label", ylabel="True label")
    if is_named:
        ticks, names = range(len(class_names)), list(map(printable, class_names))
        ax.set_xticks(ticks, names, rotation=45)
        ax.set_yticks(ticks, names)
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if count > counts.max() / 2 else "black"
            ax.text(column, row, count, color=color, ha="center", va="center")
    return drawn(figure)


@matplotlib_defaults()
def worst(
    split: Split, probs: np.ndarray, class_names: tuple[str, ...], dim: int
) -> Image.Image | None:
    """The images whose own class was found least probable; None where all are right.

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
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(1.1 * columns, 1.5 * rows)
    axes = np.ravel(figure.subplots(rows, columns))
    for ax in axes:
        ax.axis("off")
    images = records_to_images(split.records[shown], dim)
    for ax, index, pixels in zip(axes, shown, images, strict=False):
        taken_for = probs[index].argmax()
        ax.imshow(pixels)
        ax.set_title(
            f"{class_names[split.labels[index]]} {own[index]:.0%}\n"
            f"not {class_names[taken_for]} {probs[index, taken_for]:.0%}",
            fontsize=7,
        )
    return drawn(figure)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that no window and no pyplot know of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def drawn(figure: Figure) -> Image.Image:
    """A matplotlib figure as an image."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return Image.open(file).convert("RGB")
