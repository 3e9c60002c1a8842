"""What a training step adds to the curves and to the speed."""

from types import SimpleNamespace

import numpy as np
import pytest

from reporting.progress import RunProgress
from squeezenet_model import tf
from tests.conftest import read_events, short_schedule
from tests.small_nets import SmallNet
from training.plan import Plan
from training.step import TrainingStep


def test_a_step_has_its_values_and_those_of_each_scope(tiny_dataset, tmp_path):
    plan = Plan(SmallNet(8, 6, 3), tiny_dataset, short_schedule(), tmp_path)
    measures = np.arange(8 * 3).reshape(8, 3)
    with tf.Graph().as_default():
        plan.model.model_layers(tf.zeros([1, 6, 6, 3]), is_training=False)
        progress = RunProgress(plan, tmp_path, 0)
    with progress:
        for step, rows in ((20, measures), (21, measures[:0]), (40, measures + 0.5)):
            progress.step_done(TrainingStep(step, 1.5, 0.5, 0.01, 2.0, rows))
    events = read_events(tmp_path / "train")
    for tag, values in {
        "loss": [1.5, 1.5],
        "accuracy": [0.5, 0.5],
        "scope1_conv1/kernel/norm": [0, 0.5],
        "scope1_conv1/kernel/gradient_norm": [2, 2.5],
        "scope2_fire1/1_squeeze/kernel/update_ratio": [4, 4.5],
        "scope4_final_conv/kernel/norm": [21, 21.5],
    }.items():
        assert [(event.step, event.value) for event in events.Scalars(tag)] == [
            *zip((20, 40), values, strict=True)
        ]


@pytest.mark.parametrize(
    ("ends", "speed"),
    [
        ([5.0], None),
        ([5.0, 5.5], 64),
        ([5.0, 5.25, 6.25], 51.2),  # steps differ
        ([5.0, 5.5, 25.5, 26.0, 46.0], 64),  # Ctrl-Z, for 20 s each time
        ([5.0, 25.0, 25.5], 64),
        ([5.0, 15.0, 55.0], 1.28),  # steps of a large net
    ],
)
def test_the_speed_leaves_out_steps_in_which_the_process_was_stopped(ends, speed):
    progress = SimpleNamespace(_plan=SimpleNamespace(schedule=SimpleNamespace(batch_size=32)))
    assert RunProgress._images_per_second(progress, ends) == speed
