"""The comparison with other frameworks: the contenders, and how their results are combined."""

from types import SimpleNamespace

import numpy as np
import pytest

import data
from benchmarks import peers
from benchmarks.contenders import course, process, this_project
from reporting.scopes import modules
from squeezenet_model import SqueezeNetModel


def test_a_contender_works_when_it_is_its_turn(tmp_path):
    flags = SimpleNamespace(data_dir=tmp_path, peers_python=tmp_path)
    with process.Contender("", process.Job("this_project", "multiply"), flags) as contender:
        ready, *rates = contender.answer(), contender.take_turn(0.1), contender.take_turn(0.1)
    assert (ready, contender.returncode) == (0, 0)
    # Any machine's; a product that was not computed would be far above.
    assert 1e9 < min(rates) * process.FLOP < max(rates) * process.FLOP < 1e9 * this_project.SIDE**2


@pytest.mark.parametrize(
    "work",
    [this_project.train, this_project.train_v1_1, this_project.classify_v1_1, course.train],
    ids=lambda work: f"{work.__module__}.{work.__name__}",
)
def test_a_loop_takes_the_steps_it_is_told_to(work, monkeypatch):
    digits, steps = data.load("digits"), iter(range(3))
    monkeypatch.setattr(data, "load", lambda *args, **options: digits)
    work(
        SimpleNamespace(
            job=process.Job("", "", 1, ("--batch_size", "1"), num_epochs=0.002, data_dir="unused"),
            dataset=digits,
            steps=lambda **options: steps,
            accuracy=lambda logits_of: logits_of(np.zeros([1, 3, 24, 24])),
        )
    )
    assert [*steps] == []


def test_all_are_tested_on_the_same_central_crops(tiny_dataset):
    def classify(crops):
        np.testing.assert_array_equal(
            crops, tiny_dataset.test.records.reshape(5, 3, 8, 8)[:, :, 1:7, 1:7]
        )
        return np.array([[1, 0, 0]] * 5)

    assert process.Runner.accuracy(SimpleNamespace(dataset=tiny_dataset), classify) == 2 / 5


def test_the_numbers_of_parameters_and_operations_are_those_of_the_net():
    net = modules(SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10))
    assert sum(module.parameters for module in net) == process.PARAMETERS
    assert 3 * 2 * sum(module.multiply_adds for module in net) == process.FLOP


def test_says_how_to_install_the_peers(tmp_path, capsys):
    assert peers.main(["--peers_python", str(tmp_path / "no_python")]) == 2
    assert "no_python: does not exist; benchmarks/requirements-peers.txt" in capsys.readouterr().err


def test_ratios_are_taken_round_by_round():
    assert "3.00 times as fast" in peers.table(
        {peers.OURS: [300.0, 30.0, 600.0], "PyTorch": [100.0, 10.0, 150.0]}
    )
