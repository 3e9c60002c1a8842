"""The class: the chapter's listing node for node, and the course's other methods."""

import importlib.util
import inspect
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf2

from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import PROJECT, readme_code

MODEL = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)

# Section D of the chapter, as it is printed there (with the underscore of `squeeze_depth` that the
# scan lost, and the indentation that the page break lost).
LISTING = """
import tensorflow as tf

class SqueezeNetModel(object):
    # __init__ and other functions omitted
    # Convolution layer wrapper
    def custom_conv2d(self, inputs, filters, kernel_size, name):
        return tf.layers.conv2d(
            inputs=inputs,
            filters=filters,
            kernel_size=kernel_size,
            activation=tf.nn.relu,
            padding='same',
            name=name)
    # SqueezeNet fire module
    def fire_module(self, inputs, squeeze_depth, expand_depth, name):
        with tf.variable_scope(name):
            squeezed_inputs = self.custom_conv2d(
                inputs,
                squeeze_depth,
                [1, 1],
                'squeeze')
            expand1x1 = self.custom_conv2d(
                squeezed_inputs,
                expand_depth,
                [1, 1],
                'expand1x1')
            expand3x3 = self.custom_conv2d(
                squeezed_inputs,
                expand_depth,
                [3, 3],
                'expand3x3')
            return tf.concat([expand1x1, expand3x3], axis=-1)
"""


def graph_of(method, *arguments) -> tf.GraphDef:
    """The graph that a method builds; Keras draws an initializer's seed from `random`."""
    random.seed(0)
    with tf.Graph().as_default() as graph:
        method(tf.placeholder(tf.float32, [None, 12, 12, 64], name="inputs"), *arguments)
    return graph.as_graph_def()


@pytest.mark.parametrize(
    ("method", "arguments", "convolutions"),
    [("custom_conv2d", (100, [3, 3], "conv"), 1), ("fire_module", (32, 64, "fire1"), 3)],
)
def test_the_listing_builds_the_same_graph(monkeypatch, method, arguments, convolutions):
    monkeypatch.setitem(sys.modules, "tensorflow", tf)  # what the listing imports
    namespace = {}
    exec(LISTING, namespace)
    ours, theirs = (getattr(each, method) for each in (MODEL, namespace["SqueezeNetModel"]()))
    graph = graph_of(ours, *arguments)
    assert graph == graph_of(theirs, *arguments)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert [node.op for node in graph.node].count("Conv2D") == convolutions


class TestImagePreprocessing:
    IMAGE = np.random.default_rng(0).integers(0, 256, [32, 32, 3], np.uint8)
    RECORD = IMAGE.transpose(2, 0, 1).ravel()  # all red values first

    @pytest.mark.parametrize("image", [IMAGE, np.full_like(IMAGE, 7)], ids=["noise", "one color"])
    def test_cuts_out_the_center_and_standardizes_it(self, image):
        output = MODEL.image_preprocessing(image.transpose(2, 0, 1).ravel(), is_training=False)
        center = image[4:28, 4:28].astype(np.float32)
        expected = (center - center.mean()) / (center.std() or 1)
        np.testing.assert_allclose(output, expected, atol=1e-5)

    def test_in_training_gives_every_crop_in_both_directions(self):
        small = SqueezeNetModel(original_dim=4, resize_dim=3, output_size=2)
        image = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
        crops = tf.map_fn(small.random_crop_and_flip, np.stack([image] * 200)).numpy()
        assert {crop.tobytes() for crop in crops} == {
            image[top : top + 3, left : left + 3][:, ::direction].tobytes()
            for top in (0, 1)
            for left in (0, 1)
            for direction in (1, -1)
        }

    @pytest.mark.parametrize(
        "shape",
        [
            *([32, 32, 3], [1, 32, 32, 3], [None, None, 3], [1024, 3]),
            *([3071], [4, 3072], [3, 24, 24], []),
        ],
    )
    def test_rejects_another_shape_and_names_the_right_one(self, shape):
        sentence = r"\[3072\], not .*transpose\(2, 0, 1\).ravel\(\)\.$"
        with tf.Graph().as_default(), pytest.raises(ValueError, match=sentence):
            MODEL.image_preprocessing(tf.placeholder(tf.uint8, shape), is_training=True)

    @pytest.mark.parametrize(
        "shape", [[3072], [3, 32, 32], [3, 1024], [1, 3072], [1, 3, 32, 32], [None], None]
    )
    def test_takes_what_is_or_may_be_channel_major(self, shape):
        with tf.Graph().as_default(), tf.Session() as session:
            data = tf.placeholder(tf.uint8, shape)
            image = MODEL.image_preprocessing(data, is_training=False)
            record = self.RECORD.reshape([size or 3072 for size in shape or [None]])
            assert session.run(image, {data: record}).shape == (24, 24, 3)

    def test_keeps_its_shape_in_a_data_set(self):
        images = tf2.data.Dataset.from_tensor_slices([self.RECORD]).map(
            lambda record: MODEL.image_preprocessing(record, is_training=True)
        )
        assert images.element_spec.shape == [24, 24, 3]


def test_run_model_setup_sets_probabilities_predictions_accuracy_and_loss():
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        MODEL.run_model_setup(tf.random_normal([6, 24, 24, 3]), tf.range(6), is_training=False)
        session.run(tf.global_variables_initializer())
        probs, predictions, accuracy, loss = session.run(
            [MODEL.probs, MODEL.predictions, MODEL.accuracy, MODEL.loss]
        )
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(predictions, probs.argmax(axis=1))
    assert accuracy == pytest.approx(np.mean(predictions == range(6)))
    assert loss == pytest.approx(-np.log(probs[range(6), range(6)]).mean(), rel=1e-5)


def test_dropout_acts_in_training_only():
    ones = np.ones([4, 6, 6, 8], np.float32)
    train, test = (MODEL.custom_dropout(ones, acts) for acts in (True, False))
    assert set(np.unique(train)) == {0, 2}
    np.testing.assert_array_equal(test, ones)


class TestHints:
    """Where TensorFlow would do the wrong thing silently, or say the wrong thing."""

    INPUTS = np.zeros([2, 24, 24, 3], np.float32)

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("fire_module", (4, 8, "fire1")),
            ("model_layers", (False,)),
            ("run_model_setup", (np.zeros([2], np.int32), True)),
        ],
    )
    def test_outside_a_graph_and_twice_in_one_say_what_to_type(self, method, arguments):
        build = getattr(MODEL, method)
        with pytest.raises(RuntimeError, match=r"`with tf\.Graph\(\)\.as_default\(\):`"):
            build(self.INPUTS, *arguments)
        sentence = r"^Variable \S+/kernel already exists in this graph: .*`tf\.reset_default_graph"
        with tf.Graph().as_default():
            build(self.INPUTS, *arguments)
            with pytest.raises(ValueError, match=sentence):
                build(self.INPUTS, *arguments)

    def test_another_error_of_tensorflow_stays_as_it_is(self):
        with tf.Graph().as_default(), pytest.raises(ValueError, match="expected min_ndim=4"):
            MODEL.fire_module(np.zeros([3], np.float32), 4, 8, "fire1")

    def test_nets_may_have_scopes_of_their_own_or_share_their_weights(self):
        with tf.Graph().as_default():
            for name, reuse in (("a", False), ("b", False), ("a", True), ("b", tf.AUTO_REUSE)):
                with tf.variable_scope(name, reuse=reuse):
                    MODEL.model_layers(self.INPUTS, is_training=reuse is False)
            assert [len(tf.trainable_variables(scope)) for scope in ("a/", "b/")] == [28, 28]

    def test_a_template_keeps_its_variables_so_it_works_eagerly_too(self):
        net = tf.make_template("net", MODEL.model_layers, is_training=False)
        np.testing.assert_array_equal(net(self.INPUTS), net(self.INPUTS))
        assert len(net.trainable_variables) == 28
        with pytest.raises(RuntimeError, match="needs a graph"):
            MODEL.model_layers(self.INPUTS, is_training=False)


def test_the_readmes_own_code_runs(capsys):
    exec(readme_code("trainable_variables"), {})
    assert "fire1/expand3x3/kernel" in capsys.readouterr().out


HAS_TF_KERAS = importlib.util.find_spec("tf_keras") is not None
needs_tf_keras = pytest.mark.skipif(not HAS_TF_KERAS, reason="TensorFlow 2.15 brings tf.layers")


def output_of(code, legacy_keras):
    """Of a process of its own, which has imported nothing yet."""
    return subprocess.check_output(
        [sys.executable, "-c", inspect.cleandoc(code)],
        cwd=PROJECT,
        env={**os.environ, "TF_USE_LEGACY_KERAS": legacy_keras},
        text=True,
    ).splitlines()


@needs_tf_keras
def test_the_import_switches_legacy_keras_on_and_programs_of_tensorflow_1_run():
    """They begin with disable_v2_behavior, after which shapes hold Dimension objects."""
    code = """
        import os, tensorflow
        before = dict(os.environ)
        from squeezenet_model import SqueezeNetModel, tf
        assert tensorflow.executing_eagerly()
        print(*(item for item in os.environ.items() if item not in before.items()))
        tf.disable_v2_behavior()
        model = SqueezeNetModel(32, 24, 10)
        for _ in range(2):
            tf.reset_default_graph()
            record = tf.placeholder(tf.uint8, [3072])
            images = model.image_preprocessing(record, is_training=True)[tf.newaxis]
            model.run_model_setup(images, tf.constant([1]), is_training=True)
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                session.run(model.train_op, {record: [value % 256 for value in range(3072)]})
                print(session.run(model.global_step), len(tf.trainable_variables()))
        """
    assert output_of(code, legacy_keras="0") == ["('TF_USE_LEGACY_KERAS', '1')", "1 28", "1 28"]


def test_the_import_without_tf_keras_leaves_keras_alone_and_says_what_to_install():
    """TensorFlow 2.13 to 2.15 have tf.layers without it, unless they are told to look there."""
    code = """
        import os, sys
        sys.modules["tf_keras"] = None
        try:
            import squeezenet_model
            print()
        except ImportError as error:
            print(error)
        print(os.environ["TF_USE_LEGACY_KERAS"])
        """
    sentence, variable = output_of(code, legacy_keras="")
    assert ("pip install tf-keras" in sentence, variable) == (HAS_TF_KERAS, "")


@needs_tf_keras
def test_the_import_after_keras_3_was_bound_says_what_to_import_first():
    code = """
        import tensorflow.compat.v1 as tf
        try:
            tf.layers.conv2d
        except AttributeError:
            pass
        try:
            import squeezenet_model
        except ImportError as error:
            print(error)
        """
    (sentence,) = output_of(code, legacy_keras="0")
    assert "import squeezenet_model before" in sentence
