"""The class: the chapter's listing node for node, and the course's other methods."""

import ast
import importlib.util
import inspect
import json
import os
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf2

from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import PROJECT, readme_code

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


@pytest.fixture
def chapter_model(monkeypatch):
    """An object of the chapter's own class; what it imports as tensorflow is TensorFlow 1's API."""
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    namespace = {}
    exec(LISTING, namespace)
    return namespace["SqueezeNetModel"]()


@pytest.fixture
def model():
    return SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)


def graph_def(build) -> tf.GraphDef:
    """The GraphDef that build(inputs) makes; Keras draws an initializer's seed from `random`."""
    random.seed(0)
    with tf.Graph().as_default() as graph:
        build(tf.placeholder(tf.float32, [None, 12, 12, 64], name="inputs"))
    return graph.as_graph_def()


class TestTheListing:
    def test_custom_conv2d_builds_the_same_graph(self, model, chapter_model):
        ours, theirs = (
            graph_def(lambda inputs, m=m: m.custom_conv2d(inputs, 100, [3, 3], "conv"))
            for m in (model, chapter_model)
        )
        assert ours == theirs
        assert len(ours.node) > 10

    def test_fire_module_builds_the_same_graph(self, model, chapter_model):
        ours, theirs = (
            graph_def(lambda inputs, m=m: m.fire_module(inputs, 32, 64, "fire1"))
            for m in (model, chapter_model)
        )
        assert ours == theirs
        assert [node.op for node in ours.node].count("Conv2D") == 3

    def test_another_fire_module_would_be_noticed(self, model, chapter_model):
        assert graph_def(lambda inputs: model.fire_module(inputs, 32, 64, "fire1")) != graph_def(
            lambda inputs: chapter_model.fire_module(inputs, 32, 63, "fire1")
        )

    @pytest.mark.parametrize("method", ["custom_conv2d", "fire_module"])
    def test_has_the_same_arguments_and_the_same_statements(self, method):
        printed = next(node for node in ast.walk(ast.parse(LISTING)) if is_method(node, method))
        source = textwrap.dedent(inspect.getsource(getattr(SqueezeNetModel, method)))
        (ours,) = ast.parse(source).body
        assert ast.get_docstring(ours)
        assert ast.dump(ours.args) == ast.dump(printed.args)
        assert list(map(ast.dump, ours.body[1:])) == list(map(ast.dump, printed.body))


def is_method(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name


def run_python(code: str, **env) -> subprocess.CompletedProcess:
    """Runs code in a process of its own, which has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )


def evaluate(function, *arrays):
    """Runs function on arrays as placeholders, in a graph of its own."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        placeholders = [tf.placeholder(array.dtype, array.shape) for array in arrays]
        outputs = function(*placeholders)
        session.run(tf.global_variables_initializer())
        return session.run(outputs, dict(zip(placeholders, arrays, strict=True)))


class TestImagePreprocessing:
    @pytest.fixture
    def image(self):
        """An image [32, 32, 3] and its record: all red values first."""
        image = np.random.default_rng(0).integers(0, 256, [32, 32, 3], np.uint8)
        return image, image.transpose(2, 0, 1).ravel()

    def test_cuts_out_the_center_and_standardizes_it(self, model, image):
        image, record = image
        output = evaluate(lambda data: model.image_preprocessing(data, is_training=False), record)
        center = image[4:28, 4:28].astype(np.float32)
        np.testing.assert_allclose(output, (center - center.mean()) / center.std(), atol=1e-5)

    def test_in_training_gives_every_crop_in_both_directions(self, model):
        small = SqueezeNetModel(original_dim=4, resize_dim=3, output_size=2)
        image = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
        crops = evaluate(
            lambda image: tf.stack([small.random_crop_and_flip(image) for _ in range(200)]), image
        )
        possible = {
            image[top : top + 3, left : left + 3][:, ::direction].tobytes()
            for top in (0, 1)
            for left in (0, 1)
            for direction in (1, -1)
        }
        assert {crop.tobytes() for crop in crops} == possible

    def test_an_image_of_one_color_gives_zeros_not_nan(self, model):
        record = np.full(3 * 32 * 32, 7, np.uint8)
        output = evaluate(lambda data: model.image_preprocessing(data, is_training=False), record)
        assert not output.any()

    @pytest.mark.parametrize(
        "shape",
        [
            [32, 32, 3],
            [1, 32, 32, 3],
            [1024, 3],
            [3071],
            [4, 3072],
            [3, 24, 24],
            [],
            [None, None, 3],
        ],
    )
    def test_rejects_another_shape_and_names_the_right_one(self, model, shape):
        with (
            tf.Graph().as_default(),
            pytest.raises(ValueError, match=r"\[3072\], not .*transpose\(2, 0, 1\).ravel\(\)\.$"),
        ):
            model.image_preprocessing(tf.placeholder(tf.uint8, shape), is_training=True)

    def test_follows_its_own_advice_about_an_image_with_channels_last(self, model, image):
        image, record = image
        np.testing.assert_array_equal(image.transpose(2, 0, 1).ravel(), record)
        with (
            tf.Graph().as_default(),
            pytest.raises(ValueError, match=r"not \(32, 32, 3\)"),
        ):
            model.image_preprocessing(image, is_training=False)

    @pytest.mark.parametrize(
        "shape", [[3072], [3, 32, 32], [3, 1024], [1, 3072], [1, 3, 32, 32], [None], None]
    )
    def test_takes_what_is_or_may_be_channel_major(self, model, image, shape):
        record = image[1].reshape(shape if shape and shape != [None] else [3072])
        with tf.Graph().as_default(), tf.Session() as session:
            data = tf.placeholder(tf.uint8, shape)
            output = model.image_preprocessing(data, is_training=False)
            fed = session.run(output, {data: record})
        assert fed.shape == (24, 24, 3)


class TestRunModelSetup:
    def test_sets_probabilities_predictions_accuracy_and_loss(self, model):
        images = np.random.default_rng(0).normal(size=[6, 24, 24, 3]).astype(np.float32)
        labels = np.arange(6, dtype=np.int32)

        def build(images, labels):
            model.run_model_setup(images, labels, is_training=False)
            return model.probs, model.predictions, model.accuracy, model.loss

        probs, predictions, accuracy, loss = evaluate(build, images, labels)
        np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(predictions, probs.argmax(axis=1))
        assert accuracy == pytest.approx(np.mean(predictions == labels))
        assert loss == pytest.approx(-np.log(probs[range(6), labels]).mean(), rel=1e-5)

    def test_in_training_a_step_lowers_the_loss(self, model):
        images = np.random.default_rng(0).normal(size=[6, 24, 24, 3]).astype(np.float32)
        labels = np.arange(6, dtype=np.int32)
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(0)
            with tf.variable_scope("", initializer=tf.glorot_uniform_initializer()):
                model.run_model_setup(tf.constant(images), tf.constant(labels), is_training=True)
            session.run(tf.global_variables_initializer())
            losses = [session.run([model.loss, model.train_op])[0] for _ in range(60)]
            assert session.run(model.global_step) == 60
        assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1

    def test_dropout_acts_in_training_only(self, model):
        ones = np.ones([4, 6, 6, 8], np.float32)
        train, test = evaluate(
            lambda x: [model.custom_dropout(x, True), model.custom_dropout(x, False)], ones
        )
        assert set(np.unique(train)) == {0, 2}
        np.testing.assert_array_equal(test, ones)


class TestHints:
    """Where TensorFlow would do the wrong thing silently, or say the wrong thing."""

    @pytest.fixture
    def inputs(self):
        return np.zeros([2, 24, 24, 3], np.float32)

    @pytest.fixture
    def labels(self):
        return np.zeros([2], np.int32)

    @pytest.fixture
    def graph(self):
        with tf.Graph().as_default() as graph:
            yield graph

    def test_outside_a_graph_says_what_to_type(self, model, inputs, labels):
        for build in (
            lambda: model.fire_module(inputs, 4, 8, "fire1"),
            lambda: model.model_layers(inputs, is_training=False),
            lambda: model.run_model_setup(inputs, labels, is_training=True),
        ):
            with pytest.raises(RuntimeError, match=r"`with tf\.Graph\(\)\.as_default\(\):`"):
                build()

    @pytest.mark.parametrize(
        ("method", "arguments", "variable"),
        [
            ("fire_module", (4, 8, "fire1"), "fire1/squeeze/kernel"),
            ("model_layers", (False,), "conv1/kernel"),
        ],
    )
    def test_twice_in_one_graph_says_what_to_type(
        self, graph, model, inputs, method, arguments, variable
    ):
        getattr(model, method)(inputs, *arguments)
        with pytest.raises(ValueError, match=f"^Variable {variable} already exists") as error:
            getattr(model, method)(inputs, *arguments)
        assert "`tf.reset_default_graph()`" in str(error.value)
        assert "`with tf.Graph().as_default():`" in str(error.value)

    def test_another_error_of_tensorflow_stays_as_it_is(self, graph, model):
        with pytest.raises(ValueError, match="expected min_ndim=4"):
            model.fire_module(np.zeros([3], np.float32), 4, 8, "fire1")
        with (
            tf.variable_scope("new", reuse=True),
            pytest.raises(ValueError, match="does not exist"),
        ):
            model.model_layers(np.zeros([1, 24, 24, 3], np.float32), is_training=False)

    def test_without_v2_behavior_it_trains(self):
        """The first line of many TF1 programs, after which shapes hold Dimension objects."""
        process = run_python(
            "import numpy as np\n"
            "from squeezenet_model import SqueezeNetModel, tf\n"
            "tf.disable_v2_behavior()\n"
            "model = SqueezeNetModel(32, 24, 10)\n"
            "record = tf.placeholder(tf.uint8, [3072])\n"
            "images = model.image_preprocessing(record, is_training=True)[tf.newaxis]\n"
            "model.run_model_setup(images, tf.constant([1]), is_training=True)\n"
            "with tf.Session() as session:\n"
            "    session.run(tf.global_variables_initializer())\n"
            "    session.run(model.train_op, {record: np.arange(3072) % 256})\n"
            "    print(session.run(model.global_step))"
        )
        assert process.stdout == "1\n", process.stderr

    def test_after_reset_default_graph_the_net_is_built_again(self, model, inputs):
        process = run_python(
            "from squeezenet_model import SqueezeNetModel, tf\n"
            "tf.disable_eager_execution()\n"
            "model = SqueezeNetModel(32, 24, 10)\n"
            "for _ in range(2):\n"
            "    tf.reset_default_graph()\n"
            "    inputs = tf.placeholder(tf.float32, [None, 24, 24, 3])\n"
            "    model.run_model_setup(inputs, tf.zeros([2], tf.int32), is_training=True)\n"
            "print(len(tf.trainable_variables()))"
        )
        assert process.stdout == "28\n", process.stderr

    @pytest.mark.parametrize("reuse", [True, tf.AUTO_REUSE])
    def test_weights_can_be_shared(self, graph, model, inputs, reuse):
        model.model_layers(inputs, is_training=True)
        with tf.variable_scope(tf.get_variable_scope(), reuse=reuse):
            model.model_layers(inputs, is_training=False)
        assert len(tf.trainable_variables()) == 28

    def test_two_nets_fit_in_one_graph_under_scopes_of_their_own(self, graph, model, inputs):
        for scope in ("student", "teacher"):
            with tf.variable_scope(scope):
                model.model_layers(inputs, is_training=False)
        assert len(tf.trainable_variables()) == 56
        assert len(tf.trainable_variables("teacher/fire1")) == 6

    def test_template_and_wrapped_functions_are_graphs_too(self, model, inputs):
        with tf.Graph().as_default():
            net = tf.make_template("net", model.model_layers, is_training=False)
            assert [net(inputs).shape.as_list() for _ in range(2)] == [[2, 10], [2, 10]]
        signature = [tf.TensorSpec([None, 24, 24, 3])]
        wrapped = tf.wrap_function(lambda x: model.model_layers(x, is_training=False), signature)
        assert wrapped(inputs).shape == [2, 10]
        assert len(wrapped.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)) == 28

    def test_a_template_keeps_its_variables_eagerly_too(self, model, inputs):
        net = tf.make_template("net", model.model_layers, is_training=False)
        np.testing.assert_array_equal(net(inputs), net(inputs))
        assert len(net.trainable_variables) == 28
        with pytest.raises(RuntimeError, match="needs a graph"):
            model.model_layers(inputs, is_training=False)

    def test_preprocessing_runs_eagerly_and_in_a_data_set(self, model):
        records = np.zeros([4, 3072], np.uint8)
        assert model.image_preprocessing(records[0], is_training=False).shape == [24, 24, 3]
        images = tf2.data.Dataset.from_tensor_slices(records).map(
            lambda record: model.image_preprocessing(record, is_training=True)
        )
        assert images.element_spec.shape == [24, 24, 3]


def test_a_subclass_of_three_lines_is_another_net():
    class Smaller(SqueezeNetModel):
        FIRE_PARAMS_1 = ((4, 8, "fire1"),)
        FIRE_PARAMS_2 = ((4, 16, "fire2"), (4, 16, "fire3"))

    with tf.Graph().as_default():
        logits = Smaller(32, 24, 5).model_layers(tf.zeros([2, 24, 24, 3]), is_training=False)
        scopes = {variable.name.split("/")[0] for variable in tf.trainable_variables()}
    assert logits.shape.as_list() == [2, 5]
    assert scopes == {"conv1", "fire1", "fire2", "fire3", "final_conv"}


def test_the_readmes_own_code_runs(capsys):
    exec(readme_code("trainable_variables"), {})
    assert "fire1/expand3x3/kernel" in capsys.readouterr().out


needs_tf_keras = pytest.mark.skipif(
    importlib.util.find_spec("tf_keras") is None, reason="TensorFlow up to 2.15 brings tf.layers"
)


class TestImport:
    @needs_tf_keras
    def test_switches_legacy_keras_on_and_nothing_else(self):
        process = run_python(
            "import json, os, tensorflow\n"
            "before = dict(os.environ)\n"
            "import squeezenet_model\n"
            "assert tensorflow.executing_eagerly()\n"
            "print(json.dumps({k: v for k, v in os.environ.items() if before.get(k) != v}))",
            TF_USE_LEGACY_KERAS="0",
        )
        assert json.loads(process.stdout) == {"TF_USE_LEGACY_KERAS": "1"}

    def test_leaves_keras_alone_where_there_is_no_tf_keras(self):
        """TensorFlow 2.13 to 2.15 have tf.layers without it, unless they are told to look there."""
        process = run_python(
            "import os, sys\n"
            "sys.modules['tf_keras'] = None\n"
            "try: import squeezenet_model\n"
            "except ImportError: pass\n"
            "print(os.environ.get('TF_USE_LEGACY_KERAS'))",
            TF_USE_LEGACY_KERAS="",
        )
        assert process.stdout == "\n", process.stderr

    @needs_tf_keras
    def test_without_tf_keras_says_what_to_install(self):
        process = run_python("import sys; sys.modules['tf_keras'] = None; import squeezenet_model")
        assert process.returncode == 1
        assert "pip install tf-keras" in process.stderr.splitlines()[-1]

    @needs_tf_keras
    def test_after_keras_3_was_bound_says_what_to_import_first(self):
        process = run_python(
            "import tensorflow.compat.v1 as tf\n"
            "try: tf.layers.conv2d\n"
            "except AttributeError: pass\n"
            "import squeezenet_model",
            TF_USE_LEGACY_KERAS="0",
        )
        assert process.returncode == 1
        assert "import squeezenet_model before" in process.stderr.splitlines()[-1]
