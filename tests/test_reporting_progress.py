"""What a training step adds to the curves."""

import numpy as np

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
    for step, rows in ((20, measures), (21, measures[:0]), (40, measures + 0.5)):
        progress.step_done(TrainingStep(step, 1.5, 0.5, 0.01, 2.0, rows))
    progress.close()
    events = read_events(tmp_path / "train")
    for tag, values in {
        "loss": [1.5, 1.5],
        "accuracy": [0.5, 0.5],
        "scope1_conv1/kernel/norm": [0, 0.5],
        "scope1_conv1/kernel/gradient_norm": [2, 2.5],
        "scope2_fire1/1_squeeze/kernel/update_ratio": [4, 4.5],
        "scope4_final_conv/kernel/norm": [21, 21.5],
    }.items():
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        assert points == [*zip((20, 40), values, strict=True)]
