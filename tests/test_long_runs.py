"""What only a long run shows. Marked slow, and left out unless asked for: pytest -m slow."""

import resource
from pathlib import Path

import pytest

from squeezenet_model import SqueezeNetModel
from tests.conftest import short_schedule
from training import loop
from training.evaluation import Evaluator
from training.interruption import Interruption

pytestmark = pytest.mark.slow
MEGABYTE = 1 << 20


class SmallNet(SqueezeNetModel):
    FIRE_PARAMS_1 = ((2, 2, "fire1"),)
    FIRE_PARAMS_2 = ((2, 2, "fire2"),)


class MemoryWatcher:
    """Notes the memory of the process at every evaluation."""

    def __init__(self):
        self.megabytes = []

    def stepped(self, values, images_per_second):
        pass

    def evaluated(self, evaluation):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.megabytes.append(pages * resource.getpagesize() / MEGABYTE)


def test_memory_does_not_grow_over_20000_steps(tiny_dataset, tmp_path):
    model = SmallNet(tiny_dataset.original_dim, tiny_dataset.resize_dim, 3)
    schedule = short_schedule(total_steps=20_000, eval_every=1_000, num_towers=2)
    watcher = MemoryWatcher()
    with Evaluator(model, tiny_dataset.test, tiny_dataset.class_names) as evaluator:
        training = loop.Training(model, tiny_dataset, schedule, tmp_path)
        loop.train(training, evaluator, watcher, Interruption())
    print("memory at each evaluation, in MB:", [round(size) for size in watcher.megabytes])
    # The first evaluations fill TensorFlow's pools.
    assert watcher.megabytes[-1] < watcher.megabytes[4] + 10
