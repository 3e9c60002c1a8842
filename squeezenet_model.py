"""SqueezeNet as the course chapter "Fire Module" builds it, on today's TensorFlow.

Read the class beside the chapter: it has section D's two methods as the chapter prints them, and
the names of the course's other chapters. Importing this module sets one environment variable:
TensorFlow 2.16 and later find the chapter's `tf.layers` only in the package tf-keras, and only if
TF_USE_LEGACY_KERAS is "1" at the first use of `tf.layers` or `tf.keras`.
"""

import functools
import importlib.util
import os
from collections.abc import Sequence

if importlib.util.find_spec("tf_keras"):  # up to TensorFlow 2.15, tf.layers works without it
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow.compat.v1 as tf

try:
    tf.layers.conv2d  # noqa: B018  (TensorFlow loads its Keras at this first look, or fails here)
except (AttributeError, ImportError) as error:
    raise ImportError(
        "SqueezeNetModel needs tf.layers: run `pip install tf-keras` (the same minor version as "
        "tensorflow), and import squeezenet_model before anything that uses tf.keras or tf.layers."
    ) from error


def with_hints(custom_conv2d):
    """Says what to type where there is no graph, or where the graph has these variables already."""

    @functools.wraps(custom_conv2d)
    def custom_conv2d_with_hints(self, inputs, filters, kernel_size, name):
        if tf.executing_eagerly():  # each call would make new variables, which nothing could train
            raise RuntimeError(
                "SqueezeNetModel needs a graph: type `with tf.Graph().as_default():` above the "
                "code that builds the net, its inputs and its session, and indent that code."
            )
        try:
            return custom_conv2d(self, inputs, filters, kernel_size, name)
        except ValueError as error:
            if "already exists, disallowed" not in str(error):
                raise
            raise ValueError(
                f"{str(error).split(',')[0]} in this graph: to build the net anew, type "
                "`tf.reset_default_graph()` or `with tf.Graph().as_default():` above it; to share "
                "its weights, `with tf.variable_scope(tf.get_variable_scope(), reuse=True):`."
            ) from None

    return custom_conv2d_with_hints


class SqueezeNetModel:
    """SqueezeNet for small images: 146,570 parameters with 10 classes. Its fire modules are those
    of the chapter's section D and of the SqueezeNet paper's section 3.1 (arXiv 1602.07360)."""

    # (squeeze_depth, expand_depth, name) before and after pool2; a subclass may list others.
    FIRE_PARAMS_1 = ((32, 64, "fire1"), (32, 64, "fire2"))
    FIRE_PARAMS_2 = ((32, 128, "fire3"), (32, 128, "fire4"))

    def __init__(self, original_dim: int, resize_dim: int, output_size: int):
        """Takes the side of a stored image in pixels (CIFAR-10: 32), the side of the square that
        is cropped from it for the net (24), and the number of classes (10). Builds nothing yet."""
        self.original_dim = original_dim
        self.resize_dim = resize_dim
        self.output_size = output_size
        self.global_step = None  # run_model_setup takes the graph's, unless one is set here

    def random_crop_and_flip(self, float_image: tf.Tensor) -> tf.Tensor:
        """Crops a random square of side resize_dim, mirrored left to right half of the time."""
        cropped_image = tf.random_crop(float_image, [self.resize_dim, self.resize_dim, 3])
        return tf.image.random_flip_left_right(cropped_image)

    def image_preprocessing(self, data: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Crops one image, at random if is_training and else its center, and standardizes it:
        numbers [3 * original_dim * original_dim], 0..255, channel-major (all red values row by
        row, then green, then blue) -> float32 [resize_dim, resize_dim, 3], mean 0, variance 1."""
        float_data = tf.cast(data, tf.float32)
        channel_major = [3, self.original_dim, self.original_dim]
        flat = [3 * self.original_dim**2]
        if not any(map(float_data.shape.is_compatible_with, (flat, channel_major))):
            raise ValueError(
                f"image_preprocessing needs one image of shape {flat}, not {float_data.shape}: "
                "an array [height, width, 3] becomes one by image.transpose(2, 0, 1).ravel()."
            )
        float_image = tf.transpose(tf.reshape(float_data, channel_major), [1, 2, 0])
        if is_training:
            resized_image = self.random_crop_and_flip(float_image)
        else:
            dims = (self.resize_dim, self.resize_dim)
            resized_image = tf.image.resize_image_with_crop_or_pad(float_image, *dims)
        return self.standardize(resized_image)

    def standardize(self, image: tf.Tensor) -> tf.Tensor:
        """Scales the pixels of one image, 0..255, to the range that the net expects."""
        return tf.image.per_image_standardization(image)

    # Convolution layer wrapper
    @with_hints
    def custom_conv2d(self, inputs, filters, kernel_size, name):
        """A convolution with ReLU that keeps height and width (chapter, section D):
        float32 [batch, height, width, channels] -> [batch, height, width, filters]."""
        return tf.layers.conv2d(
            inputs=inputs,
            filters=filters,
            kernel_size=kernel_size,
            activation=tf.nn.relu,
            padding="same",
            name=name,
        )

    # SqueezeNet fire module
    def fire_module(self, inputs, squeeze_depth, expand_depth, name):
        """Squeezes the channels, then expands them twice, side by side (chapter, section D):
        float32 [batch, height, width, channels] -> [batch, height, width, 2 * expand_depth]."""
        with tf.variable_scope(name):
            squeezed_inputs = self.custom_conv2d(inputs, squeeze_depth, [1, 1], "squeeze")
            expand1x1 = self.custom_conv2d(squeezed_inputs, expand_depth, [1, 1], "expand1x1")
            expand3x3 = self.custom_conv2d(squeezed_inputs, expand_depth, [3, 3], "expand3x3")
            return tf.concat([expand1x1, expand3x3], axis=-1)

    def custom_max_pooling2d(self, inputs: tf.Tensor, name: str) -> tf.Tensor:
        """Keeps the largest value of each 2x2 block, which halves height and width."""
        return tf.layers.max_pooling2d(inputs=inputs, pool_size=[2, 2], strides=2, name=name)

    def multi_fire_module(self, layer: tf.Tensor, params_list: Sequence) -> tf.Tensor:
        """Stacks fire modules, one for each (squeeze_depth, expand_depth, name) in params_list."""
        for squeeze_depth, expand_depth, name in params_list:
            layer = self.fire_module(layer, squeeze_depth, expand_depth, name)
        return layer

    def custom_dropout(self, inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Zeroes each value with probability 0.5 and doubles the rest; only when training."""
        return tf.layers.dropout(inputs, rate=0.5, training=is_training, name="dropout")

    def model_layers(self, inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Builds the net (paper, section 3.3), with dropout if is_training: standardized images,
        float32 [batch, resize_dim, resize_dim, 3] -> logits, float32 [batch, output_size].
        No logit is below 0: final_conv ends in a ReLU, as the paper's conv10 does."""
        conv1 = self.custom_conv2d(inputs, 64, [3, 3], "conv1")
        pool1 = self.custom_max_pooling2d(conv1, "pool1")
        fire_stack1 = self.multi_fire_module(pool1, self.FIRE_PARAMS_1)
        pool2 = self.custom_max_pooling2d(fire_stack1, "pool2")
        fire_stack2 = self.multi_fire_module(pool2, self.FIRE_PARAMS_2)
        dropout = self.custom_dropout(fire_stack2, is_training)
        final_conv = self.custom_conv2d(dropout, self.output_size, [1, 1], "final_conv")
        return self.get_logits(final_conv)

    def get_logits(self, conv_layer: tf.Tensor) -> tf.Tensor:
        """Averages each channel over the whole image: float32 [batch, output_size], `logits`."""
        height, width = conv_layer.shape[1:3]
        pool = tf.layers.average_pooling2d(conv_layer, [height, width], 1, name="average_pool")
        return tf.layers.flatten(pool, name="logits")

    def loss_and_accuracy(self, logits: tf.Tensor, labels: tf.Tensor) -> tuple:
        """The batch's mean cross-entropy in nats and the share it gets right, float32 scalars."""
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            )
        with tf.name_scope("accuracy"):
            is_correct = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
            return loss, tf.reduce_mean(tf.cast(is_correct, tf.float32))

    def run_model_setup(self, inputs: tf.Tensor, labels: tf.Tensor, is_training: bool) -> None:
        """Builds the net for standardized images and labels (int32 or int64 [batch]), and sets
        probs (float32 [batch, output_size]), predictions (int64 [batch]), loss and accuracy; if
        is_training also train_op (Adam at its defaults), the gradients it applies, as
        (gradient, variable) pairs, and global_step, unless it was set before."""
        logits = self.model_layers(inputs, is_training)
        self.probs = tf.nn.softmax(logits, name="probs")
        self.predictions = tf.argmax(self.probs, axis=-1, name="predictions")
        self.loss, self.accuracy = self.loss_and_accuracy(logits, labels)
        if is_training:
            if getattr(self.global_step, "graph", None) is not tf.get_default_graph():
                self.global_step = tf.train.get_or_create_global_step()
            optimizer = tf.train.AdamOptimizer()
            self.gradients = optimizer.compute_gradients(self.loss)
            self.train_op = optimizer.apply_gradients(self.gradients, self.global_step)
