"""python -m tools.sweep_squeeze_ratio: a run for each ratio, a table and an image."""

import re

import pytest
from PIL import Image

from base.files import read_json
from tools import sweep_squeeze_ratio as sweep

RATIOS = 0.03125, 0.125


def read(folder, name):
    """A JSON file of each run."""
    return [read_json(folder / f"squeeze_ratio_{ratio}" / name) for ratio in RATIOS]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a short sweep over two ratios."""
    folder = tmp_path_factory.mktemp("swept")
    assert sweep.main(f"--ratios 0.03125 0.125 --num_epochs 0.2 --sweep_dir {folder}".split()) == 0
    return folder


def test_trains_the_net_of_each_ratio(swept):
    settings, results = read(swept, "settings.json"), read(swept, "results.json")
    assert [
        (run["squeeze_ratio"], run["fire_params_1"][0][0], run["fire_params_2"][0][0])
        for run in settings
    ] == [(RATIOS[0], 4, 8), (RATIOS[1], 16, 32)]
    assert results[0]["parameters"] < results[1]["parameters"] < 146_570


def test_draws_them_with_parameters_in_plain_numbers(swept, tmp_path, monkeypatch):
    image, drawn = Image.open(swept / "squeeze_ratio.png"), []
    assert image.size == (700, 450)
    monkeypatch.setattr(
        "reporting.figures.drawn", lambda figure, dpi: drawn.append(figure) or image
    )
    results = dict(zip(RATIOS, read(swept, "results.json"), strict=True))
    sweep.draw(results, "digits", tmp_path / "image.png")
    drawn[0].canvas.draw()
    labels = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert ("100,000" in labels, any("$" in label for label in labels)) == (True, False)


def test_run_again_trains_nothing_and_prints_the_same(swept, capsys):
    results = read(swept, "results.json")[1]
    assert sweep.main(f"--ratios 0.125 --num_epochs 0.2 --sweep_dir {swept}".split()) == 0
    out = capsys.readouterr().out
    assert "epoch 1" not in out
    assert re.search(rf"95% interval\n0\.125 .* {results['accuracy']:.2%}  [\d.]+% to ", out)


@pytest.mark.parametrize(
    "flags",
    [("--num_epochs", "0"), ("--seed", "-1"), *(("--ratios", x) for x in ("0.03", "nan", "4.5"))],
)
def test_a_wrong_flag_is_one_sentence(flags, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        sweep.main(flags)
    assert capsys.readouterr().err.count("\n") == 1
