"""The parameters, cost and savings of the net's variable scopes, counted on its graph."""

import copy
import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow.compat.v1 as tf

from squeezenet_model import SqueezeNetModel


class Scope(NamedTuple):
    """A variable scope: a convolution, or several of them, such as a fire module.

    Attributes:
      scope: its name, such as "fire1/squeeze".
      output: height, width, channels.
      kernel: of a convolution: height, width, input channels, filters.
      inside: the convolutions of a fire module, in the order they run.
    """

    scope: str
    output: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    inside: tuple["Scope", ...] = ()

    @property
    def convolutions(self) -> tuple["Scope", ...]:
        """Those inside, or the one that it is."""
        return self.inside or (self,)

    @property
    def parameters(self) -> int:
        """The chapter's P, section C: weights, and one bias per filter."""
        return sum(math.prod(part.kernel) + part.kernel[-1] for part in self.convolutions)

    @property
    def multiply_adds(self) -> int:
        """Pairs of a multiplication and an addition, for one image."""
        return sum(math.prod(part.kernel + part.output[:2]) for part in self.convolutions)

    @property
    def plain_parameters(self) -> int:
        """Those of a plain 3x3 convolution with the same input and output; a larger kernel (conv1
        of v1.0 has 7x7) stays as it is."""
        height, width, inputs, _ = self.convolutions[0].kernel
        return Scope("", kernel=(max(3, height), max(3, width), inputs, self.output[-1])).parameters


@functools.lru_cache(maxsize=1)  # drawn_graph and modules read the same graph
def chapter_graph(model: SqueezeNetModel) -> tf.Graph:
    """The net as the chapter's class builds it, without the towers, gradients and optimizers that
    would hide it in the training graph."""
    # A variable of TF1's first kind is read by an Identity, which can be left out of a graph.
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=False):
        inputs = tf.placeholder(tf.float32, [None, model.resize_dim, model.resize_dim, 3], "input")
        labels = tf.placeholder(tf.int32, [None], "labels")
        copy.copy(model).run_model_setup(inputs, labels, is_training=False)
    return graph


def drawn_graph(model: SqueezeNetModel) -> tf.GraphDef:
    """The chapter's graph for TensorBoard's Graphs tab: only what computes predictions and loss.

    Operations that initialize and read the variables are left out, so that a convolution consists
    of its kernel, its bias and three operations. TensorBoard gives scopes of the same structure the
    same color, but only if the scopes inside them match first; so a convolution must contain none.
    """
    graph = chapter_graph(model)
    names = [operation.name for operation in graph.get_operations()]
    ends = [name for name in names if name.startswith(("predictions", "loss", "accuracy"))]
    computing = tf.graph_util.extract_sub_graph(graph.as_graph_def(add_shapes=True), ends)
    kept = [name for name in names if not name.endswith("/read")]
    return tf.graph_util.remove_training_nodes(computing, kept)


def modules(model: SqueezeNetModel) -> list[Scope]:
    """The top-level scopes of a net in the order they run, read from its graph."""
    convolutions = [
        Scope(
            operation.name.removesuffix("/Conv2D"),
            output=tuple(operation.outputs[0].shape.as_list()[1:]),
            kernel=tuple(operation.inputs[1].shape.as_list()),
        )
        for operation in chapter_graph(model).get_operations()
        if operation.type == "Conv2D"
    ]
    net = []
    for top, parts in itertools.groupby(convolutions, lambda part: part.scope.split("/")[0]):
        first, *others = parts
        output = (*first.output[:2], sum(part.output[-1] for part in others))
        net.append(Scope(top, output, inside=(first, *others)) if others else first)
    return net


def squeeze_ratio(net: list[Scope]) -> float:
    """Filters of all squeeze layers divided by output channels of all fire modules (0 if none): the
    paper's SR (section 5.2) for the whole net, whose fire modules may have different ratios."""
    fires = [module for module in net if module.inside]
    squeezed = sum(module.inside[0].output[-1] for module in fires)
    return squeezed / max(1, sum(module.output[-1] for module in fires))


def tags(scopes: Sequence[str]) -> dict[str, str]:
    """The TensorBoard tags of the scopes of convolutions, which come in the order they run.

    TensorBoard groups tags by the part before the first slash, and sorts numbers in them as
    numbers. So groups and cards follow the order of the net, after the loss and the accuracy.

    Returns:
      {"conv1": "scope1_conv1", "fire1/squeeze": "scope2_fire1/1_squeeze", ...}
    """
    tops = itertools.groupby(scopes, lambda scope: scope.split("/")[0])
    return {
        scope: f"scope{place}_" + scope.replace("/", f"/{number}_", 1)
        for place, (_, inside) in enumerate(tops, start=1)
        for number, scope in enumerate(inside, start=1)
    }


def table(net: list[Scope]) -> list[dict]:
    """A row per scope, each fire module followed by the scopes inside it, and a row of totals.

    Returns:
      Dictionaries with the keys scope; output, [height, width, channels] (None in the last row);
      formula, the chapter's for a convolution: height x width x filters x inputs + filters (None
      for sums); parameters; bytes, as float32; multiply_adds, for one image; parameters_share and
      multiply_adds_share, of the net's total, 0..1; plain_parameters, of a plain 3x3 convolution
      with the same input and output, and saved, the ratio of these to parameters (None inside a
      fire module).
    """
    total = Scope("total", inside=tuple(part for module in net for part in module.convolutions))

    def row(part: Scope, plain: int | None = None) -> dict:
        return {
            "scope": part.scope,
            "output": list(part.output) or None,
            "formula": "{0} x {1} x {3} x {2} + {3}".format(*part.kernel) if part.kernel else None,
            "parameters": part.parameters,
            "parameters_share": part.parameters / total.parameters,
            "bytes": part.parameters * tf.float32.size,
            "multiply_adds": part.multiply_adds,
            "multiply_adds_share": part.multiply_adds / total.multiply_adds,
            "plain_parameters": plain,
            "saved": plain and plain / part.parameters,
        }

    rows = [
        found
        for module in net
        for found in (row(module, module.plain_parameters), *map(row, module.inside))
    ]
    return [*rows, row(total, sum(module.plain_parameters for module in net))]


def texts(row: dict) -> tuple[str, ...]:
    """A row of `table` as it is shown: scope (indented inside a fire module), output, parameters,
    their share, plain 3x3, saved, formula, bytes, multiply-adds, their share."""
    return (
        ("  " if "/" in row["scope"] else "") + row["scope"],
        "x".join(map(str, row["output"] or [])),
        f"{row['parameters']:,}",
        f"{row['parameters_share']:.1%}",
        f"{row['plain_parameters']:,}" if row["plain_parameters"] else "",
        f"{row['saved']:.1f}x" if row["saved"] else "",
        row["formula"] or "",
        f"{row['bytes']:,}",
        f"{row['multiply_adds']:,}",
        f"{row['multiply_adds_share']:.1%}",
    )
