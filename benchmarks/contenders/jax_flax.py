"""The same net in Flax, its whole training step compiled by jax.jit.

Arguments: folder of the images.
"""

import jax
import optax
from flax import linen as nn
from jax import numpy as jnp

from benchmarks.contenders.turns import SEED, Turns, batches, check_parameters, images


class Fire(nn.Module):
    """The chapter's fire module."""

    squeeze: int
    expand: int

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """[batch, height, width, channels] -> [batch, height, width, 2 * expand]."""
        squeezed = nn.relu(nn.Conv(self.squeeze, (1, 1))(inputs))
        expand1x1 = nn.relu(nn.Conv(self.expand, (1, 1))(squeezed))
        expand3x3 = nn.relu(nn.Conv(self.expand, (3, 3))(squeezed))
        return jnp.concatenate([expand1x1, expand3x3], axis=-1)


class SqueezeNet(nn.Module):
    """The chapter's net for ten classes."""

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """[batch, height, width, 3] -> logits [batch, 10]."""
        layer = nn.relu(nn.Conv(64, (3, 3))(inputs))
        layer = nn.max_pool(layer, (2, 2), (2, 2))
        layer = Fire(32, 64)(Fire(32, 64)(layer))
        layer = nn.max_pool(layer, (2, 2), (2, 2))
        layer = Fire(32, 128)(Fire(32, 128)(layer))
        layer = nn.Dropout(0.5, deterministic=False)(layer)
        return nn.relu(nn.Conv(10, (1, 1))(layer)).mean((1, 2))


def standardized(crops: jax.Array) -> jax.Array:
    """[batch, 3, height, width] -> [batch, height, width, 3], as TensorFlow standardizes."""
    inputs = crops.transpose(0, 2, 3, 1)
    smallest = inputs[0].size ** -0.5
    deviation = jnp.maximum(inputs.std((1, 2, 3), keepdims=True), smallest)
    return (inputs - inputs.mean((1, 2, 3), keepdims=True)) / deviation


def main() -> None:
    """Trains until it is stopped."""
    turns = Turns()
    net, optimizer = SqueezeNet(), optax.adam(1e-3)
    key = jax.random.key(SEED)
    dim = 24
    weights = net.init({"params": key, "dropout": key}, jnp.zeros([1, dim, dim, 3]))
    check_parameters(sum(each.size for each in jax.tree.leaves(weights)))
    state = optimizer.init(weights)

    def step(weights, state, key, crops, labels):
        key, dropout_key = jax.random.split(key)

        def loss_of(weights):
            logits = net.apply(weights, standardized(crops), rngs={"dropout": dropout_key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, gradients = jax.value_and_grad(loss_of)(weights)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(weights, updates), state, key, loss

    step = jax.jit(step, donate_argnums=(0, 1, 2))
    for crops, labels in batches(images()):
        weights, state, key, loss = step(weights, state, key, crops, labels)
        loss.block_until_ready()  # otherwise steps would be counted when they are only queued
        turns.step_done()


if __name__ == "__main__":
    main()
