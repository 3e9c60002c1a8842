"""Collapsed training is detected, and reported in one sentence."""

import math

import numpy as np
import pytest

from squeezenet_model import tf
from training import RunError
from training.checkpoints import newest_checkpoint
from training.health import VANISHED, Health
from training.step import TrainingStep


def values(step=1, loss=1.0, gradient_norm=2.0) -> TrainingStep:
    return TrainingStep(step, loss, 0.1, 0.01, gradient_norm, scope_scalars=np.zeros([0, 3]))


@pytest.fixture
def health():
    return Health(num_classes=10)


NAMES = {"loss": "loss", "gradient_norm": "gradient"}


class TestAStep:
    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("name", ["loss", "gradient_norm"])
    def test_without_finite_values_ends_training(self, health, name, number):
        health.check(values(step=6))
        with pytest.raises(
            RunError, match=f"step 7: the {NAMES[name]} is {number}.*smaller --learning_rate"
        ):
            health.check(values(step=7, **{name: number}))


(_, PATIENCE), (_, LONG_PATIENCE) = VANISHED
STUCK = {"loss": math.log(10), "gradient_norm": 0.0}


class TestANetThatOnlyGuesses:
    def test_is_stopped_after_a_while(self, health):
        for step in range(1, PATIENCE):
            health.check(values(step, **STUCK))
        with pytest.raises(
            RunError, match=rf"step {PATIENCE}: the net has died: .*\(2\.303\).*--seed"
        ):
            health.check(values(PATIENCE, **STUCK))

    def test_is_stopped_later_while_its_biases_move(self, health):
        for step in range(1, LONG_PATIENCE):
            health.check(values(step, **(STUCK | {"gradient_norm": 0.05})))
        with pytest.raises(RunError, match=f"for {LONG_PATIENCE:,} steps"):
            health.check(values(LONG_PATIENCE, **(STUCK | {"gradient_norm": 0.05})))

    def test_is_not_stopped_when_it_starts_to_learn(self, health):
        for step in range(10 * PATIENCE):
            learns = step % (PATIENCE - 1) == 0
            health.check(values(step) if learns else values(step, **STUCK))

    @pytest.mark.parametrize("alive", [{"gradient_norm": 0.5}, {"loss": 2.2}])
    def test_is_not_stopped_while_it_has_gradients_or_a_better_loss(self, health, alive):
        for step in range(2 * LONG_PATIENCE):
            health.check(values(step, **(STUCK | alive)))


def doctor(checkpoint: str, name: str, value: float) -> None:
    """Fills one variable of a checkpoint."""
    reader = tf.train.load_checkpoint(checkpoint)
    with tf.Graph().as_default(), tf.Session() as session:
        for key in reader.get_variable_to_shape_map():
            tensor = reader.get_tensor(key)
            filled = np.full_like(tensor, value) if key == name else tensor
            tf.get_variable(key, initializer=filled, use_resource=True)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, checkpoint, write_meta_graph=False)


class TestARealTraining:
    def test_whose_last_relu_has_died_is_stopped(self, train, tmp_path):
        train(total_steps=4)
        doctor(str(tmp_path / "model.ckpt-4"), "final_conv/bias", -1e6)
        with pytest.raises(RunError, match="the net has died"):
            train(total_steps=500)
        assert train.last.loss == pytest.approx(math.log(3))
        assert train.last.gradient_norm == 0
        assert train.last.step == 4 + PATIENCE

    def test_whose_loss_is_nan_keeps_its_last_checkpoint(self, train, tmp_path):
        train(total_steps=4)
        doctor(str(tmp_path / "model.ckpt-4"), "final_conv/kernel", math.inf)
        with pytest.raises(RunError, match=r"step 5: the (loss|gradient) is nan"):
            train(total_steps=6)
        assert newest_checkpoint(tmp_path) == str(tmp_path / "model.ckpt-4")
