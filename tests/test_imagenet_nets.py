"""SqueezeNet v1.0 and v1.1 give torchvision's logits, from the same weights and images."""

import numpy as np
import pytest

from imagenet import class_names
from imagenet.nets import MEAN, NETS, STD, SqueezeNet10, SqueezeNet11, variable_shapes
from squeezenet_model import tf
from training.initial_weights import model_scope
from training.input_pipeline import preprocessed, standardized
from training.recipe import CHAPTER

PAPER_NETS = [SqueezeNet10, SqueezeNet11]


def drawn_weights(rng, shapes: dict) -> dict[str, np.ndarray]:
    """Weights as the fixture below was computed with: seeded, of a length that keeps values."""
    weights = {}
    for name, shape in shapes.items():
        scale = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) == 4 else 0.1
        weights[name] = (rng.standard_normal(shape) * scale).astype(np.float32)
    return weights


# Logits of some classes, by the side of the image. Computed once with PyTorch 2.13.0 from
# torchvision's layers (ceil_mode=True in all max poolings) with the weights and images that the
# test draws again.
CLASSES = [2, 210, 406, 543, 702, 864]
TORCH_LOGITS = {
    SqueezeNet10: {
        224: [8.36859, 8.23819, 3.35942, 6.064, 3.93035, 4.22822],
        225: [8.26468, 8.0654, 3.31178, 5.97254, 3.73906, 4.14471],
        227: [8.33233, 8.2539, 3.31346, 6.04313, 3.89193, 4.20477],
    },
    SqueezeNet11: {
        224: [1.84283, 4.39529, 3.53186, 2.05714, 0.99425, 2.48679],
        225: [1.89241, 4.30614, 3.54794, 1.95527, 0.98595, 2.40701],
        227: [1.83801, 4.44585, 3.60206, 1.95157, 0.9697, 2.44261],
    },
}


@pytest.mark.parametrize("net", PAPER_NETS)
def test_logits_are_torchvisions_within_1e_4(net):
    rng = np.random.RandomState(0)  # the generator whose numbers never change
    weights = drawn_weights(rng, variable_shapes(net, 1_000))
    for side, expected in TORCH_LOGITS[net].items():
        image = rng.standard_normal([1, side, side, 3]).astype(np.float32)
        with tf.Graph().as_default(), tf.Session() as session:
            logits = net(side, side, 1_000).model_layers(tf.constant(image), is_training=False)
            for variable in tf.trainable_variables():
                variable.load(weights[variable.op.name], session)
            found = session.run(logits)[0]
        assert found.shape == (1_000,)
        np.testing.assert_allclose(found[CLASSES], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("net", "parameters"), [(SqueezeNet10, 1_248_424), (SqueezeNet11, 1_235_496)]
)
def test_have_as_many_parameters_as_published(net, parameters):
    shapes = variable_shapes(net, 1_000)
    assert sum(np.prod(shape) for shape in shapes.values()) == parameters
    scopes = list(dict.fromkeys(name.split("/")[0] for name in shapes))
    assert scopes == ["conv1", *(f"fire{number}" for number in range(2, 10)), "final_conv"]


class TestThePreprocessing:
    RECORD = np.random.default_rng(0).integers(0, 256, 3 * 256 * 256).astype(np.uint8)
    IMAGE = RECORD.reshape(3, 256, 256).transpose(1, 2, 0)
    SCALED = (IMAGE / 255 - MEAN) / STD

    def test_is_the_central_224_of_256_by_mean_and_std(self):
        with tf.Graph().as_default(), tf.Session() as session:
            model = SqueezeNet11(256, 224, 10)
            image = session.run(model.image_preprocessing(tf.constant(self.RECORD), False))
        np.testing.assert_allclose(image, self.SCALED[16:240, 16:240], atol=1e-5)

    def test_is_a_random_224_in_training(self):
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(0)
            model = SqueezeNet11(256, 224, 10)
            image = model.image_preprocessing(tf.constant(self.RECORD), is_training=True)
            crops = [session.run(image) for _ in range(4)]
        windows = np.lib.stride_tricks.sliding_window_view(self.SCALED[:, :, 0], (224, 224))
        for crop in crops:
            assert crop.shape == (224, 224, 3)
            both = [crop[..., 0], crop[:, ::-1, 0]]
            first = [abs(windows[..., 0, :] - half[0]).max(-1).min() for half in both]
            assert min(first) < 1e-5
        assert any((crops[0] != crop).any() for crop in crops[1:])

    def test_of_a_batch_is_the_same(self):
        model = SqueezeNet11(256, 224, 10)
        records = np.stack([self.RECORD, 255 - self.RECORD]).astype(np.float32)
        crops = records.reshape(-1, 3, 256, 256)[:, :, 16:240, 16:240].reshape(2, -1)
        with tf.Graph().as_default(), tf.Session() as session:
            images, cropped = session.run(
                [
                    preprocessed(tf.constant(records), model),
                    standardized(tf.constant(crops), model),
                ]
            )
        np.testing.assert_allclose(images[0], self.SCALED[16:240, 16:240], atol=1e-5)
        np.testing.assert_array_equal(images, cropped)


@pytest.mark.parametrize("net", PAPER_NETS)
def test_a_new_final_conv_starts_small_in_training_too(net):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        with model_scope(CHAPTER):
            net(64, 64, 100).model_layers(tf.zeros([1, 64, 64, 3]), is_training=True)
        session.run(tf.global_variables_initializer())
        kernels = {v.op.name: session.run(v) for v in tf.trainable_variables()}
    assert kernels["final_conv/kernel"].std() == pytest.approx(0.01, rel=0.05)
    # The others as everywhere: Glorot's uniform distribution, whose variance is 2 / (in + out).
    assert kernels["fire9/squeeze/kernel"].std() == pytest.approx((2 / (512 + 64)) ** 0.5, rel=0.05)


def test_are_listed_by_name_with_the_chapters():
    assert list(NETS) == ["squeezenet", "squeezenet1_0", "squeezenet1_1"]


def test_class_names_are_imagenets():
    names = class_names()
    assert len(names) == len(set(names)) == 1_000
    assert [names[i] for i in (0, 285, 967)] == ["tench", "Egyptian cat", "espresso"]
