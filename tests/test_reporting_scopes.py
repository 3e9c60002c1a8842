"""The scopes in numbers: read off the graph, and right."""

import pytest

from reporting.scopes import modules, table
from squeezenet_model import SqueezeNetModel


@pytest.fixture(scope="module")
def model():
    return SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)


@pytest.fixture(scope="module")
def rows(model):
    return {row["scope"]: row for row in table(model)}


def test_are_those_of_the_net_in_the_order_they_run(model):
    names = [module.scope for module in modules(model)]
    assert names == ["conv1", "fire1", "fire2", "fire3", "fire4", "final_conv"]


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
    row = rows[scope]
    assert (row["output"], row["parameters"]) == (output, parameters)
    assert row["multiply_adds"] == multiply_adds
    assert row["bytes"] == 4 * parameters


def test_fill_in_the_chapters_formula(rows):
    for row in rows.values():
        if row["formula"]:
            arithmetic = row["formula"].replace("x", "*")
            assert eval(arithmetic) == row["parameters"]


def test_are_compared_with_a_plain_convolution_in_the_same_place(rows):
    assert rows["fire4"]["plain_parameters"] == 9 * 256 * 256 + 256
    assert rows["fire4"]["saved"] == pytest.approx(590_080 / 49_440)
    assert rows["conv1"]["saved"] == 1
    assert rows["fire4/squeeze"]["saved"] is None


def test_share_out_the_whole(rows):
    tops = [row for scope, row in rows.items() if "/" not in scope and scope != "total"]
    assert sum(row["parameters_share"] for row in tops) == pytest.approx(1)
    assert sum(row["multiply_adds_share"] for row in tops) == pytest.approx(1)
    assert rows["total"]["parameters"] == sum(row["parameters"] for row in tops)
