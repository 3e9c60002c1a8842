"""The last layer of a net with pretrained weights, fitted before all layers are trained."""

import numpy as np
import pytest

from data import Dataset, Split
from squeezenet_model import SqueezeNetModel, tf
from training import last_layer
from training.batches import batch_at
from training.evaluation import Evaluator
from training.last_layer import compute_features, fit_last_layer

NAMES = "red", "green", "blue"


@pytest.fixture(scope="module")
def dataset():
    """Noise in which the values of one color are higher; its index in NAMES is the label."""
    rng = np.random.default_rng(0)
    labels = np.arange(48, dtype=np.int32) % 3
    images = rng.integers(0, 128, [48, 3, 8, 8], np.uint8)
    images[np.arange(48), labels] += 96
    split = Split(images.reshape(48, -1), labels)
    return Dataset(split, split, NAMES, original_dim=8, resize_dim=6, mirrored=True)


@pytest.fixture(scope="module")
def model():
    return SqueezeNetModel(original_dim=8, resize_dim=6, output_size=3)


def write_checkpoint(path, model, weights=()) -> str:
    """Random weights, except those given by name; they may be of a net with other classes."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        with tf.variable_scope("", initializer=tf.initializers.he_normal()):
            model.model_layers(tf.zeros([1, 6, 6, 3]), is_training=False)
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        for variable in tf.trainable_variables():
            if variable.op.name in weights:
                variable.load(weights[variable.op.name], session)
        return tf.train.Saver().save(session, str(path / "model.ckpt"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Weights of a net for seven other classes."""
    return write_checkpoint(tmp_path_factory.mktemp("other"), SqueezeNetModel(8, 6, 7))


class TestTheFittedLayer:
    @pytest.fixture(autouse=True)
    def large_steps(self, monkeypatch):
        """Random weights give much smaller features than pretrained ones."""
        monkeypatch.setattr(last_layer, "FIT_LEARNING_RATE", 0.05)

    @pytest.fixture
    def fitted(self, model, checkpoint, dataset):
        return fit_last_layer(model, checkpoint, dataset, seed=0)

    def test_has_the_names_and_shapes_of_the_nets_own(self, fitted):
        shapes = {name: value.shape for name, value in fitted.items()}
        assert shapes == {"final_conv/kernel": (1, 1, 256, 3), "final_conv/bias": (3,)}

    def test_tells_the_classes_apart_on_the_weights_it_was_fitted_to(
        self, fitted, model, checkpoint, dataset, tmp_path
    ):
        reader = tf.train.load_checkpoint(checkpoint)
        others = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        complete = write_checkpoint(tmp_path, model, others | fitted)
        with Evaluator(model, dataset.test, NAMES) as evaluator:
            assert evaluator.evaluate(complete).accuracy > 0.9

    def test_is_the_same_for_the_same_seed(self, fitted, model, checkpoint, dataset):
        again = fit_last_layer(model, checkpoint, dataset, seed=0)
        other = fit_last_layer(model, checkpoint, dataset, seed=1)
        for name, value in fitted.items():
            assert value.tobytes() == again[name].tobytes(), name
            assert value.tobytes() != other[name].tobytes(), name

    def test_answers_with_the_class_that_alone_has_a_weight(
        self, model, checkpoint, dataset, tmp_path
    ):
        weights = np.float32([0, 3, 0])
        fitted = fit_last_layer(model, checkpoint, dataset, seed=0, class_weights=weights)
        reader = tf.train.load_checkpoint(checkpoint)
        others = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        with Evaluator(model, dataset.test, NAMES) as evaluator:
            evaluation = evaluator.evaluate(write_checkpoint(tmp_path, model, others | fitted))
        assert set(evaluation.predictions) == {1}


class TestTheFeatures:
    @pytest.fixture
    def computed(self, dataset):
        """The features of a net that leaves the crops as they are."""
        with tf.Graph().as_default(), tf.Session() as session:
            crops = tf.placeholder(tf.float32, [None, 3 * 6 * 6])
            return compute_features(
                session, crops, tf.reshape(crops, [-1, 3, 6, 6]), dataset, seed=5
            )

    def test_are_those_of_the_first_crops_of_training(self, computed, dataset):
        values, labels = computed
        size = last_layer.CROPS_PER_RUN
        crops, crop_labels = batch_at(dataset, size, seed=5, step=1)
        np.testing.assert_array_equal(values[size : 2 * size].reshape(crops.shape), crops)
        np.testing.assert_array_equal(labels[size : 2 * size], crop_labels)

    def test_are_of_each_image_several_times(self, computed, dataset):
        values, labels = computed
        assert len(labels) == last_layer.CROPS_PER_IMAGE * len(dataset.train.labels)
        assert values.dtype == np.float16

    def test_of_many_images_take_no_more_memory(self, dataset, monkeypatch):
        monkeypatch.setattr(last_layer, "MOST_CROPS", 64)
        with tf.Graph().as_default(), tf.Session() as session:
            crops = tf.placeholder(tf.float32, [None, 3 * 6 * 6])
            values, labels = compute_features(
                session, crops, tf.reshape(crops, [-1, 3, 6, 6]), dataset, seed=0
            )
        assert len(values) == len(labels) == 64
