"""Summary messages for what TensorBoard shows besides curves: histograms, images, texts, layouts.

TF1's summary operations would have to run in the training graph; these messages are made from
numpy arrays outside of it.
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


def image(tag: str, image: Image.Image) -> tf.Summary:
    """An image of the Images and Time Series tabs."""
    content = {
        "height": image.height,
        "width": image.width,
        "encoded_image_string": png(image),
    }
    return tf.Summary(value=[{"tag": tag, "image": content}])


def text_table(tag: str, titles: tuple[str, ...], rows: Iterable[tuple]) -> tf.Summary:
    """A table, as a panel of the Text tab."""
    lines = [titles, ["---"] * len(titles), *rows]
    cells = "\n".join("| " + " | ".join(map(printable, line)) + " |" for line in lines)
    return merged(text_pb(tag, cells))


def scopes_table(net: list[Scope]) -> tf.Summary:
    """The table of variable scopes, in the Text tab; inner scopes are indented."""
    titles = ("scope", "output", "parameters", "share", "multiply-adds", "plain 3x3", "saved")
    rows = [
        (
            "&emsp;" * scope.count("/") + scope.split("/")[-1],
            output.replace("x", " x "),
            *(parameters, share, multiply_adds, *plain),
        )
        for scope, output, parameters, share, *plain, _, _, multiply_adds, _ in map(
            texts, table(net)
        )
    ]
    return text_table("scopes", titles, rows)


def scope_charts(net: list[Scope], tags: dict[str, str]) -> tf.Summary:
    """The layout of the Custom Scalars tab: each fire module's convolutions in one chart.

    TensorBoard merges the layouts of several runs, and shows equal charts once.

    Args:
      net: its modules.
      tags: what `reporting.scopes.tags` returns.
    """
    categories = [
        {
            "title": title,
            "chart": [
                {
                    "title": module.scope,
                    "multiline": {
                        "tag": [f"{tags[part.scope]}/{ending}$" for part in module.inside]
                    },
                }
                for module in net
                if module.inside
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
    # The folder's name first, since TensorBoard truncates; its parent tells equal names apart.
    trial = f"{run_dir.name} in {run_dir.parent}"
    return merged(
        api.hparams_config_pb(
            hparams=[api.HParam(name) for name in values],
            metrics=[api.Metric("accuracy"), api.Metric("loss")],
        ),
        api.hparams_pb(values, trial_id=trial),
    )


def merged(*summaries) -> tf.Summary:
    """Merges TensorBoard's messages into one of TensorFlow's, which has its own message class."""
    return tf.Summary.FromString(b"".join(part.SerializeToString() for part in summaries))
