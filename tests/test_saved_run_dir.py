"""A run's folder belongs to one run, and to one trainer at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from base import UserError
from base.files import read_json
from saved.run_dir import PRETRAINED, is_training, open_run_dir, output_dir, read_settings
from tests.conftest import PROJECT
from tests.odd_files import of_all_kinds

SETTINGS = read_json(PRETRAINED / "settings.json") | {"total_steps": 100}


def use(run_dir, **changes):
    """Opens a run folder and leaves it again."""
    with open_run_dir(run_dir, SETTINGS | changes):
        pass


def test_a_new_folder_gets_the_settings_and_the_run_may_be_extended(tmp_path):
    for total_steps in (100, 200):
        use(tmp_path / "runs" / "new", total_steps=total_steps)
        assert read_settings(tmp_path / "runs" / "new") == SETTINGS | {"total_steps": total_steps}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net", "squeezenet1_1"),
        ("dataset", "digits"),
        ("class_names", ["0", "1", "2"]),
        ("fire_params_1", [[16, 64, "fire1"]]),
        ("batch_size", 64),
        ("seed", 1),
        ("recipe", "chapter"),
        ("held_out", 300),
        ("init_from", "runs/other"),
        ("class_weights", True),
    ],
)
def test_a_run_cannot_become_another_one(tmp_path, name, value):
    use(tmp_path)  # without net and class_weights, as written by an earlier version
    with pytest.raises(UserError, match=rf"the run there has {name} .*another --run_dir"):
        use(tmp_path, **{name: value})
    assert read_settings(tmp_path) == SETTINGS
    use(tmp_path, net="squeezenet", class_weights=False)


@pytest.mark.parametrize("content", ["", "[]", "\x00", '{"dataset": ', "[" * 100_000])
def test_invalid_settings_are_named_and_kept(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(UserError, match=r"settings\.json: does not hold the settings of a run"):
        use(tmp_path)
    assert (tmp_path / "settings.json").read_text() == content


def test_settings_that_could_not_be_read_again_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot hold such a run \(class_names are not"):
        use(tmp_path / "run", class_names=[])
    assert not (tmp_path / "run").exists()


def test_checkpoints_without_settings_are_not_taken_for_a_new_run(tmp_path):
    (tmp_path / "model.ckpt-7.index").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds checkpoints but no settings\.json"):
        use(tmp_path)


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/.* cannot be .*another --run_dir"):
        use(tmp_path / "file" / "run")
    with pytest.raises(UserError, match=r"/proc/run: cannot be created"):
        use(Path("/proc/run"))


@pytest.mark.parametrize("name", ["lr[1]", "run*", "what?", "back\\slash", "\udcff"])
def test_a_name_that_tensorflow_cannot_use_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"--run_dir .* give another one"):
        use(tmp_path / name)
    assert not list(tmp_path.iterdir())


class TestTwoTrainers:
    def test_the_second_is_refused_with_the_firsts_process_and_start(self, tmp_path):
        trainer = rf"process {os.getpid()}, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,"
        assert not is_training(tmp_path)
        assert not list(tmp_path.iterdir())  # to ask leaves no trace
        with open_run_dir(tmp_path, SETTINGS):
            assert is_training(tmp_path)
            with pytest.raises(UserError, match=f"{trainer} is training there"):
                use(tmp_path)
        assert not is_training(tmp_path)
        use(tmp_path)

    def test_a_killed_one_blocks_nobody(self, tmp_path):
        code = (
            "import os, pathlib; from saved.run_dir import open_run_dir\n"
            f"with open_run_dir(pathlib.Path({str(tmp_path)!r}), {SETTINGS!r}):\n"
            "    os.kill(os.getpid(), 9)"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == -9
        assert (tmp_path / "trainer.json").exists()
        use(tmp_path)

    @of_all_kinds
    def test_an_odd_lock_is_not_waited_for(self, tmp_path, make_odd):
        make_odd(tmp_path / "trainer.lock")
        assert is_training(tmp_path) in (False, True)


def test_drawings_go_into_the_runs_folder_but_never_into_the_included_model(tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    (tmp_path / "link").symlink_to(PROJECT)
    assert output_dir(tmp_path) == tmp_path
    for path in (PRETRAINED, Path("pretrained"), tmp_path / "link" / "pretrained"):
        assert output_dir(path) == Path("runs/pretrained")
