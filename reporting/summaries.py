"""Summary messages for what TensorBoard shows besides curves: histograms, images, texts, layouts.

TF1's summary operations would have to run in the training graph; these messages are made from
numpy arrays outside of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api
from tensorboard.plugins.text.metadata import create_summary_metadata

from data import printable
from reporting.figures import png
from reporting.scopes import Module, squeeze_ratio, table

if TYPE_CHECKING:
    from google.protobuf.message import Message

# The settings that the HParams tab compares. More than four columns would push the accuracy and the
# loss out of a window of 1,500 pixels; the Text tab has the other settings.
COMPARED = ("learning_rate", "num_epochs", "recipe")
# The charts of the Custom Scalars tab, and the ends of their tags.
CHARTS = {
    "update-to-weight ratio": "kernel/update_ratio",
    "norm of the kernels": "kernel/norm",
    "norm of the gradients": "kernel/gradient_norm",
    "share of zero ReLU outputs": "activation/zeros",
}


def histograms(arrays: dict[str, np.ndarray]) -> tf.Summary:
    """One histogram for each array; the names are the tags."""
    return merged(*(histogram_pb(tag, values) for tag, values in arrays.items()))


def image(tag: str, image: Image.Image) -> tf.Summary:
    """An image of the Images and Time Series tabs."""
    encoded = tf.Summary.Image(
        height=image.height, width=image.width, encoded_image_string=png(image)
    )
    return tf.Summary(value=[tf.Summary.Value(tag=tag, image=encoded)])


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
    """The content of settings.json, for a text panel."""
    return markdown_table(("setting", "value"), list(settings.items()))


def scopes_table(net: list[Module]) -> str:
    """The table of variable scopes, for a text panel; inner scopes are indented."""
    titles = ("scope", "output", "parameters", "share", "multiply-adds", "plain 3x3", "saved")
    rows = []
    for row in table(net):
        *outside, name = row["scope"].split("/")
        rows.append(
            (
                "&emsp;" * len(outside) + name,
                " x ".join(map(str, row["output"] or [])),
                f"{row['parameters']:,}",
                f"{row['parameters_share']:.1%}",
                f"{row['multiply_adds']:,}",
                f"{row['plain_parameters']:,}" if row["plain_parameters"] else "",
                f"{row['saved']:.1f}x" if row["saved"] else "",
            )
        )
    return markdown_table(titles, rows)


def scope_charts(net: list[Module], tags: dict[str, str]) -> tf.Summary:
    """The layout of the Custom Scalars tab: each fire module's convolutions in one chart.

    TensorBoard merges the layouts of several runs, and shows equal charts once.

    Args:
      net: its modules.
      tags: what `reporting.scopes.tags` returns.
    """
    categories = []
    for title, ending in CHARTS.items():
        charts = []
        for module in net:
            inside = [tags[convolution.scope] for convolution in module.convolutions]
            if len(inside) > 1:
                content = layout_pb2.MultilineChartContent(
                    tag=[f"{tag}/{ending}$" for tag in inside]
                )
                charts.append(layout_pb2.Chart(title=module.scope, multiline=content))
        categories.append(layout_pb2.Category(title=title, chart=charts))
    return custom_scalar.pb(layout_pb2.Layout(category=categories))


def hparams(settings: dict, net: list[Module], run_dir: Path) -> tf.Summary:
    """The row of a run in the HParams tab, and the columns of that table.

    TensorBoard takes the columns from one of the runs, and its parallel coordinates leave out runs
    that lack a column. So every run has the same columns, and fills them all.
    """
    values = {name: settings[name] for name in COMPARED if name in settings}
    values["squeeze_ratio"] = round(squeeze_ratio(net), 5)
    columns = [api.HParam(name) for name in values]
    metrics = [api.Metric(tag) for tag in ("accuracy", "loss")]
    # The folder's name first, since TensorBoard truncates; its parent tells equal names apart.
    trial = f"{run_dir.name} in {run_dir.parent}"
    return merged(api.hparams_config_pb(columns, metrics), api.hparams_pb(values, trial_id=trial))


def merged(*tensorboards: Message) -> tf.Summary:
    """Merges TensorBoard's messages into one of TensorFlow's, which has its own message class."""
    return tf.Summary.FromString(b"".join(part.SerializeToString() for part in tensorboards))
