"""SqueezeNet v1.0 and v1.1, the paper's nets (arXiv 1602.07360), from the chapter's fire module.

They differ from torchvision's squeezenet.py only in names: with the same weights and images, the
logits are the same.
"""

import functools

from squeezenet_model import SqueezeNetModel, tf

# Of ImageNet's training images: red, green and blue on a scale of 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class SqueezeNet11(SqueezeNetModel):
    """SqueezeNet v1.1: 1,235,496 parameters with 1,000 classes; as accurate as v1.0, with 2.4
    times less computation. The authors released it after the paper."""

    CONV1 = 64, [3, 3]  # filters, kernel size
    # (squeeze_depth, expand_depth, name); a max pooling comes before each stack.
    FIRE_STACKS: tuple[tuple[tuple[int, int, str], ...], ...] = (
        ((16, 64, "fire2"), (16, 64, "fire3")),
        ((32, 128, "fire4"), (32, 128, "fire5")),
        ((48, 192, "fire6"), (48, 192, "fire7"), (64, 256, "fire8"), (64, 256, "fire9")),
    )

    def standardize(self, image: tf.Tensor) -> tf.Tensor:
        """Normalizes one image, 0..255, by ImageNet's mean and standard deviation."""
        centered = image - tf.constant([255 * mean for mean in MEAN])
        return centered * tf.constant([1 / (255 * std) for std in STD])

    def custom_max_pooling2d(self, inputs: tf.Tensor, name: str) -> tf.Tensor:
        """Max pooling of 3x3 blocks with stride 2, including those cut off by the lower and right
        edges, as in the authors' nets ("ceil mode")."""
        # For even sides, "same" adds the one row below and column to the right that this needs. For
        # odd sides no block is cut off, and "same" would shift them.
        padding = "valid" if inputs.shape[1] % 2 else "same"
        return tf.layers.max_pooling2d(inputs, pool_size=3, strides=2, padding=padding, name=name)

    def model_layers(self, inputs: tf.Tensor, is_training: bool) -> tf.Tensor:
        """Builds the whole net (paper, table 1): standardized images, float32 [batch, resize_dim,
        resize_dim, 3], to logits, float32 [batch, output_size], 0 or more."""
        layer = tf.layers.conv2d(  # no padding, unlike the others
            inputs, *self.CONV1, strides=2, activation=tf.nn.relu, name="conv1"
        )
        for number, fire_params in enumerate(self.FIRE_STACKS, start=1):
            layer = self.custom_max_pooling2d(layer, f"pool{number}")
            layer = self.multi_fire_module(layer, fire_params)
        final_conv = tf.layers.conv2d(
            self.custom_dropout(layer, is_training),
            self.output_size,
            [1, 1],
            activation=tf.nn.relu,
            # The authors' choice: fire9's values reach the hundreds, so larger weights would start
            # at a loss that training cannot recover from.
            kernel_initializer=tf.random_normal_initializer(stddev=0.01),
            name="final_conv",
        )
        return self.get_logits(final_conv)


class SqueezeNet10(SqueezeNet11):
    """SqueezeNet v1.0, the paper's own: 1,248,424 parameters with 1,000 classes."""

    CONV1 = 96, [7, 7]
    FIRE_STACKS = (
        ((16, 64, "fire2"), (16, 64, "fire3"), (32, 128, "fire4")),
        ((32, 128, "fire5"), (48, 192, "fire6"), (48, 192, "fire7"), (64, 256, "fire8")),
        ((64, 256, "fire9"),),
    )


# Every net of this project, by its name in settings.json.
NETS = {
    "squeezenet": SqueezeNetModel,
    "squeezenet1_0": SqueezeNet10,
    "squeezenet1_1": SqueezeNet11,
}


def describe(model: SqueezeNetModel) -> dict:
    """A net's part of settings.json: its name, the sizes of its images, its fire modules."""
    stacks = () if isinstance(model, SqueezeNet11) else ("FIRE_PARAMS_1", "FIRE_PARAMS_2")
    return {
        "net": next(  # a subclass may have other fire modules
            name for base in type(model).__mro__ for name, net in NETS.items() if net is base
        ),
        "original_dim": model.original_dim,
        "resize_dim": model.resize_dim,
        **{stack.lower(): [list(fire) for fire in getattr(model, stack)] for stack in stacks},
    }


@functools.cache
def variable_shapes(net: type[SqueezeNetModel], output_size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a net's variables, by name, in the order they are built. (They do not depend on
    the size of the images.)"""
    with tf.Graph().as_default():
        inputs = tf.placeholder(tf.float32, [1, 64, 64, 3])
        net(64, 64, output_size).model_layers(inputs, is_training=False)
        return {v.op.name: tuple(v.shape.as_list()) for v in tf.trainable_variables()}
