"""SqueezeNet as the course chapter "Fire Module" builds it, on today's TensorFlow.

The class below is meant to be read beside the chapter: section D's two methods stand in it as the
chapter prints them, the rest keeps the names that the course's other chapters use.

What importing this module switches, and why: since TensorFlow 2.16 `tf.layers`, which the chapter
calls, exists only in the package tf-keras (Keras 2), and TensorFlow looks for it there when the
environment variable TF_USE_LEGACY_KERAS is "1" at the first use of `tf.layers` or `tf.keras`. This
module sets that variable for its process (and the processes it starts). Nothing else changes: eager
execution stays as it was, so build the net inside `with tf.Graph().as_default():`.
"""

import os
from collections.abc import Sequence

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow.compat.v1 as tf

try:
    tf.layers.conv2d  # noqa: B018  (TensorFlow loads its Keras at this first look, or fails here)
except (AttributeError, ImportError) as error:
    raise ImportError(
        "SqueezeNetModel needs tf.layers, which this process does not have: "
        "run `pip install tf-keras` (the same minor version as tensorflow), "
        "and import squeezenet_model before anything that uses tf.keras or tf.layers."
    ) from error


class SqueezeNetModel:
    """SqueezeNet for small images: 146,570 parameters with 10 classes.

    The fire module is section D of the chapter and section 3.1 of the paper "SqueezeNet:
    AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size" (arXiv 1602.07360).
    """

    # The stack of fire modules, as (squeeze_depth, expand_depth, name): before and after pool2.
    # A subclass that lists others is another net.
    FIRE_PARAMS_1 = ((32, 64, "fire1"), (32, 64, "fire2"))
    FIRE_PARAMS_2 = ((32, 128, "fire3"), (32, 128, "fire4"))

    def __init__(self, original_dim: int, resize_dim: int, output_size: int):
        """Describes the images and the classes; builds nothing yet.

        Args:
          original_dim: side of a stored image, in pixels (CIFAR-10: 32).
          resize_dim: side of the square that is cut out of it and fed to the net, in pixels, at
            most original_dim (CIFAR-10: 24).
          output_size: number of classes (CIFAR-10: 10).
        """
        self.original_dim = original_dim
        self.resize_dim = resize_dim
        self.output_size = output_size
        self.global_step = None  # run_model_setup takes the graph's, unless one is set here

    def random_crop_and_flip(self, float_image: tf.Tensor) -> tf.Tensor:
        """Crops a random square and mirrors it left to right half of the time:
        float32 [original_dim, original_dim, 3] -> [resize_dim, resize_dim, 3]."""
        cropped_image = tf.random_crop(float_image, [self.resize_dim, self.resize_dim, 3])
        return tf.image.random_flip_left_right(cropped_image)

    def image_preprocessing(self, data: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Turns the stored bytes of one image into what the net sees.

        Args:
          data: any numeric type [3 * original_dim * original_dim], values 0..255, channel-major:
            all red values row by row, then green, then blue (the layout of CIFAR-10's files).
          is_training: True for a random crop and flip, False for the central crop.

        Returns:
          float32 [resize_dim, resize_dim, 3] with mean 0 and variance 1 over its values
          (`tf.image.per_image_standardization`).
        """
        float_data = tf.cast(data, tf.float32)
        channels_first = tf.reshape(float_data, [3, self.original_dim, self.original_dim])
        float_image = tf.transpose(channels_first, [1, 2, 0])
        if is_training:
            resized_image = self.random_crop_and_flip(float_image)
        else:
            resized_image = tf.image.resize_image_with_crop_or_pad(
                float_image, self.resize_dim, self.resize_dim
            )
        return self.standardize(resized_image)

    def standardize(self, image: tf.Tensor) -> tf.Tensor:
        """Scales the pixels of one image, 0..255, to the range that the net expects."""
        return tf.image.per_image_standardization(image)

    # Convolution layer wrapper
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
        """Builds the whole net, from images to logits (paper, section 3.3, in small).

        Args:
          inputs: float32 [batch, resize_dim, resize_dim, 3], standardized images.
          is_training: whether dropout is on.

        Returns:
          Logits, float32 [batch, output_size], 0 or more: final_conv ends in a ReLU, as the
          paper's conv10 does.
        """
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
        average_pool = tf.layers.average_pooling2d(
            conv_layer, pool_size=[height, width], strides=1, name="average_pool"
        )
        return tf.layers.flatten(average_pool, name="logits")

    def loss_and_accuracy(self, logits: tf.Tensor, labels: tf.Tensor) -> tuple:
        """The batch's mean cross-entropy in nats and the share it gets right, float32 scalars."""
        with tf.name_scope("loss"):
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=logits
            )
            loss = tf.reduce_mean(cross_entropy)
        with tf.name_scope("accuracy"):
            is_correct = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
            return loss, tf.reduce_mean(tf.cast(is_correct, tf.float32))

    def run_model_setup(self, inputs: tf.Tensor, labels: tf.Tensor, is_training: bool) -> None:
        """Builds the net, its loss and, when training, one step of Adam at its defaults.

        Sets on self:
          probs: float32 [batch, output_size], each row sums to 1.
          predictions: int64 [batch], the most probable class of each image.
          loss, accuracy: as `loss_and_accuracy` returns them.
          train_op, gradients, global_step: when training, the step (`tf.train.AdamOptimizer`), the
            (gradient, variable) pairs it applies, and the number of steps taken so far. A
            global_step that was set before is used.

        Args:
          inputs: float32 [batch, resize_dim, resize_dim, 3], standardized images.
          labels: int32 or int64 [batch], the index of each image's class, 0..output_size - 1.
          is_training: whether dropout is on and train_op is built.
        """
        logits = self.model_layers(inputs, is_training)
        self.probs = tf.nn.softmax(logits, name="probs")
        self.predictions = tf.argmax(self.probs, axis=-1, name="predictions")
        self.loss, self.accuracy = self.loss_and_accuracy(logits, labels)
        if is_training:
            step = self.global_step
            if step is None or step.graph is not tf.get_default_graph():
                self.global_step = tf.train.get_or_create_global_step()
            optimizer = tf.train.AdamOptimizer()
            self.gradients = optimizer.compute_gradients(self.loss)
            self.train_op = optimizer.apply_gradients(self.gradients, self.global_step)
