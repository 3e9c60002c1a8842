"""The inference graph: the chapter's net, with images as they are stored."""

import numpy as np
import pytest

from base import UserError
from evaluation.inference import InferenceNet, batch_size_for, load_net
from squeezenet_model import SqueezeNetModel, tf
from tests.small_nets import SmallNet, save_net
from training.batches import records_to_images


@pytest.fixture
def run(tmp_path):
    return save_net(tmp_path, SmallNet(8, 6, 3))


def test_images_get_the_chapters_preprocessing_and_its_net(run, tiny_dataset):
    records = tiny_dataset.test.records
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.stack([run.model.image_preprocessing(record, False) for record in records])
        probs = tf.nn.softmax(run.model.model_layers(inputs, is_training=False))
        tf.train.Saver().restore(session, run.checkpoint)
        expected = session.run(probs)
    images = records_to_images(records, 8)
    assert (images.shape, images.dtype) == ((5, 8, 8, 3), np.uint8)
    with load_net(run) as net:
        np.testing.assert_allclose(net.probabilities(images), expected, rtol=1e-5)
        with net.session.graph.as_default():  # another copy of the net, with the same variables
            copy = net.session.run(net.build(tf.constant(images, tf.float32)))
        np.testing.assert_allclose(copy, expected, rtol=1e-5)


def test_in_bfloat16_the_probabilities_are_almost_the_same(run, tiny_dataset):
    images = records_to_images(tiny_dataset.test.records, 8)
    with load_net(run) as net, load_net(run, "bfloat16") as fast:
        assert 0 < abs(net.probabilities(images) - fast.probabilities(images)).max() < 0.01
        assert {relu.dtype.name for relu in fast.run(fast.relus, images).values()} == {"float32"}


def test_the_output_of_each_relu_is_found_by_its_scope(run):
    with load_net(run) as net:
        maps = net.run(net.relus, np.zeros([2, 8, 8, 3]))
    assert [*maps] == [variable.op.name[:-7] for variable in net.variables[::2]]
    assert maps["fire1/expand3x3"].shape == (2, 3, 3, 8)
    assert maps["final_conv"].shape == (2, 1, 1, 3)


def test_a_checkpoint_of_another_net_is_refused(run):
    with InferenceNet(SqueezeNetModel(8, 6, 3)) as net, pytest.raises(UserError, match="fire1/"):
        net.restore(run.checkpoint)


@pytest.mark.parametrize(("dim", "expected"), [(24, 250), (12, 250), (48, 62), (2_400, 1)])
def test_fewer_large_images_are_evaluated_at_once(dim, expected):
    assert batch_size_for(SqueezeNetModel(dim, dim, 3), 250) == expected
