"""Guarantees that only a long run can show. Marked slow, and skipped by default: pytest -m slow."""

from pathlib import Path

import pytest

from reporting.progress import Progress
from squeezenet_model import SqueezeNetModel
from tests.conftest import short_schedule
from train import train as train_model

resource = pytest.importorskip("resource", reason="on Windows: no resource module")
pytestmark = pytest.mark.slow
MEGABYTE = 1 << 20


class SmallNet(SqueezeNetModel):
    FIRE_PARAMS_1 = ((2, 2, "fire1"),)
    FIRE_PARAMS_2 = ((2, 2, "fire2"),)


def test_memory_does_not_grow_over_20000_steps(tiny_dataset, tmp_path, monkeypatch):
    megabytes = []
    evaluated = Progress.evaluated

    def note(*arguments):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        megabytes.append(pages * resource.getpagesize() / MEGABYTE)
        evaluated(*arguments)

    monkeypatch.setattr(Progress, "evaluated", note)
    model = SmallNet(tiny_dataset.original_dim, tiny_dataset.resize_dim, 3)
    schedule = short_schedule(total_steps=20_000, eval_every=1_000, num_towers=2)
    train_model(model, tiny_dataset, schedule, tmp_path)
    print("memory at each evaluation, in MB:", [round(size) for size in megabytes])
    # The first evaluations fill TensorFlow's pools.
    assert megabytes[-1] < megabytes[4] + 10
