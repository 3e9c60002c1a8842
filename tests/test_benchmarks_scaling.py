"""The model with which benchmarks.scaling predicts larger clusters."""

import pytest

from benchmarks import scaling


@pytest.mark.parametrize(
    ("machines", "transfer", "hop", "exchange"),
    [(1, 1.0, 1.0, 0.0), (2, 0.0, 1e-3, 2e-3), (8, 0.0, 1e-3, 14e-3), (8, 4e-4, 0.0, 7e-4)],
    ids=["none alone", "two hops", "each hop is waited for", "each link is passed almost twice"],
)
def test_a_step_takes_the_exchange_longer(machines, transfer, hop, exchange, monkeypatch):
    monkeypatch.setattr(scaling, "SPREAD", 0.0)
    assert scaling.ring_step(machines, 0.03, transfer, hop) == pytest.approx(0.03 + exchange)
