"""The time until the net is good: which runs are made, kept and compared."""

import json

import numpy as np
import pytest

import data
from benchmarks import time_to_accuracy as benchmark
from benchmarks.contenders.whole_run import evaluation_batches
from benchmarks.peers import OURS
from benchmarks.time_to_accuracy import COURSE, KERAS, LEARNING_RATES, Result, Run


@pytest.fixture
def command(tmp_path):
    """The arguments that all tests share: no images and no peers, but a file of results."""
    results = tmp_path / "results.jsonl"
    return ["--data_dir", str(tmp_path), "--results", str(results), "--num_epochs", "5"]


def keep(path, run, seconds, accuracy):
    """Adds a finished run to the file of results."""
    values = {"contender": run.contender, "num_epochs": run.num_epochs, "seed": run.seed}
    values |= {"learning_rate": run.learning_rate, "held_out": run.held_out}
    with open(path, "a") as file:
        print(json.dumps(values | {"seconds": seconds, "accuracy": accuracy}), file=file)


def test_all_finished_runs_are_shown_and_not_repeated(command, tmp_path, capsys):
    for seed, accuracy in enumerate([0.79, 0.81, 0.77]):
        keep(tmp_path / "results.jsonl", Run(OURS, 5.0, seed), 100.0 + seed, accuracy)
        keep(tmp_path / "results.jsonl", Run(COURSE, 5.0, seed), 300.0, 0.70)
    keep(tmp_path / "results.jsonl", Run(OURS, 10.0, 0), 200.0, 0.82)  # of another command
    keep(tmp_path / "results.jsonl", Run(KERAS, 5.0, 0, 1e-3, held_out=5_000), 9.0, 0.9)  # a search
    chart = tmp_path / "chart.png"
    assert benchmark.main([*command, "--contenders", OURS, COURSE, "--chart", str(chart)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"{OURS} 5 3 101 79.00% 77.00% to 81.00%" in lines
    assert f"{OURS} 10 1 200 82.00% 82.00% to 82.00%" in lines
    assert f"78% {OURS} 101 s" in lines
    assert f"80% {OURS} 200 s" in lines
    assert not any(KERAS in line for line in lines)
    assert f"78% {COURSE} not within 300 s" in lines
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_the_shortest_length_that_reaches_a_goal_counts():
    lengths = {5.0: Result(50.0, 0.779), 10.0: Result(90.0, 0.801), 20.0: Result(170.0, 0.82)}
    assert "78%  train.py  90 s" in benchmark.goals({OURS: lengths})


def test_a_contender_that_does_not_run_is_named_with_its_reason(command, capsys):
    assert benchmark.main([*command, "--contenders", COURSE]) == 2
    error = capsys.readouterr().err
    assert "the course's loop: does not run (" in error
    assert "holds no CIFAR-10" in error


def test_both_peers_try_the_same_number_of_learning_rates_on_held_out_images(
    command, tmp_path, capsys
):
    for contender in benchmark.PEERS:
        for rate in benchmark.TRIED_RATES:
            run = Run(contender, benchmark.SEARCHED_LENGTH, 0, rate, benchmark.HELD_OUT)
            keep(tmp_path / "results.jsonl", run, 60.0, rate)
    assert benchmark.main([*command, "--search"]) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith(KERAS)]
    assert len(rows) == len(benchmark.TRIED_RATES)
    assert set(LEARNING_RATES.values()) <= set(benchmark.TRIED_RATES)


def test_all_are_tested_on_the_same_central_crops():
    records = np.arange(2 * 3 * 32 * 32).reshape(2, -1) % 251
    split = data.Split(records.astype(np.uint8), np.array([3, 4], np.int32))
    dataset = data.Dataset(split, split, tuple("0123456789"), 32, 24, mirrored=True)
    ((crops, labels),) = evaluation_batches(dataset)
    images = split.records.reshape(2, 3, 32, 32)
    np.testing.assert_array_equal(crops, images[:, :, 4:28, 4:28])
    assert labels.tolist() == [3, 4]
