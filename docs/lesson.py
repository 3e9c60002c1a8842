"""What the lesson fire_module.ipynb leaves out: it finds the project, draws, and checks answers."""

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))
# `%tensorboard` looks there for TensorBoard's program, which is installed beside Python.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

from base.runtime import load_tensorflow_quietly  # noqa: E402

load_tensorflow_quietly()  # or says what to install

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from squeezenet_model import SqueezeNetModel, tf  # noqa: E402

MODEL = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)
COLORS = {
    **dict.fromkeys(("squeeze", "intermediate"), "tab:orange"),
    **{"expand1x1": "tab:blue", "expand3x3": "tab:green"},
}
plt.rcParams |= {
    **{"figure.dpi": 80, "figure.constrained_layout.use": True, "axes.titlesize": 10},
    **{"axes.spines.top": False, "axes.spines.right": False},
}


def count(scope: str) -> int:
    """Counts the parameters in a variable scope of the current graph."""
    return sum(each.shape.num_elements() for each in tf.trainable_variables(f"{scope}/"))


# Drawings, which a notebook shows at the end of the cell


def bars(layers: list[str], **parts: list[int]) -> None:
    """Draws the parameters of layers as bars; each part of them has a number for every layer."""
    _, axes = plt.subplots(figsize=(8, 0.9 + 0.3 * len(layers)))
    ends = np.zeros(len(layers), int)
    for part, numbers in parts.items():
        axes.barh(layers, numbers, left=ends, color=COLORS.get(part, "0.75"), label=part)
        ends += numbers
    axes.bar_label(axes.containers[-1], [f"{end:,}" for end in ends], padding=3)
    axes.set(
        xlim=(0, 1.15 * max(ends)), ylim=(len(layers) - 0.5, -0.5), xticks=[], title="parameters"
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def draw_fire_module(inputs: int, squeeze: int, expand: int) -> None:
    """Draws a fire module: the height of a box is its number of channels."""
    axes = plt.figure(figsize=(8, 3.4), layout="none").add_axes((0, 0, 1, 1))
    for layer, x, y, depth in (
        *(("input", 0, 0, inputs), ("squeeze", 3, 0, squeeze)),
        *(("expand1x1", 6, 0.65 * expand, expand), ("expand3x3", 6, -0.65 * expand, expand)),
        *(("expand1x1", 9, 0.5 * expand, expand), ("expand3x3", 9, -0.5 * expand, expand)),
    ):
        axes.bar(x, depth, 1.6, y - depth / 2, color=COLORS.get(layer, "0.75"))
        axes.text(x, y, f"{layer}\n{depth}", ha="center", va="center")
    for x, start, end in ((0, 0, 0), (3, 0, 0.65), (3, 0, -0.65), (6, 0.65, 0.5), (6, -0.65, -0.5)):
        tail, head = (x + 0.85, start * expand), (x + 2.15, end * expand)
        axes.annotate("", head, tail, arrowprops={"arrowstyle": "->"})
    axes.text(9, 1.05 * expand, f"concat: {2 * expand}", ha="center")
    axes.set_axis_off()


def show_images(records: np.ndarray, captions: list[str], columns: int = 6) -> None:
    """Shows stored images, uint8 [images, 3 * 32 * 32], each below its caption."""
    rows = max(1, -(-len(records) // columns))
    figure = plt.figure(figsize=(8, 9.6 * rows / columns))
    for place, (record, caption) in enumerate(zip(records, captions, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place, title=caption)
        axes.imshow(record.reshape(3, 32, 32).transpose(1, 2, 0))
        axes.set_axis_off()


def plot(xlabel: str, x: list[float], panels: dict[str, dict[str, list[float]]]) -> None:
    """Draws panels side by side, each with its title and a line for each of its names."""
    _, axes = plt.subplots(1, len(panels), figsize=(8, 2.8))
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, values in lines.items():
            ax.plot(x, values, "o-", label=name)
        ax.set(xlabel=xlabel, title=title, ylim=(0, None))
        ax.legend()


# The checks of the exercises


def check_fire_module(fire_module) -> None:
    """Compares what a function builds with what the class's fire_module builds."""
    graphs = (built(each, 32, 64, "fire1") for each in (MODEL.fire_module, fire_module))
    tell("It builds the same graph as the class.", difference(*graphs))


def check_prediction(predicted: dict[str, int]) -> None:
    """Compares predicted parameters of fire1 with 64 squeeze filters with those of a graph."""
    counted = fire1_parameters(64)
    tell(
        f"The graph has {sum(counted.values()):,} parameters.",
        *(
            f"{layer}: {predicted[layer]:,} is too {'many' if predicted[layer] > number else 'few'}"
            + ("; only the biases are missing" if predicted[layer] == number - 64 else "")
            for layer, number in counted.items()
            if predicted[layer] != number
        ),
    )


def check_squeeze_ratio(ratio: float) -> None:
    """Compares fire1's parameters at a squeeze ratio with half of those at 0.25."""
    depth = max(1, round(ratio * 128))
    whole, one_more, number = (sum(fire1_parameters(d).values()) for d in (32, 33, depth))
    off = number - whole / 2
    found = f"{depth:,} squeeze filters make {number:,} parameters"
    wrong = f"{found}, {abs(off):,.0f} {'more' if off > 0 else 'fewer'} than half of {whole:,}"
    # Right if no other number of filters is closer.
    is_wrong = abs(off) > (one_more - whole) / 2
    tell(f"{found}; half of {whole:,} is {whole / 2:,.0f}.", wrong if is_wrong else "")


def check_reuse(layer) -> None:
    """Compares the variables of a layer that is built twice in a scope with what they should be."""

    def twice(inputs: tf.Tensor) -> None:
        for reuse in (False, True):
            with tf.variable_scope("fire1", reuse=reuse):
                layer(inputs)

    shapes = {
        "variable fire1/squeeze/kernel": "of shape (1, 1, 64, 32)",
        "variable fire1/squeeze/bias": "of shape (32,)",
    }
    tell("Both layers share one kernel and one bias.", difference(shapes, built(twice), "variable"))


def built(function, *arguments) -> dict[str, str]:
    """Calls a function in a graph of its own, and describes by its name each thing it builds."""
    with tf.Graph().as_default() as graph:
        result = function(tf.placeholder(tf.float32, [None, 12, 12, 64], "inputs"), *arguments)
        variables = {
            f"variable {each.op.name}": f"of shape {each.shape}"
            for each in tf.trainable_variables()
        }
    operations = {
        f"operation {each.name}": f"{each.type}({', '.join(t.op.name for t in each.inputs)}) of "
        f"shape {', '.join(str(t.shape) for t in each.outputs)}"
        for each in graph.get_operations()
    }
    return variables | operations | {"the result": getattr(result, "name", str(result))}


def fire1_parameters(squeeze_depth: int) -> dict[str, int]:
    """The parameters of fire1's layers with so many squeeze filters, counted in a graph."""
    with tf.Graph().as_default():
        MODEL.fire_module(tf.zeros([1, 12, 12, 64]), squeeze_depth, 64, "fire1")
        return {layer: count(f"fire1/{layer}") for layer in ("squeeze", "expand1x1", "expand3x3")}


def difference(right: dict[str, str], found: dict[str, str], kind: str = "") -> str:
    """The first difference between two descriptions, or between those of one kind of thing."""
    extra = [name for name in found if name not in right and name.startswith(kind)]
    missing = f"missing; you have the {extra[0]}" if extra else "missing"
    for name in [*(name for name in right if name.startswith(kind)), *extra]:
        if right.get(name) != found.get(name):
            return (
                f"{name} should be {right.get(name, 'absent')}, but is {found.get(name, missing)}"
            )
    return ""


def tell(praise: str, *differences: str) -> None:
    """Prints that an answer is right, or the first thing that is wrong with it."""
    print(f"Not yet: {differences[0]}." if any(differences) else f"Right! {praise}")
