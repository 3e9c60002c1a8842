"""The parameters, cost and savings of the net's variable scopes, counted on its graph."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow.compat.v1 as tf

from squeezenet_model import SqueezeNetModel


@dataclass(frozen=True)
class Convolution:
    """A convolution of the graph, and its variable scope.

    Attributes:
      scope: its variable scope, such as "fire1/squeeze".
      kernel: height, width, input channels, filters.
      output: height, width, channels.
    """

    scope: str
    kernel: tuple[int, int, int, int]
    output: tuple[int, int, int]

    @property
    def parameters(self) -> int:
        """The chapter's P, section C: weights, and one bias per filter."""
        return math.prod(self.kernel) + self.kernel[-1]

    @property
    def formula(self) -> str:
        """The same in the chapter's notation: height x width x filters x inputs + filters."""
        height, width, inputs, filters = self.kernel
        return f"{height} x {width} x {filters} x {inputs} + {filters}"

    @property
    def multiply_adds(self) -> int:
        """Pairs of a multiplication and an addition, for one image."""
        return math.prod(self.kernel) * math.prod(self.output[:2])


@dataclass(frozen=True)
class Module:
    """A top-level scope: one convolution, or a fire module of three.

    Attributes:
      scope: its variable scope, such as "fire1".
      convolutions: the convolutions inside, in the order they run.
      output: height, width, channels.
    """

    scope: str
    convolutions: tuple[Convolution, ...]
    output: tuple[int, int, int]

    @property
    def parameters(self) -> int:
        """Of all convolutions inside."""
        return sum(convolution.parameters for convolution in self.convolutions)

    @property
    def multiply_adds(self) -> int:
        """Of all convolutions inside, for one image."""
        return sum(convolution.multiply_adds for convolution in self.convolutions)

    @property
    def plain(self) -> Convolution:
        """The plain 3x3 convolution with the same input and output.

        A larger kernel (conv1 of v1.0 has 7x7) stays as it is.
        """
        height, width, inputs, _ = self.convolutions[0].kernel
        kernel = max(3, height), max(3, width), inputs, self.output[-1]
        return Convolution(self.scope, kernel, self.output)


@functools.lru_cache(maxsize=1)  # drawn_graph and modules read the same graph
def chapter_graph(model: SqueezeNetModel) -> tf.Graph:
    """The net as the chapter's class builds it: one tower, no gradients, no optimizer.

    The training graph has a copy of the net for each tower, and their gradients, which would hide
    the net.
    """
    with tf.Graph().as_default() as graph:
        shape = [None, model.resize_dim, model.resize_dim, 3]
        inputs = tf.placeholder(tf.float32, shape, name="input")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        copy.copy(model).run_model_setup(inputs, labels, is_training=False)
    return graph


def drawn_graph(model: SqueezeNetModel) -> tf.GraphDef:
    """The chapter's graph for TensorBoard's Graphs tab: only what computes predictions and loss.

    Operations that initialize and read the variables are left out, so that a convolution consists
    of its kernel, its bias and three operations. TensorBoard gives scopes of the same structure the
    same color, but only if the scopes inside them match first; so a convolution must contain none.
    """
    graph = chapter_graph(model)
    outputs = ("predictions", "loss", "accuracy")
    ends = [
        operation.name
        for operation in graph.get_operations()
        if operation.name.split("/")[0] in outputs
    ]
    computing = tf.graph_util.extract_sub_graph(graph.as_graph_def(add_shapes=True), ends)
    read_from = {node.name: node.input[0] for node in computing.node if node.op == "ReadVariableOp"}
    drawn = tf.GraphDef(versions=computing.versions)
    for node in computing.node:
        if node.name not in read_from:
            inputs = [read_from.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(inputs)
            drawn.node.append(node)
    return drawn


def modules(model: SqueezeNetModel) -> list[Module]:
    """The top-level scopes of a net in the order they run, read from its graph."""
    graph = chapter_graph(model)
    found: dict[str, list[Convolution]] = {}
    outputs = {}
    for operation in graph.get_operations():
        top = operation.name.split("/")[0]
        if operation.type == "Conv2D":
            kernel = tuple(operation.inputs[1].shape.as_list())
            output = tuple(operation.outputs[0].shape.as_list()[1:])
            scope = operation.name.removesuffix("/Conv2D")
            found.setdefault(top, []).append(Convolution(scope, kernel, output))
        if top in found and operation.type in ("Relu", "ConcatV2"):
            outputs[top] = tuple(operation.outputs[0].shape.as_list()[1:])
    return [Module(top, tuple(inside), outputs[top]) for top, inside in found.items()]


def squeeze_ratio(net: list[Module]) -> float:
    """Filters of all squeeze layers divided by output channels of all fire modules (0 if none).

    The paper's SR (section 5.2) for the whole net, whose fire modules may have different ratios.
    """
    fires = [module for module in net if len(module.convolutions) > 1]
    squeezed = sum(module.convolutions[0].kernel[-1] for module in fires)
    return squeezed / max(1, sum(module.output[-1] for module in fires))


def tags(scopes: Sequence[str]) -> dict[str, str]:
    """The TensorBoard tag of each scope: its name, numbered by its place in the net.

    TensorBoard groups tags by the part before the first slash, and sorts numbers in them as
    numbers. So groups and cards follow the order of the net, after the loss and the accuracy.

    Args:
      scopes: of the convolutions, in the order they run: "conv1", "fire1/squeeze", ...

    Returns:
      {"conv1": "scope1_conv1", "fire1/squeeze": "scope2_fire1/1_squeeze", ...}
    """
    modules: dict[str, list[str]] = {}
    for scope in scopes:
        modules.setdefault(scope.split("/")[0], []).append(scope)
    found = {}
    for place, (top, inside) in enumerate(modules.items(), start=1):
        for number, scope in enumerate(inside, start=1):
            _, slash, name = scope.partition("/")
            found[scope] = f"scope{place}_{top}" + (f"/{number}_{name}" if slash else "")
    return found


def table(net: list[Module]) -> list[dict]:
    """A row per scope, each fire module followed by the scopes inside it, and a row of totals.

    Args:
      net: its modules.

    Returns:
      Dictionaries with the keys scope; output, [height, width, channels] (None in the last row);
      formula, the chapter's for a convolution (None for sums); parameters; bytes, as float32;
      multiply_adds, for one image; parameters_share and multiply_adds_share, of the net's total,
      0..1; plain_parameters, of a plain 3x3 convolution with the same input and output, and saved,
      the ratio of these to parameters (None inside a fire module).
    """
    parameters = sum(module.parameters for module in net)
    multiply_adds = sum(module.multiply_adds for module in net)

    def row(scope, output, part, formula, plain):
        return {
            "scope": scope,
            "output": output and list(output),
            "formula": formula,
            "parameters": part.parameters,
            "parameters_share": part.parameters / parameters,
            "bytes": part.parameters * tf.float32.size,
            "multiply_adds": part.multiply_adds,
            "multiply_adds_share": part.multiply_adds / multiply_adds,
            "plain_parameters": plain,
            "saved": plain and plain / part.parameters,
        }

    rows = []
    for module in net:
        first, *others = module.convolutions
        rows.append(
            row(
                module.scope,
                module.output,
                module,
                None if others else first.formula,
                module.plain.parameters,
            )
        )
        rows += [
            row(part.scope, part.output, part, part.formula, None)
            for part in module.convolutions
            if others
        ]
    whole = Module("total", tuple(part for module in net for part in module.convolutions), None)
    plain = sum(module.plain.parameters for module in net)
    return [*rows, row("total", None, whole, None, plain)]
