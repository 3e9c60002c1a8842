"""The same net in Flax, its whole training step compiled by jax.jit."""

import jax
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from jax import numpy as jnp

from benchmarks.contenders.process import PARAMETERS, Runner


def fire_module(inputs: jax.Array, squeeze: int, expand: int) -> jax.Array:
    """The chapter's fire module: [..., channels] -> [..., 2 * expand]."""
    squeezed = nn.relu(nn.Conv(squeeze, (1, 1))(inputs))
    expand1x1 = nn.relu(nn.Conv(expand, (1, 1))(squeezed))
    expand3x3 = nn.relu(nn.Conv(expand, (3, 3))(squeezed))
    return jnp.concatenate([expand1x1, expand3x3], axis=-1)


class SqueezeNet(nn.Module):
    """The chapter's net for ten classes."""

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """[batch, height, width, 3] -> logits [batch, 10]."""
        layer = nn.relu(nn.Conv(64, (3, 3))(inputs))
        layer = nn.max_pool(layer, (2, 2), (2, 2))
        layer = fire_module(fire_module(layer, 32, 64), 32, 64)
        layer = nn.max_pool(layer, (2, 2), (2, 2))
        layer = fire_module(fire_module(layer, 32, 128), 32, 128)
        layer = nn.Dropout(0.5, deterministic=False)(layer)
        return nn.relu(nn.Conv(10, (1, 1))(layer)).mean((1, 2))


def train(runner: Runner) -> None:
    """Adam with its defaults, in turns only."""
    net, key = SqueezeNet(), jax.random.key(runner.job.seed)
    weights = net.init({"params": key, "dropout": key}, jnp.zeros([1, 24, 24, 3]))["params"]
    assert sum(each.size for each in jax.tree.leaves(weights)) == PARAMETERS
    state = TrainState.create(apply_fn=net.apply, params=weights, tx=optax.adam(1e-3))

    def step(state, crops, labels):
        # tf.image.per_image_standardization
        inputs = nn.standardize(crops.transpose(0, 2, 3, 1), axis=(1, 2, 3))
        rngs = {"dropout": jax.random.fold_in(key, state.step)}

        def loss_of(weights):
            logits = state.apply_fn({"params": weights}, inputs, rngs=rngs)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, gradients = jax.value_and_grad(loss_of)(state.params)
        return state.apply_gradients(grads=gradients), loss

    step = jax.jit(step, donate_argnums=0)
    for crops, labels in runner.batches():
        state, loss = step(state, crops, labels)
        loss.block_until_ready()  # otherwise steps would be counted when they are only queued
