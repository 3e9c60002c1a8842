"""The time until the net is good: which runs are made, kept and compared."""

import json
import re

import pytest

from benchmarks.contenders.process import OURS
from benchmarks.time_to_accuracy import main

COURSE = "the course's loop"


def test_all_finished_runs_are_shown_and_not_repeated(tmp_path, capsys):
    finished = [
        *([OURS, 5.0, seed, 100.0 + seed, 0.77 + seed / 50] for seed in range(3)),
        *([COURSE, 5.0, seed, 300.0, 0.70] for seed in range(3)),
        [OURS, 10.0, 0, 200.0, 0.82],  # of another command
    ]
    results, chart = tmp_path / "results.jsonl", tmp_path / "chart.png"
    results.write_text("\n".join(map(json.dumps, finished)))
    flags = ["--contenders", OURS, COURSE, "--num_epochs", "5", "--chart", str(chart)]
    assert main([*flags, "--results", str(results)]) == 0
    _, *rows = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert rows == [
        f"{OURS} 5 3 101 79.00% 77.00% to 81.00%",
        f"{OURS} 10 1 200 82.00% 82.00% to 82.00%",
        f"{COURSE} 5 3 300 70.00% 70.00% to 70.00%",
    ]
    assert chart.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", rf"{COURSE}: does not run \(.*holds no CIFAR-10"),
        ('{"contender": "train.py"}', "results.jsonl: is not of this command"),
    ],
    ids=["no images", "another file for the results"],
)
def test_says_why_it_cannot_run(content, reason, tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    results.write_text(content)
    flags = ["--data_dir", str(tmp_path), "--contenders", COURSE, "--results", str(results)]
    assert main(flags) == 2
    assert re.search(reason, capsys.readouterr().err)
