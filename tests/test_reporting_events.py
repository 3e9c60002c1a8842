"""The events of a run: their content, and the errors when they cannot be written."""

import numpy as np
import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator

from reporting.events import EventWriters
from squeezenet_model import tf
from tests.conftest import read_events
from training import RunError
from training.evaluation import Evaluation
from training.step import TrainingStep

SCOPES = ["conv1", "fire1/squeeze"]
VALUES = TrainingStep(
    *(20, 1.5, 0.5, 0.001, 2.0), scope_scalars=np.array([[4.0, 2e-3, 1.0], [8.0, 1e-3, 0.5]])
)


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default():  # tf.summary.FileWriter asks for one
        yield


def test_hold_each_steps_values(tmp_path):
    with EventWriters(tmp_path, SCOPES, 1, 1) as events:
        events.write_step(VALUES, 2_000.0)
    train = read_events(tmp_path / "train")
    assert [(event.step, event.value) for event in train.Scalars("loss")] == [(20, 1.5)]
    assert [event.value for event in train.Scalars("images_per_second")] == [2_000.0]


def test_hold_each_scopes_values(tmp_path):
    with EventWriters(tmp_path, SCOPES, 1, 1) as events:
        events.write_step(VALUES, None)
        events.write_step(VALUES._replace(step=21, scope_scalars=np.zeros([0, 3])), None)
    train = read_events(tmp_path / "train")
    for tag, value in {
        "scope1_conv1/kernel/norm": 4.0,
        "scope1_conv1/kernel/update_ratio": 2e-3,
        "scope2_fire1/1_squeeze/kernel/update_ratio": 1e-3,
        "scope2_fire1/1_squeeze/kernel/gradient_norm": 0.5,
    }.items():
        (event,) = train.Scalars(tag)
        assert (event.step, event.value) == (20, pytest.approx(value))


def test_hold_the_zeros_of_an_evaluation(tmp_path):
    weights = {"conv1/kernel": np.ones([3, 3, 3, 4], np.float32)}
    evaluation = Evaluation("model.ckpt-20", 20, None, None, accuracy=0.5, loss=1.0)
    with EventWriters(tmp_path, SCOPES, 1, 1) as events:
        events.write_evaluation(evaluation, weights, {"fire1/squeeze": 0.25})
    events = read_events(tmp_path / "eval")
    (event,) = events.Scalars("scope2_fire1/1_squeeze/activation/zeros")
    assert (event.step, event.value) == (20, 0.25)


def test_of_steps_still_to_come_are_discarded(tmp_path):
    for next_step in (1, 20):
        with EventWriters(tmp_path, SCOPES, next_step, next_step) as events:
            events.write_step(VALUES._replace(loss=float(next_step)), None)
    train = read_events(tmp_path / "train")
    assert [(event.step, event.value) for event in train.Scalars("loss")] == [(20, 20.0)]


def test_a_folder_without_permission_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # nothing else would stop root
    with pytest.raises(RunError, match=r"events .* cannot be written \(no permission"):
        EventWriters(tmp_path, SCOPES, 1, 1)


def test_a_file_in_the_folders_place_is_reported(tmp_path):
    (tmp_path / "train").write_text("")
    with pytest.raises(RunError, match="events for TensorBoard cannot be written"):
        EventWriters(tmp_path, SCOPES, 1, 1)


@pytest.mark.parametrize("error", [IndexError("disk full"), OSError(28, "disk full")])
def test_a_writer_that_died_between_two_flushes_is_reported(tmp_path, monkeypatch, error):
    def died(*args):
        raise error

    with EventWriters(tmp_path, SCOPES, 1, 1) as events:
        monkeypatch.setattr(events.train, "add_summary", died)
        with pytest.raises(RunError, match=r"cannot be written \(.*disk full"):
            events.write_step(VALUES, None)


def test_of_a_new_run_are_discarded_when_it_starts_again(tmp_path):
    weights = {"conv1/kernel": np.ones([3, 3, 3, 4], np.float32)}
    for _ in range(2):  # the first one was killed before its first checkpoint
        with EventWriters(tmp_path, SCOPES, 0, 0) as events:
            events.write_weights(0, weights)
    accumulator = plugin_event_accumulator.EventAccumulator(str(tmp_path / "eval"))
    accumulator.Reload()
    assert [event.step for event in accumulator.Tensors("scope1_conv1/kernel")] == [0]
