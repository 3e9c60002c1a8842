"""What only a long run can show. Marked slow, and skipped by default: pytest -m slow."""

from pathlib import Path

import pytest

from reporting.progress import RunProgress

resource = pytest.importorskip("resource", reason="on Windows: no resource module")


@pytest.mark.slow
def test_memory_does_not_grow_over_20000_steps(train, monkeypatch):
    megabytes = []
    evaluated = RunProgress.evaluated

    def note(*arguments):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        megabytes.append(pages * resource.getpagesize() >> 20)
        evaluated(*arguments)

    monkeypatch.setattr(RunProgress, "evaluated", note)
    train(total_steps=20_000, eval_every=1_000, num_towers=2)
    assert megabytes[-1] < megabytes[4] + 10  # the first evaluations fill TensorFlow's pools
