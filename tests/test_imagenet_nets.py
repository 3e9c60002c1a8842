"""SqueezeNet v1.0 and v1.1 give torchvision's logits, from the same weights and images."""

import numpy as np
import pytest

from imagenet import SMALLEST_CROP, class_names
from imagenet.nets import MEAN, NETS, STD, SqueezeNet10, SqueezeNet11, variable_shapes
from squeezenet_model import tf
from training.initial_weights import model_scope
from training.ops import preprocessed, standardized
from training.recipe import CHAPTER

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


@pytest.mark.parametrize(
    ("net", "parameters"), [(SqueezeNet10, 1_248_424), (SqueezeNet11, 1_235_496)]
)
def test_logits_are_torchvisions_within_1e_4(net, parameters):
    rng = np.random.RandomState(0)  # the generator whose numbers never change
    weights = {
        name: np.float32(
            rng.standard_normal(shape) * (np.sqrt(2 / np.prod(shape[:-1])) if shape[1:] else 0.1)
        )
        for name, shape in variable_shapes(net, 1_000).items()
    }
    assert sum(array.size for array in weights.values()) == parameters
    for side, expected in TORCH_LOGITS[net].items():
        image = rng.standard_normal([1, side, side, 3]).astype(np.float32)
        with tf.Graph().as_default(), tf.Session() as session:
            logits = net(side, side, 1_000).model_layers(tf.constant(image), is_training=False)
            for variable in tf.trainable_variables():
                variable.load(weights[variable.op.name], session)
            found = session.run(logits)[0]
        np.testing.assert_allclose(found[CLASSES], expected, atol=1e-4, rtol=0)


def test_images_are_the_central_224_of_256_by_mean_and_std():
    model = SqueezeNet11(256, 224, 10)
    records = np.random.default_rng(0).integers(0, 256, [2, 3, 256, 256]).astype(np.float32)
    crops = records[:, :, 16:240, 16:240]
    with tf.Graph().as_default(), tf.Session() as session:
        images, cropped = session.run(
            [
                preprocessed(tf.constant(records.reshape(2, -1)), model),
                standardized(tf.constant(crops.reshape(2, -1)), model),
            ]
        )
    np.testing.assert_allclose(images, (crops.transpose(0, 2, 3, 1) / 255 - MEAN) / STD, atol=1e-5)
    np.testing.assert_array_equal(images, cropped)


@pytest.mark.parametrize("net", TORCH_LOGITS)
def test_a_new_final_conv_starts_small_in_training_too(net):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(0)
        with model_scope(CHAPTER):
            net(64, 64, 100).model_layers(tf.zeros([1, 64, 64, 3]), is_training=True)
        session.run(tf.global_variables_initializer())
        kernel = session.run("final_conv/kernel/Read/ReadVariableOp:0")
    assert kernel.std() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("name", NETS)
def test_the_smallest_crop_is_the_smallest_that_a_net_can_halve_so_often(name):
    def build(dim):
        with tf.Graph().as_default():
            NETS[name](dim, dim, 3).model_layers(tf.zeros([1, dim, dim, 3]), is_training=False)

    build(SMALLEST_CROP[name])
    with pytest.raises(ValueError, match="Negative dimension size"):
        build(SMALLEST_CROP[name] - 1)


def test_class_names_are_imagenets():
    names = class_names()
    assert len(names) == len(set(names)) == 1_000
    assert [names[i] for i in (0, 285, 967)] == ["tench", "Egyptian cat", "espresso"]
