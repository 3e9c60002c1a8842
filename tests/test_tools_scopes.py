"""python -m tools.scopes: a net's scopes, and comparisons of two runs."""

import json
import re
import shutil

import pytest
from PIL import Image

from tools import scopes


@pytest.fixture
def run(capsys):
    """Runs the command; returns exit code, stdout and stderr."""

    def function(*arguments):
        code = scopes.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return function


def test_without_a_run_show_the_chapters_net(run):
    code, out, _ = run()
    assert code == 0
    assert re.search(r"fire1/squeeze +12x12x32 +2,080 +1\.4% +1 x 1 x 32 x 64 \+ 32", out)
    assert re.search(r"fire4 +6x6x256 +49,440 +33\.7% +590,080 +11\.9x", out)
    assert out.splitlines()[-1].split()[:2] == ["total", "146,570"]


def test_of_a_run_are_those_of_its_net(run, trained):
    code, out, _ = run(trained.run_dir, "--json")
    assert code == 0
    rows = json.loads(out)
    assert rows[-1]["parameters"] == 146_570


@pytest.fixture(scope="module")
def comparison(trained):
    """An early checkpoint of a run compared with its last one."""
    return scopes.compare(trained.run_dir / "model.ckpt-150", trained.run_dir)


class TestAComparison:
    def test_says_how_far_each_variable_moved(self, comparison):
        rows = {row["variable"]: row for row in comparison["variables"]}
        assert len(rows) == 28
        assert list(rows)[:3] == ["conv1/kernel", "conv1/bias", "fire1/squeeze/kernel"]
        row = rows["fire1/expand3x3/kernel"]
        assert row["shape"] == [[3, 3, 32, 64]] * 2
        assert row["norm"] == pytest.approx([128**0.5] * 2, rel=1e-3)  # 64 filters of length 2**.5
        assert 0 < row["moved"] < 1

    def test_says_which_relus_are_dead(self, comparison):
        dead = {row["scope"]: row["dead"] for row in comparison["dead_relus"]}
        assert len(dead) == 14
        assert all(0 <= share < 0.5 for shares in dead.values() for share in shares)

    def test_reads_as_two_tables(self, comparison):
        text = scopes.shown_comparison(comparison)
        assert text.startswith("A  ")
        assert "model.ckpt-150" in text.splitlines()[0]
        for line in ("scope ", "total ", "variable ", "final_conv/bias "):
            assert f"\n{line}" in text

    def test_is_drawn_into_the_folder_of_b(self, run, trained, tmp_path):
        for path in trained.run_dir.glob("[!e]*"):
            if path.is_file():
                shutil.copy(path, tmp_path)
        code, out, _ = run("--compare", trained.run_dir, tmp_path)
        drawing = tmp_path / "scopes_compared_with_digits.png"
        assert code == 0
        assert f"saved to {drawing}" in out
        with Image.open(drawing) as image:
            assert image.width == 800

    def test_as_json_draws_nothing(self, run, trained):
        before = set(trained.run_dir.iterdir())
        _, out, _ = run("--json", "--compare", trained.run_dir, trained.run_dir)
        assert len(json.loads(out)["variables"]) == 28
        assert set(trained.run_dir.iterdir()) == before

    def test_with_itself_finds_nothing_moved(self, trained):
        same = scopes.compare(trained.run_dir, trained.run_dir)
        assert {row["moved"] for row in same["variables"]} == {0}


@pytest.mark.parametrize("name", ["missing", "missing/model.ckpt-1"])
def test_a_path_without_a_run_is_named(run, tmp_path, name):
    code, out, err = run(tmp_path / name)
    assert (code, out) == (2, "")
    assert "is neither the folder of a run nor a checkpoint in one" in err


def test_a_damaged_checkpoint_is_named(run, trained, tmp_path):
    for path in trained.run_dir.glob("*.json"):
        shutil.copy(path, tmp_path)
    (tmp_path / "model.ckpt-150.index").write_bytes(b"")
    code, _, err = run(tmp_path / "model.ckpt-150")
    assert code == 2
    assert "model.ckpt-150: is not an intact checkpoint" in err
