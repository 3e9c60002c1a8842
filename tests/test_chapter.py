"""The chapter's numbers, counted on graphs that the class builds."""

import pytest

from squeezenet_model import SqueezeNetModel, tf

MODEL = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def parameters(scope: str) -> int:
    """Number of parameters in the variables of the default graph whose names start so."""
    return sum(variable.shape.num_elements() for variable in tf.trainable_variables(scope))


def inputs(channels: int) -> tf.Tensor:
    return tf.placeholder(tf.float32, [None, 24, 24, channels])


def test_b_and_c_a_3x3_kernel_is_large_and_an_intermediate_layer_makes_it_small():
    MODEL.custom_conv2d(inputs(50), 100, [3, 3], "plain")
    MODEL.custom_conv2d(inputs(50), 100, [1, 1], "pointwise")
    intermediate = MODEL.custom_conv2d(inputs(50), 10, [1, 1], "both/intermediate")
    MODEL.custom_conv2d(intermediate, 100, [3, 3], "both/after")
    assert parameters("plain/kernel") == 9 * parameters("pointwise/kernel")
    counts = {"plain/": 45_100, "both/intermediate/": 510, "both/": 9_610}
    assert {scope: parameters(scope) for scope in counts} == counts


def test_d_the_expand_layers_have_equally_many_filters_and_are_concatenated():
    output = MODEL.fire_module(inputs(64), 32, 64, "fire")
    assert {v.op.name: v.shape.as_list() for v in tf.trainable_variables("fire/.*/kernel")} == {
        "fire/squeeze/kernel": [1, 1, 64, 32],
        "fire/expand1x1/kernel": [1, 1, 32, 64],
        "fire/expand3x3/kernel": [3, 3, 32, 64],
    }
    assert (output.op.type, output.shape.as_list()) == ("ConcatV2", [None, 24, 24, 2 * 64])


def test_d_a_larger_squeeze_ratio_costs_more_parameters():
    for squeeze_depth in (8, 16, 32):
        MODEL.fire_module(inputs(64), squeeze_depth, 64, f"fire{squeeze_depth}")
    assert parameters("fire8/") < parameters("fire16/") < parameters("fire32/")


def test_the_net_has_146570_parameters_named_by_its_scopes():
    MODEL.model_layers(inputs(3), is_training=True)
    counts = {"conv1": 1_792, "fire1": 22_688, "fire2": 24_736, "fire3": 45_344, "fire4": 49_440}
    assert {scope: parameters(f"{scope}/") for scope in counts} == counts
    assert (parameters("final_conv/"), parameters("")) == (2_570, 146_570)
    fires = [
        f"{fire}/{layer}"
        for fire in list(counts)[1:]
        for layer in ("squeeze", "expand1x1", "expand3x3")
    ]
    assert [variable.name for variable in tf.trainable_variables()] == [
        f"{layer}/{part}:0"
        for layer in ("conv1", *fires, "final_conv")
        for part in ("kernel", "bias")
    ]


def test_the_layers_of_the_net_have_these_shapes(graph):
    logits = MODEL.model_layers(inputs(3), is_training=True)
    shapes = {
        "conv1/Relu": [24, 24, 64],
        "pool1/MaxPool": [12, 12, 64],
        "fire1/concat": [12, 12, 128],
        "fire2/concat": [12, 12, 128],
        "pool2/MaxPool": [6, 6, 128],
        "fire3/concat": [6, 6, 256],
        "fire4/concat": [6, 6, 256],
        "final_conv/Relu": [6, 6, 10],
        logits.op.name: [10],
    }
    for name, shape in shapes.items():
        assert graph.get_tensor_by_name(f"{name}:0").shape.as_list() == [None, *shape], name
    assert logits.op.name.startswith("logits/")
