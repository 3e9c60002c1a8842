"""The model with which benchmarks.scaling predicts larger clusters."""

import pytest

from benchmarks.scaling import hops, ring_step

TIMES = {"work": 0.03, "update": 0.001, "transfer": 0.0005}


def test_one_machine_takes_the_step_of_one_process():
    assert ring_step(1, hop=1.0, **TIMES) == pytest.approx(0.031)


def test_each_hop_is_waited_for():
    without, with_latency = (ring_step(8, hop=hop, **TIMES) for hop in (0.0, 0.001))
    assert with_latency - without == pytest.approx(14 * 0.001)


def test_a_gradient_passes_each_link_almost_twice():
    step, faster = (ring_step(8, hop=0.0, **TIMES | {"transfer": t}) for t in (0.0005, 0.0))
    assert step - faster == pytest.approx(2 * 7 / 8 * 0.0005)


def test_two_tasks_need_two_hops():
    assert hops(2) == 2
