"""python -m tools.scopes: a net's scopes, and comparisons of two runs."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tools import scopes


@pytest.fixture
def run(capsys):
    """Runs the command; returns exit code, stdout and stderr."""
    return lambda *arguments: (scopes.main(list(map(str, arguments))), *capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            [],
            [
                r"scope +output +parameters +share +plain 3x3 +saved +height x .* bytes .*",
                r"conv1 +24x24x64 +1,792 +1\.2% +1,792 +1\.0x +3 x 3 x 64 x 3 \+ 64 .*",
                r"  fire1/squeeze +12x12x32 +2,080 +1\.4% +1 x 1 x 32 x 64 \+ 32 +8,320 "
                r"+294,912 +2\.6%",
                r"fire4 +6x6x256 +49,440 +33\.7% +590,080 +11\.9x +197,760 .*",
                r"total +146,570 +100\.0% +1,131,530 .*",
            ],
        ),
        # The chapter's argument for nets of the paper, and conv1 as it is: no fire module.
        *(
            (
                [name],
                [
                    r"conv1 .* 1\.0x .*",
                    r"fire9 +13x13x512 +197,184 .* 2,359,808 +12\.0x .*",
                    rf"total +{total} .*",
                ],
            )
            for name, total in (("squeezenet1_0", "1,248,424"), ("squeezenet1_1", "1,235,496"))
        ),
    ],
    ids=["chapter", "squeezenet1_0", "squeezenet1_1"],
)
def test_scopes_of_a_net_are_shown_without_a_run(run, tmp_path, monkeypatch, arguments, lines):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(*arguments)
    for line in lines:
        assert re.search(f"^{line}$", out, re.MULTILINE), line
    assert (code, [*tmp_path.iterdir()]) == (0, [])


def test_scopes_of_a_run_are_those_of_its_net(run, trained):
    code, out, _ = run(trained.run_dir, "--json")
    assert (code, json.loads(out)[-1]["parameters"]) == (0, 146_570)


@pytest.fixture(scope="module")
def comparison(trained):
    """An early checkpoint of a run compared with its last one."""
    return scopes.compare(
        scopes.measure(trained.run_dir / "model.ckpt-150"), scopes.measure(trained.run_dir)
    )


def test_a_comparison_says_how_far_each_variable_moved_and_which_relus_are_dead(comparison):
    rows = {row["variable"]: row for row in comparison["variables"]}
    assert [*rows][:3] == ["conv1/kernel", "conv1/bias", "fire1/squeeze/kernel"]
    row = rows["fire1/expand3x3/kernel"]
    assert (len(rows), row["shape"], 0 < row["moved"] < 1) == (28, [[3, 3, 32, 64]] * 2, True)
    assert row["norm"] == pytest.approx([128**0.5] * 2, rel=1e-3)  # 64 filters of length 2**.5
    assert scopes.moved("", np.ones(3), np.ones(4))["moved"] is None  # as the shapes differ
    dead = [row["dead"] for row in comparison["dead_relus"]]
    assert (len(dead), np.min(dead) >= 0, np.max(dead) < 0.5) == (14, True, True)


def test_a_comparison_reads_as_two_tables(comparison):
    text = scopes.shown(comparison)
    assert re.match(r"A  .*model\.ckpt-150\nB  .*model\.ckpt-375\n\nscope ", text)
    assert re.search(r"\ntotal +146,570 +146,570 +- +- +- +-\n\nvariable ", text)
    assert re.search(r"\nfinal_conv/bias +10 +10 +\d+\.\d{3} +\d+\.\d{3} +[\d.]+%$", text)


def test_a_comparison_is_drawn_into_the_folder_of_b(run, comparison, tmp_path, monkeypatch):
    folders = {"a": tmp_path / "digits", "b": tmp_path}
    monkeypatch.setattr(
        scopes, "measure", lambda path: (SimpleNamespace(output_dir=folders[path.name]),)
    )
    monkeypatch.setattr(scopes, "compare", lambda a, b: comparison)
    code, out, _ = run("--compare", "a", "b")
    drawing = tmp_path / "scopes_compared_with_digits.png"
    assert (code, f"saved to {drawing}" in out, Image.open(drawing).width) == (0, True, 800)


def test_a_comparison_with_itself_finds_nothing_moved_and_as_json_draws_nothing(run, trained):
    before = set(trained.run_dir.iterdir())
    _, out, _ = run("--json", "--compare", trained.run_dir, trained.run_dir)
    assert {row["moved"] for row in json.loads(out)["variables"]} == {0}
    assert set(trained.run_dir.iterdir()) == before
