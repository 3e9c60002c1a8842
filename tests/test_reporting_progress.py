"""What a run records by default, and on request."""

import json

import pytest

from tests.conftest import read_events, steps


def test_layers_are_summarized_on_request(train, tmp_path):
    train(total_steps=2, summarize_layers=True)
    tags = read_events(tmp_path / "eval").Tags()
    for name in ("activation", "kernel/gradient"):
        assert f"scope2_fire1/1_squeeze/{name}" in tags["tensors"]


def test_each_scope_has_curves_by_default(train, tmp_path):
    train(total_steps=25, eval_every=20)
    squeeze = "scope2_fire1/1_squeeze"
    for measure in ("norm", "update_ratio", "gradient_norm"):
        assert steps(read_events(tmp_path / "train"), f"{squeeze}/kernel/{measure}") == [20, 25]
    assert steps(read_events(tmp_path / "eval"), f"{squeeze}/activation/zeros") == [20, 25]


@pytest.mark.parametrize("total_steps", [2, 12])
def test_a_step_is_traced_on_request(train, tmp_path, total_steps):
    train(total_steps=total_steps, profile=True)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    traced = {event["args"]["name"] for event in events if event.get("args", {}).get("op")}
    assert any("fire1/squeeze" in name for name in traced)
    assert any("Muon" in name for name in traced)


def test_neither_happens_by_default(train, tmp_path):
    train(total_steps=10)
    assert not (tmp_path / "trace.json").exists()
    assert not any("gradient" in tag for tag in read_events(tmp_path / "eval").Tags()["tensors"])
