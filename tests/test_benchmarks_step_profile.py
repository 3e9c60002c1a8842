"""The profile of a training step."""

import json

from benchmarks import step_profile


def test_shows_the_operations_and_writes_a_trace_for_chrome(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(step_profile, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(step_profile, "STEPS", 1)
    assert step_profile.main(["--trace", str(tmp_path / "trace.json")]) == 0
    assert "Conv2DBackpropFilter" in capsys.readouterr().out
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert any(event.get("name") == "Conv2DBackpropFilter" for event in events)
