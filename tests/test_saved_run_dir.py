"""A run's folder belongs to one run, and to one trainer at a time."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from base import UserError
from base.files import read_json
from saved.run_dir import PRETRAINED, is_training, open_run_dir, output_dir, read_settings
from saved.settings import EARLIER
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
        assert read_settings(tmp_path / "runs" / "new") == EARLIER | SETTINGS | {
            "total_steps": total_steps
        }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net", "squeezenet1_1"),
        ("class_names", ["0", "1", "2"]),
        ("fire_params_1", [[16, 64, "fire1"]]),
        ("batch_size", 64),
        ("seed", 1),
        ("recipe", "chapter"),
        ("learning_rate", 0.0001),
        ("no_flip", True),
        ("precision", "bfloat16"),
        ("held_out", 300),
        ("init_from", "runs/other"),
        ("class_weights", True),
    ],
)
def test_a_run_cannot_become_another_one(tmp_path, name, value):
    use(tmp_path)  # without net, class_weights and no_flip, as written by an earlier version
    with pytest.raises(UserError, match=rf"the run there has {name} .*another --run_dir"):
        use(tmp_path, **{name: value})
    assert read_settings(tmp_path) == EARLIER | SETTINGS
    use(tmp_path, net="squeezenet", class_weights=False, no_flip=False)


def test_images_and_initial_weights_may_be_moved_but_not_changed(tmp_path):
    use(tmp_path)  # as written by an earlier version, which knew the images by their place alone
    with pytest.raises(UserError, match=r"other images, those of cifar10; give these .* --run_dir"):
        use(tmp_path, dataset="digits")
    before = {"dataset": "/a/pets", "images": "1234", "init_from": "/a/weights.npz"}
    use(tmp_path / "new", **before)
    use(tmp_path / "new", **before | {"dataset": "/b/cats", "init_from": "/b/weights.npz"})
    with pytest.raises(UserError, match=r"other images, those of /b/cats; give these"):
        use(tmp_path / "new", **before | {"images": "5678"})


def test_a_complete_run_keeps_its_settings_and_is_not_taken_for_a_shorter_one(tmp_path):
    use(tmp_path)
    (tmp_path / "model.ckpt-100.index").touch()
    use(tmp_path, eval_every=7)
    assert read_settings(tmp_path) == EARLIER | SETTINGS
    with pytest.raises(UserError, match=r"has taken 100 steps, more than the 99 .* a larger --num"):
        use(tmp_path, total_steps=99)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "checkpoint.tmp_mine").touch()
    with pytest.raises(UserError, match="holds files that this project has not written"):
        use(tmp_path)
    assert os.listdir(tmp_path) == ["checkpoint.tmp_mine"]


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
    with pytest.raises(UserError, match=r"file/.* cannot be written .* choose another"):
        use(tmp_path / "file" / "run")
    with pytest.raises(UserError, match=r"/proc/run: cannot be written"):
        use(Path("/proc/run"))


@pytest.mark.parametrize("name", ["lr[1]", "run*", "what?", "back\\slash", "\udcff"])
def test_a_name_that_tensorflow_cannot_use_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"rename it, or give another --run_dir"):
        use(tmp_path / name)
    assert not list(tmp_path.iterdir())


class TestTwoTrainers:
    def test_the_second_is_refused_with_the_firsts_process_and_start(self, tmp_path):
        trainer = rf"process {os.getpid()} on \S+, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,"
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

    @pytest.mark.parametrize("code", ["ENOLCK", "EOPNOTSUPP", "EINVAL"])
    def test_the_second_is_refused_where_the_file_system_has_no_locks(
        self, tmp_path, monkeypatch, code
    ):
        def refuse(lock):
            raise OSError(getattr(errno, code), "No locks available")

        monkeypatch.setattr("filelock.FileLock._acquire", refuse)
        with open_run_dir(tmp_path, SETTINGS):
            assert is_training(tmp_path)
            with pytest.raises(UserError, match=r"is training there; .* delete .*lock\.soft\)"):
                use(tmp_path)
        assert not is_training(tmp_path)

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
