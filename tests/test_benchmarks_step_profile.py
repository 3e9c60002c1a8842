"""The profile of a training step."""

from base.files import read_json
from benchmarks import step_profile


def test_shows_the_operations_and_writes_a_trace_for_chrome(tmp_path, monkeypatch, capsys):
    for name in ("WARM_UP_STEPS", "STEPS"):
        monkeypatch.setattr(step_profile, name, 1)
    assert step_profile.main(["--trace", str(tmp_path / "trace.json")]) == 0
    assert "Conv2DBackpropFilter" in capsys.readouterr().out
    assert "Conv2DBackpropFilter" in {
        event.get("name") for event in read_json(tmp_path / "trace.json")["traceEvents"]
    }
