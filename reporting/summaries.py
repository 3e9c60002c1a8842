"""Summary messages for what TensorBoard shows besides curves: histograms, images, texts, layouts.

They are made of numpy arrays; TF1's summary operations would have to run in the training graph.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api
from tensorboard.plugins.text.summary_v2 import text_pb

from base import printable
from reporting.figures import png
from reporting.scopes import Scope, squeeze_ratio, table, texts

# The settings that the HParams tab compares. More than four columns would push the accuracy and the
# loss out of a window of 1,500 pixels; the Text tab has the other settings.
COMPARED = ("learning_rate", "num_epochs", "recipe")
# The charts of the Custom Scalars tab, and the ends of their tags.
CHARTS = {
    "update-to-weight ratio": "kernel/update_ratio",
    "norm of the kernels": "kernel/norm",
    "norm of the gradients": "kernel/gradient_norm",
    "fraction of zero ReLU outputs": "activation/zeros",
}


def histograms(arrays: dict[str, np.ndarray]) -> tf.Summary:
    """One histogram for each array; the names are the tags."""
    return merged(*(histogram_pb(tag, values) for tag, values in arrays.items()))


def images(drawings: dict[str, Image.Image | None]) -> tf.Summary:
    """Images of the Images and Time Series tabs, by their tags; None is left out."""
    found = {
        tag: tf.Summary.Image(
            height=drawing.height, width=drawing.width, encoded_image_string=png(drawing)
        )
        for tag, drawing in drawings.items()
        if drawing is not None
    }
    return tf.Summary(value=[{"tag": tag, "image": image} for tag, image in found.items()])


def text_table(tag: str, titles: tuple[str, ...], rows: Iterable[tuple]) -> tf.Summary:
    """A table, as a panel of the Text tab."""
    lines = [titles, ["---"] * len(titles), *rows]
    text = "\n".join(f"| {' | '.join(map(printable, line))} |" for line in lines)
    return merged(text_pb(tag, text))


def scopes_table(net: list[Scope]) -> tf.Summary:
    """The table of variable scopes, in the Text tab; inner scopes are indented."""
    titles = ("scope", "output", "parameters", "share", "plain 3x3", "saved", "multiply-adds")
    rows = [
        ("&emsp;" * scope.count("/") + scope.split("/")[-1], *numbers, multiply_adds)
        for scope, *numbers, _, _, multiply_adds, _ in map(texts, table(net))
    ]
    return text_table("scopes", titles, rows)


def scope_charts(tags: dict[str, str]) -> tf.Summary:
    """The layout of the Custom Scalars tab: each fire module's convolutions in one chart, found by
    their `reporting.scopes.tags`. (TensorBoard shows equal charts of several runs once.)"""
    fires = dict.fromkeys(tag.split("/")[0] for tag in tags.values() if "/" in tag)
    categories = [
        {
            "title": title,
            "chart": [
                {"title": fire.split("_", 1)[1], "multiline": {"tag": [rf"{fire}/\w+/{ending}$"]}}
                for fire in fires
            ],
        }
        for title, ending in CHARTS.items()
    ]
    return merged(custom_scalar.pb(layout_pb2.Layout(category=categories)))


def hparams(settings: dict, net: list[Scope], run_dir: Path) -> tf.Summary:
    """The row of a run in the HParams tab, and the columns of that table.

    TensorBoard takes the columns from one of the runs, and its parallel coordinates leave out runs
    that lack a column. So every run has the same columns, and fills them all.
    """
    values = {name: settings[name] for name in COMPARED}
    values["squeeze_ratio"] = round(squeeze_ratio(net), 5)
    return merged(
        api.hparams_config_pb(
            hparams=[api.HParam(name) for name in values],
            metrics=[api.Metric("accuracy"), api.Metric("loss")],
        ),
        # The folder's name first, since TensorBoard truncates; its parent tells equal names apart.
        api.hparams_pb(values, trial_id=f"{run_dir.name} in {run_dir.parent}"),
    )


def merged(*summaries) -> tf.Summary:
    """Merges TensorBoard's messages into one of TensorFlow's, which has its own message class."""
    return tf.Summary.FromString(b"".join(part.SerializeToString() for part in summaries))
