"""settings.json and results.json: whole or not there, and the same run or another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from training import RunError
from training.run_dir import open_run_dir, read_settings, write_json

SETTINGS = {
    "dataset": "digits",
    "class_names": ["0", "1"],
    "original_dim": 32,
    "resize_dim": 24,
    "fire_params_1": [[32, 64, "fire1"]],
    "batch_size": 128,
    "seed": 0,
    "recipe": "tuned",
    "held_out": None,
    "total_steps": 100,
}


def use(run_dir, settings):
    """Opens a run folder and leaves it again."""
    with open_run_dir(run_dir, settings):
        pass


def test_a_new_folder_gets_the_settings(tmp_path):
    use(tmp_path / "runs" / "new", SETTINGS)
    assert read_settings(tmp_path / "runs" / "new") == SETTINGS


def test_a_run_may_go_on_for_longer(tmp_path):
    use(tmp_path, SETTINGS)
    use(tmp_path, {**SETTINGS, "total_steps": 200})
    assert read_settings(tmp_path)["total_steps"] == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "cifar10"),
        ("class_names", ["0", "1", "2"]),
        ("fire_params_1", [[16, 64, "fire1"]]),
        ("batch_size", 64),
        ("seed", 1),
        ("recipe", "chapter"),
        ("held_out", 300),
        ("init_from", "runs/other"),
    ],
)
def test_a_run_cannot_become_another_one(tmp_path, name, value):
    use(tmp_path, SETTINGS)
    with pytest.raises(RunError, match=rf"the run there has {name} .*another --run_dir"):
        use(tmp_path, {**SETTINGS, name: value})
    assert read_settings(tmp_path) == SETTINGS


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", '{"dataset": ', "[" * 100_000])
def test_settings_that_are_none_are_named_and_kept(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(RunError, match=r"settings\.json: is not the settings of a run"):
        use(tmp_path, SETTINGS)
    assert (tmp_path / "settings.json").read_text() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/.* cannot be .*another --run_dir"):
        use(tmp_path / "file" / "run", SETTINGS)
    with pytest.raises(RunError, match=r"/proc/run: cannot be made"):
        use(Path("/proc/run"), SETTINGS)


def test_checkpoints_without_settings_are_not_taken_for_a_new_run(tmp_path):
    (tmp_path / "model.ckpt-7.index").write_bytes(b"")
    with pytest.raises(RunError, match=r"holds checkpoints but no settings\.json"):
        use(tmp_path, SETTINGS)


@pytest.mark.parametrize("name", ["lr[1]", "run*", "what?", "back\\slash", "\udcff"])
def test_a_name_that_tensorflow_cannot_use_is_refused(tmp_path, name):
    with pytest.raises(RunError, match=r"--run_dir .* give another one"):
        use(tmp_path / name, SETTINGS)
    assert not list(tmp_path.iterdir())


class TestTwoTrainers:
    def test_the_second_is_refused_with_the_firsts_process_and_start(self, tmp_path):
        with (
            open_run_dir(tmp_path, SETTINGS),
            pytest.raises(
                RunError,
                match=rf"process {os.getpid()}, started \d{{4}}-\d\d-\d\d .*, trains there",
            ),
        ):
            use(tmp_path, SETTINGS)

    def test_one_after_the_other_may_train(self, tmp_path):
        use(tmp_path, SETTINGS)
        use(tmp_path, SETTINGS)

    def test_a_killed_one_does_not_stand_in_the_way(self, tmp_path):
        code = (
            "import os, sys, pathlib; from training.run_dir import open_run_dir\n"
            f"with open_run_dir(pathlib.Path({str(tmp_path)!r}), {SETTINGS!r}):\n"
            "    os.kill(os.getpid(), 9)"
        )
        killed = subprocess.run([sys.executable, "-c", code], cwd=PROJECT)
        assert killed.returncode == -9
        assert (tmp_path / "trainer.json").exists()
        use(tmp_path, SETTINGS)

    @pytest.mark.parametrize("content", ["", "[]", "{}", "\x00"])
    def test_an_unreadable_trainer_json_still_refuses(self, tmp_path, content):
        with open_run_dir(tmp_path, SETTINGS):
            (tmp_path / "trainer.json").write_text(content)
            with pytest.raises(RunError, match="another process trains there"):
                use(tmp_path, SETTINGS)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_json(tmp_path / "results.json", {"steps": 1})

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(RunError, match=r"results\.json: cannot be written \(No space left"):
        write_json(tmp_path / "results.json", {"steps": 2})
    assert json.loads((tmp_path / "results.json").read_text()) == {"steps": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
