"""The event files of a run: what they hold, the order they are read in, and disks that are full."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from base import UserError
from reporting.events import EventFile


@pytest.mark.parametrize("seconds", [5, 0, -120], ids=["goes on", "stands still", "is set back"])
def test_a_resumed_run_continues_the_curves_whatever_the_clock_does(tmp_path, monkeypatch, seconds):
    for start, first_step in enumerate((1, 4, 4, 7)):
        now = 1_700_000_000.5 + start * seconds
        monkeypatch.setattr("time.time", lambda now=now: now)
        file = EventFile(tmp_path, first_step)
        for step in range(first_step, first_step + 5):  # the last two are lost by a kill
            file.add_scalars(step, {"loss": first_step + step / 100})
        file.flush()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    points = [(each.step, each.tensor_proto.float_val[0]) for each in events.Tensors("loss")]
    starts = [1] * 3 + [4] * 3 + [7] * 5
    np.testing.assert_allclose(points, [(i, s + i / 100) for i, s in enumerate(starts, 1)], 1e-6)


def test_a_full_disk_is_one_sentence(tmp_path):
    resource = pytest.importorskip("resource", reason="on Windows: no limits")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = EventFile(tmp_path, 0)
    file.add(1, graph_def=bytes(100_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"events .* cannot be written \(.*; free some space"):
            file.flush()
        file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_in_the_folders_place_is_one_sentence(tmp_path):
    (tmp_path / "train").touch()
    with pytest.raises(UserError, match=r"train: the events for TensorBoard cannot be written"):
        EventFile(tmp_path / "train", 0)
