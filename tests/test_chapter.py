"""The chapter's numbers, counted on graphs that the class builds."""

import pytest

from squeezenet_model import SqueezeNetModel, tf


def parameters(scope: str) -> int:
    """Number of parameters in the variables of a scope of the default graph."""
    variables = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope=f"{scope}/")
    return sum(variable.shape.num_elements() for variable in variables)


def weights(scope: str) -> int:
    """Number of weights (no biases) of a scope of the default graph."""
    variables = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope=f"{scope}/.*kernel")
    return sum(variable.shape.num_elements() for variable in variables)


@pytest.fixture
def model():
    return SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default():
        yield


def inputs(channels: int, dim: int = 24) -> tf.Tensor:
    return tf.placeholder(tf.float32, [None, dim, dim, channels])


def test_b_a_3x3_kernel_has_9_times_the_weights_of_a_1x1_kernel(model):
    model.custom_conv2d(inputs(50), 100, [3, 3], "large")
    model.custom_conv2d(inputs(50), 100, [1, 1], "small")
    assert weights("large") == 9 * weights("small")


class TestCAnIntermediateLayer:
    def test_the_plain_layer_has_45100_parameters(self, model):
        model.custom_conv2d(inputs(50), 100, [3, 3], "plain")
        assert parameters("plain") == 45_100

    def test_the_intermediate_layer_has_510_and_the_two_together_9610(self, model):
        intermediate = model.custom_conv2d(inputs(50), 10, [1, 1], "intermediate")
        model.custom_conv2d(intermediate, 100, [3, 3], "after")
        assert intermediate.shape[-1] == 10
        assert parameters("intermediate") == 510
        assert parameters("intermediate") + parameters("after") == 9_610

    def test_the_factor_is_nearly_5(self, model):
        model.custom_conv2d(inputs(50), 100, [3, 3], "plain")
        model.custom_conv2d(
            model.custom_conv2d(inputs(50), 10, [1, 1], "both/intermediate"),
            100,
            [3, 3],
            "both/after",
        )
        assert 4.5 < parameters("plain") / parameters("both") < 5


class TestDTheFireModule:
    def test_its_expand_layers_have_an_equal_number_of_filters(self, model):
        model.fire_module(inputs(64), 32, 64, "fire")
        shapes = {v.op.name: v.shape.as_list() for v in tf.trainable_variables()}
        assert shapes["fire/squeeze/kernel"] == [1, 1, 64, 32]
        assert shapes["fire/expand1x1/kernel"] == [1, 1, 32, 64]
        assert shapes["fire/expand3x3/kernel"] == [3, 3, 32, 64]

    def test_the_concatenation_doubles_the_channels_and_keeps_the_size(self, model):
        output = model.fire_module(inputs(64), 32, 64, "fire")
        assert output.op.type == "ConcatV2"
        assert output.shape.as_list() == [None, 24, 24, 2 * 64]

    def test_a_larger_squeeze_ratio_costs_more_parameters(self, model):
        for squeeze_depth in (8, 16, 32):
            model.fire_module(inputs(64), squeeze_depth, 64, f"squeeze_{squeeze_depth}")
        counts = [parameters(f"squeeze_{squeeze_depth}") for squeeze_depth in (8, 16, 32)]
        assert counts == sorted(set(counts))


class TestTheNet:
    @pytest.fixture(autouse=True)
    def logits(self, model, graph):
        return model.model_layers(inputs(3), is_training=True)

    def test_has_146570_parameters(self):
        assert parameters(".*") == 146_570
        assert (
            sum(v.shape.num_elements() * v.dtype.size for v in tf.trainable_variables()) == 586_280
        )

    @pytest.mark.parametrize(
        ("scope", "count"),
        [
            ("conv1", 1_792),
            ("fire1", 22_688),
            ("fire2", 24_736),
            ("fire3", 45_344),
            ("fire4", 49_440),
            ("final_conv", 2_570),
        ],
    )
    def test_has_these_parameters_in_each_scope(self, scope, count):
        assert parameters(scope) == count

    @pytest.mark.parametrize(
        ("tensor", "shape"),
        [
            ("conv1/Relu:0", [24, 24, 64]),
            ("pool1/MaxPool:0", [12, 12, 64]),
            ("fire1/concat:0", [12, 12, 128]),
            ("fire2/concat:0", [12, 12, 128]),
            ("pool2/MaxPool:0", [6, 6, 128]),
            ("fire3/concat:0", [6, 6, 256]),
            ("fire4/concat:0", [6, 6, 256]),
            ("final_conv/Relu:0", [6, 6, 10]),
        ],
    )
    def test_has_these_shapes(self, tensor, shape):
        assert tf.get_default_graph().get_tensor_by_name(tensor).shape.as_list() == [None, *shape]

    def test_ends_in_one_logit_per_class(self, logits):
        assert logits.op.name.startswith("logits/")
        assert logits.shape.as_list() == [None, 10]

    def test_names_every_variable_by_its_scopes(self):
        layers = ["conv1"]
        for fire in ("fire1", "fire2", "fire3", "fire4"):
            layers += [f"{fire}/squeeze", f"{fire}/expand1x1", f"{fire}/expand3x3"]
        layers.append("final_conv")
        expected = [f"{layer}/{part}:0" for layer in layers for part in ("kernel", "bias")]
        assert [variable.name for variable in tf.trainable_variables()] == expected
