"""Collapsed training is detected, and reported in one sentence."""

import math

import numpy as np
import pytest

from saved.checkpoints import newest_checkpoint
from squeezenet_model import tf
from training.health import VANISHED, Health, TrainingDied
from training.step import TrainingStep

STUCK = {"loss": math.log(10), "gradient_norm": 0.0}


@pytest.fixture
def check():
    """A function that checks a step with these values."""
    health, scalars = Health(num_classes=10), np.zeros([0, 3])
    return lambda step, loss=1.0, gradient_norm=2.0: health.check(
        TrainingStep(step, loss, 0.1, 0.01, gradient_norm, scalars)
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("key", "name"), [("loss", "loss"), ("gradient_norm", "gradient")])
def test_a_step_without_finite_values_ends_training(check, key, name, number):
    check(6)
    with pytest.raises(TrainingDied, match=f"step 7: the {name} is {number}.*smaller --learning"):
        check(7, **{key: number})


@pytest.mark.parametrize(("norm", "patience"), VANISHED)
def test_a_net_that_only_guesses_is_stopped_the_later_the_more_it_moves(check, norm, patience):
    for step in range(1, patience):
        check(step, math.log(10), 0.9 * norm)
    sentence = rf"step {patience}: the net has died: .*\(2\.303\) for {patience:,} steps.*--seed"
    with pytest.raises(TrainingDied, match=sentence):
        check(patience, math.log(10), 0.9 * norm)


@pytest.mark.parametrize(
    ("every", "sign_of_life"),
    [(1, {"gradient_norm": 0.5}), (1, {"loss": 2.2}), (99, {"loss": 2.2, "gradient_norm": 0.5})],
    ids=["has gradients", "is better than guessing", "starts to learn"],
)
def test_a_net_is_not_stopped_while_it(check, every, sign_of_life):
    for step in range(2_000):
        check(step, **(STUCK | (sign_of_life if step % every == 0 else {})))


def test_a_training_that_has_collapsed_keeps_its_checkpoints(train, tmp_path):
    train(total_steps=4)
    checkpoint = str(tmp_path / "model.ckpt-4")
    tensors = {
        name: tf.train.load_variable(checkpoint, name)
        for name, _ in tf.train.list_variables(checkpoint)
    }
    for name, value, sentence, saved_step in (
        ("final_conv/kernel", math.inf, "step 5: the (loss|gradient) is nan", 4),
        ("final_conv/bias", -1e6, "step 104: the net has died", 100),
    ):
        changed = {**tensors, name: np.full_like(tensors[name], value)}
        tf.raw_ops.SaveV2(
            prefix=checkpoint,
            tensor_names=[*changed],
            shape_and_slices=[""] * len(changed),
            tensors=[tf.constant(tensor) for tensor in changed.values()],
        )
        with pytest.raises(TrainingDied, match=sentence):
            train(total_steps=500)
        assert newest_checkpoint(tmp_path) == str(tmp_path / f"model.ckpt-{saved_step}")
