"""The scopes in numbers: read from the graph, and correct."""

import pytest

from reporting.scopes import drawn_graph, modules, table
from squeezenet_model import SqueezeNetModel


@pytest.fixture(scope="module")
def model():
    return SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)


@pytest.fixture(scope="module")
def rows(model):
    return {row["scope"]: row for row in table(modules(model))}


@pytest.mark.parametrize(
    ("scope", "output", "parameters", "multiply_adds"),
    [
        ("conv1", [24, 24, 64], 1_792, 24 * 24 * 27 * 64),
        ("fire1", [12, 12, 128], 22_688, 144 * (64 * 32 + 32 * 64 + 9 * 32 * 64)),
        ("fire1/squeeze", [12, 12, 32], 2_080, 144 * 64 * 32),
        ("fire4/expand3x3", [6, 6, 128], 36_992, 36 * 9 * 32 * 128),
        ("final_conv", [6, 6, 10], 2_570, 36 * 256 * 10),
        ("total", None, 146_570, 11_261_952),
    ],
)
def test_have_these_sizes(rows, scope, output, parameters, multiply_adds):
    sizes = {"output": output, "parameters": parameters, "multiply_adds": multiply_adds}
    assert rows[scope].items() >= (sizes | {"bytes": 4 * parameters}).items()


def test_fill_in_the_chapters_formula(rows):
    convolutions = [row for row in rows.values() if row["formula"]]
    assert len(convolutions) == 1 + 4 * 3 + 1
    for row in convolutions:
        assert eval(row["formula"].replace("x", "*")) == row["parameters"]


def test_are_compared_with_a_plain_convolution_in_the_same_place(rows):
    assert rows["fire4"]["plain_parameters"] == 9 * 256 * 256 + 256
    saved = [rows[scope]["saved"] for scope in ("fire4", "conv1", "fire4/squeeze")]
    assert saved == [pytest.approx(590_080 / 49_440), 1, None]


@pytest.mark.parametrize("share", ["parameters_share", "multiply_adds_share"])
def test_have_shares_that_add_up_to_1(rows, share):
    tops = [row[share] for scope, row in rows.items() if "/" not in scope and scope != "total"]
    assert sum(tops) == pytest.approx(1)


def test_the_drawn_graph_has_the_same_five_nodes_and_no_scope_in_each_convolution(model):
    """TensorBoard gives scopes of the same structure one color if their inner scopes match, too."""
    convolutions = [part.scope for module in modules(model) for part in module.convolutions]
    inside = {
        scope: {
            node.name.removeprefix(f"{scope}/"): node.op
            for node in drawn_graph(model).node
            if node.name.startswith(f"{scope}/")
        }
        for scope in convolutions
    }
    variables, operations = ("kernel", "bias"), ("Conv2D", "BiasAdd", "Relu")
    expected = {**dict.fromkeys(variables, "VariableV2"), **{op: op for op in operations}}
    assert inside == dict.fromkeys(convolutions, expected)
    assert max(node.name.count("/") for node in drawn_graph(model).node) == 2


def test_the_drawn_graph_leads_from_the_images_to_the_loss(model):
    nodes = {node.name: node for node in drawn_graph(model).node}
    assert list(nodes["conv1/Conv2D"].input) == ["input", "conv1/kernel"]
    for node in nodes.values():
        assert {name.split(":")[0].lstrip("^") for name in node.input} <= set(nodes)
