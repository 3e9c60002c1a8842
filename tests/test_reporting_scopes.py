"""The scopes in numbers: read from the graph, and correct."""

import pytest

from reporting.scopes import drawn_graph, modules, squeeze_ratio, table, tags, texts
from squeezenet_model import SqueezeNetModel


@pytest.fixture(scope="module")
def model():
    return SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)


@pytest.fixture(scope="module")
def rows(model):
    return {row["scope"]: row for row in table(modules(model))}


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


def test_are_shown_as_text(rows):
    assert texts(rows["fire4"])[:6] == ("fire4", "6x6x256", "49,440", "33.7%", "590,080", "11.9x")
    assert texts(rows["fire1/squeeze"]) == (
        *("  fire1/squeeze", "12x12x32", "2,080", "1.4%", "", "", "1 x 1 x 32 x 64 + 32"),
        *("8,320", "294,912", "2.6%"),
    )
    assert texts(rows["total"])[:5] == ("total", "", "146,570", "100.0%", "1,131,530")


def test_have_shares_that_add_up_to_1(rows):
    tops = [row for scope, row in rows.items() if "/" not in scope and scope != "total"]
    assert sum(row["parameters_share"] for row in tops) == pytest.approx(1)
    assert sum(row["multiply_adds_share"] for row in tops) == pytest.approx(1)
    assert rows["total"]["parameters"] == sum(row["parameters"] for row in tops)


class TestTags:
    def test_number_the_scopes_in_the_order_of_the_net(self, model):
        scopes = [part.scope for module in modules(model) for part in module.convolutions]
        found = tags(scopes)
        assert list(found) == scopes
        assert found["conv1"] == "scope1_conv1"
        assert found["fire1/squeeze"] == "scope2_fire1/1_squeeze"
        assert found["fire4/expand3x3"] == "scope5_fire4/3_expand3x3"
        assert found["final_conv"] == "scope6_final_conv"
        assert list(found.values()) == sorted(found.values())


class TestTheDrawnGraph:
    """TensorBoard gives scopes of the same structure one color if their inner scopes match, too."""

    @pytest.fixture
    def scopes(self, model):
        """The operation of each node by its name, for each scope."""
        found = {}
        for node in drawn_graph(model).node:
            scope, _, name = node.name.rpartition("/")
            found.setdefault(scope, {})[name] = node.op
        return found

    def test_has_the_same_nodes_in_each_convolution(self, scopes):
        convolution = {
            "kernel": "VariableV2",
            "bias": "VariableV2",
            "Conv2D": "Conv2D",
            "BiasAdd": "BiasAdd",
            "Relu": "Relu",
        }
        assert scopes["conv1"] == scopes["final_conv"] == convolution
        for fire in ("fire1", "fire2", "fire3", "fire4"):
            for layer in ("squeeze", "expand1x1", "expand3x3"):
                assert scopes[f"{fire}/{layer}"] == convolution

    def test_has_no_scope_inside_a_convolution(self, scopes):
        assert "conv1/Conv2D" not in scopes
        assert not any(scope.count("/") > 1 for scope in scopes)

    def test_leads_from_the_images_to_the_loss(self, model):
        nodes = {node.name: node for node in drawn_graph(model).node}
        assert list(nodes["conv1/Conv2D"].input) == ["input", "conv1/kernel"]
        for node in nodes.values():
            assert {name.split(":")[0].lstrip("^") for name in node.input} <= set(nodes)
        assert {"labels", "probs", "predictions"} <= set(nodes)


class TestTheSqueezeRatio:
    def test_of_the_chapters_net(self, model):
        assert squeeze_ratio(modules(model)) == pytest.approx(4 * 32 / (2 * 128 + 2 * 256))

    def test_of_a_net_of_the_sweep_is_the_one_it_was_built_with(self):
        model = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)
        model.FIRE_PARAMS_1 = ((64, 64, "fire1"), (64, 64, "fire2"))
        model.FIRE_PARAMS_2 = ((128, 128, "fire3"), (128, 128, "fire4"))
        assert squeeze_ratio(modules(model)) == 0.5
