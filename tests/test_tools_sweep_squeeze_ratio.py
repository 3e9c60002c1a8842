"""python -m tools.sweep_squeeze_ratio: a run for each ratio, a table and an image."""

import json

import pytest
from PIL import Image

from reporting.figures import matplotlib_defaults
from tools import sweep_squeeze_ratio as sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a short sweep over two ratios."""
    folder = tmp_path_factory.mktemp("swept")
    assert sweep.main(f"--ratios 0.03125 0.125 --num_epochs 0.2 --sweep_dir {folder}".split()) == 0
    return folder


def test_trains_the_net_of_each_ratio(swept):
    settings, results = (
        [
            json.loads((swept / f"squeeze_ratio_{ratio}" / name).read_text())
            for ratio in ("0.03125", "0.125")
        ]
        for name in ("settings.json", "results.json")
    )
    assert [run["squeeze_ratio"] for run in settings] == [0.03125, 0.125]
    assert [run["fire_params_1"][0][0] for run in settings] == [4, 16]
    assert [run["fire_params_2"][0][0] for run in settings] == [8, 32]
    assert results[0]["parameters"] < results[1]["parameters"] < 146_570


def test_draws_them(swept):
    assert Image.open(swept / "squeeze_ratio.png").size == (700, 450)


def test_counts_parameters_in_plain_numbers(swept):
    results = [
        json.loads((swept / f"squeeze_ratio_{ratio}" / "results.json").read_text())
        for ratio in ("0.03125", "0.125")
    ]
    with matplotlib_defaults():
        figure = sweep.draw(list(zip((0.03125, 0.125), results, strict=True)), "digits")
        figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert "100,000" in labels
    assert not any("$" in label for label in labels)


def test_run_again_trains_nothing_and_prints_the_same(swept, capsys):
    accuracy = json.loads((swept / "squeeze_ratio_0.125" / "results.json").read_text())["accuracy"]
    assert sweep.main(f"--ratios 0.125 --num_epochs 0.2 --sweep_dir {swept}".split()) == 0
    out = capsys.readouterr().out
    assert "epoch" not in out
    assert f"{accuracy:.2%}" in out.split("test accuracy  95% interval")[1]


@pytest.mark.parametrize(
    ("flag", "value"), [("num_epochs", "nan"), ("num_epochs", "0"), ("seed", "-1")]
)
def test_a_wrong_flag_is_one_sentence(flag, value, capsys):
    with pytest.raises(SystemExit) as exit_info:
        sweep.main([f"--{flag}", value])
    assert exit_info.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("ratio", ["0", "0.03", "-1", "nan", "five", "4.5"])
def test_an_invalid_ratio_is_refused(ratio, capsys):
    with pytest.raises(SystemExit) as exit_info:
        sweep.main(["--ratios", ratio])
    assert exit_info.value.code == 2
    assert f"'{ratio}' is not a number from 0.03125 to 4" in capsys.readouterr().err
