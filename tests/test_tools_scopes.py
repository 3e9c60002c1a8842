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

    def function(*arguments):
        code = scopes.main(list(map(str, arguments)))
        return code, *capsys.readouterr()

    return function


def test_without_a_run_show_the_chapters_net(run):
    code, out, _ = run()
    assert code == 0
    assert re.search(r"fire1/squeeze +12x12x32 +2,080 +1\.4% +1 x 1 x 32 x 64 \+ 32", out)
    assert re.search(r"fire4 +6x6x256 +49,440 +33\.7% +590,080 +11\.9x", out)
    assert out.splitlines()[-1].split()[:2] == ["total", "146,570"]


@pytest.mark.parametrize(
    ("name", "total"), [("squeezenet1_0", "1,248,424"), ("squeezenet1_1", "1,235,496")]
)
def test_of_a_net_of_the_paper_need_no_weights(run, tmp_path, monkeypatch, name, total):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(name)
    assert code == 0
    assert re.search(rf"^total +{total} ", out, re.MULTILINE)
    # The chapter's argument, and conv1 as it is: no fire module stands there.
    assert re.search(r"^fire9 +13x13x512 +197,184 .* 2,359,808 +12\.0x", out, re.MULTILINE)
    assert re.search(r"^conv1 .* 1\.0x", out, re.MULTILINE)
    assert not list(tmp_path.iterdir())


def test_of_a_run_are_those_of_its_net(run, trained):
    code, out, _ = run(trained.run_dir, "--json")
    assert code == 0
    assert json.loads(out)[-1]["parameters"] == 146_570


class TestAComparison:
    @pytest.fixture(scope="class")
    @staticmethod
    def comparison(trained):
        """An early checkpoint of a run compared with its last one."""
        paths = trained.run_dir / "model.ckpt-150", trained.run_dir
        return scopes.compare(*map(scopes.measure, paths))

    def test_says_how_far_each_variable_moved_and_which_relus_are_dead(self, comparison):
        rows = {row["variable"]: row for row in comparison["variables"]}
        assert [*rows][:3] == ["conv1/kernel", "conv1/bias", "fire1/squeeze/kernel"]
        row = rows["fire1/expand3x3/kernel"]
        assert (len(rows), row["shape"], 0 < row["moved"] < 1) == (28, [[3, 3, 32, 64]] * 2, True)
        assert row["norm"] == pytest.approx([128**0.5] * 2, rel=1e-3)  # 64 filters of length 2**.5
        assert scopes.moved("", np.ones(3), np.ones(4))["moved"] is None  # as the shapes differ
        dead = [row["dead"] for row in comparison["dead_relus"]]
        assert (len(dead), np.min(dead) >= 0, np.max(dead) < 0.5) == (14, True, True)

    def test_reads_as_two_tables(self, comparison):
        text = scopes.shown(comparison)
        assert re.match(r"A  .*model\.ckpt-150\nB  .*model\.ckpt-375\n\nscope ", text)
        assert re.search(r"\ntotal +146,570 +146,570 +- +- +- +-\n\nvariable ", text)
        assert re.search(r"\nfinal_conv/bias +10 +10 +\d+\.\d{3} +\d+\.\d{3} +[\d.]+%$", text)

    def test_is_drawn_into_the_folder_of_b(self, run, comparison, tmp_path, monkeypatch):
        folders = {"a": tmp_path / "digits", "b": tmp_path}
        found = {
            name: (SimpleNamespace(checkpoint=f"{folder}/model.ckpt-375", output_dir=folder),)
            for name, folder in folders.items()
        }
        monkeypatch.setattr(scopes, "measure", lambda path: found[path.name])
        monkeypatch.setattr(scopes, "compare", lambda a, b: comparison)
        code, out, _ = run("--compare", "a", "b")
        drawing = tmp_path / "scopes_compared_with_digits.png"
        assert (code, f"saved to {drawing}" in out, Image.open(drawing).width) == (0, True, 800)

    def test_with_itself_finds_nothing_moved_and_as_json_draws_nothing(self, run, trained):
        before = set(trained.run_dir.iterdir())
        _, out, _ = run("--json", "--compare", trained.run_dir, trained.run_dir)
        assert {row["moved"] for row in json.loads(out)["variables"]} == {0}
        assert set(trained.run_dir.iterdir()) == before
