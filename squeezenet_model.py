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

    def random_crop_and_flip(self, float_image: tf.Tensor) -> tf.Tensor:
        """Cuts a random square out of an image and mirrors it left to right half of the time.

        Args:
          float_image: float32 [original_dim, original_dim, 3].

        Returns:
          float32 [resize_dim, resize_dim, 3]; every offset and either direction equally likely.
        """
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
        return tf.image.per_image_standardization(resized_image)

    # Convolution layer wrapper
    def custom_conv2d(self, inputs, filters, kernel_size, name):
        """A convolution that keeps height and width, then ReLU (chapter, section D).

        Args:
          inputs: float32 [batch, height, width, channels].
          filters: number of filters, the channels of the result.
          kernel_size: [height, width] of a kernel, in pixels.
          name: scope of the layer's variables, `kernel` [*kernel_size, channels, filters] and
            `bias` [filters].

        Returns:
          float32 [batch, height, width, filters], 0 or more.
        """
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
        """A squeeze layer, then two expand layers side by side (chapter, section D; paper, 3.1).

        Args:
          inputs: float32 [batch, height, width, channels].
          squeeze_depth: filters of the 1x1 squeeze layer.
          expand_depth: filters of each expand layer, 1x1 and 3x3.
          name: variable scope that holds the layers squeeze, expand1x1 and expand3x3.

        Returns:
          float32 [batch, height, width, 2 * expand_depth], 0 or more.
        """
        with tf.variable_scope(name):
            squeezed_inputs = self.custom_conv2d(inputs, squeeze_depth, [1, 1], "squeeze")
            expand1x1 = self.custom_conv2d(squeezed_inputs, expand_depth, [1, 1], "expand1x1")
            expand3x3 = self.custom_conv2d(squeezed_inputs, expand_depth, [3, 3], "expand3x3")
            return tf.concat([expand1x1, expand3x3], axis=-1)

    def custom_max_pooling2d(self, inputs: tf.Tensor, name: str) -> tf.Tensor:
        """Halves height and width: the largest of each 2x2 block.

        Args:
          inputs: float32 [batch, height, width, channels].
          name: name scope of the layer.

        Returns:
          float32 [batch, height // 2, width // 2, channels].
        """
        return tf.layers.max_pooling2d(inputs=inputs, pool_size=[2, 2], strides=2, name=name)

    def multi_fire_module(self, layer: tf.Tensor, params_list: Sequence) -> tf.Tensor:
        """Stacks fire modules.

        Args:
          layer: float32 [batch, height, width, channels].
          params_list: one (squeeze_depth, expand_depth, name) per fire module, first to last.

        Returns:
          float32 [batch, height, width, 2 * the last expand_depth].
        """
        for squeeze_depth, expand_depth, name in params_list:
            layer = self.fire_module(layer, squeeze_depth, expand_depth, name)
        return layer

    def custom_dropout(self, inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Zeroes each value with probability 0.5 and doubles the rest; only when training.

        Args:
          inputs: float32 [batch, height, width, channels].
          is_training: False returns the inputs as they are.

        Returns:
          float32, the shape of the inputs.
        """
        return tf.layers.dropout(inputs, rate=0.5, training=is_training, name="dropout")

    def model_layers(self, inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        """The whole net, from images to logits (paper, section 3.3, in small).

        Args:
          inputs: float32 [batch, resize_dim, resize_dim, 3], standardized images.
          is_training: whether dropout is on.

        Returns:
          Logits, float32 [batch, output_size], 0 or more (final_conv ends in a ReLU, as the
          paper's conv10 does).
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
        """Averages each channel over the whole image.

        Args:
          conv_layer: float32 [batch, height, width, output_size].

        Returns:
          float32 [batch, output_size], the tensor `logits/...`.
        """
        height, width = conv_layer.shape[1:3]
        average_pool = tf.layers.average_pooling2d(
            conv_layer, pool_size=[height, width], strides=1, name="average_pool"
        )
        return tf.layers.flatten(average_pool, name="logits")

    def run_model_setup(self, inputs: tf.Tensor, labels: tf.Tensor, is_training: bool) -> None:
        """Builds the net with its loss and, when training, one optimizer step.

        Sets on self:
          probs: float32 [batch, output_size], each row sums to 1.
          predictions: int64 [batch], the most probable class of each image.
          accuracy: float32 scalar 0..1, share of the batch predicted right.
          loss: float32 scalar, mean cross-entropy of the batch in nats.
          train_op, global_step: when training, one step of Adam at its defaults
            (`tf.train.AdamOptimizer`) and the number of steps taken so far.

        Args:
          inputs: float32 [batch, resize_dim, resize_dim, 3], standardized images.
          labels: int32 [batch], the index of each image's class, 0..output_size - 1.
          is_training: whether dropout is on and train_op is built.
        """
        logits = self.model_layers(inputs, is_training)
        self.probs = tf.nn.softmax(logits, name="probs")
        self.predictions = tf.argmax(self.probs, axis=-1, name="predictions")
        with tf.name_scope("accuracy"):
            is_correct = tf.equal(self.predictions, tf.cast(labels, tf.int64))
            self.accuracy = tf.reduce_mean(tf.cast(is_correct, tf.float32))
        with tf.name_scope("loss"):
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=logits
            )
            self.loss = tf.reduce_mean(cross_entropy)
        if is_training:
            self.global_step = tf.train.get_or_create_global_step()
            self.train_op = tf.train.AdamOptimizer().minimize(self.loss, self.global_step)
