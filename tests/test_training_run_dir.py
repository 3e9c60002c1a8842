"""A run's files: written atomically, belonging to one run, safe to read whoever made them."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from training import RunError
from training.run_dir import (
    MOST_JSON_BYTES,
    is_own,
    is_training,
    open_run_dir,
    read_settings,
    write_file,
    write_json,
)

SETTINGS = {
    "dataset": "digits",
    "class_names": ["0", "1"],
    "original_dim": 32,
    "resize_dim": 24,
    "fire_params_1": [[32, 64, "fire1"]],
    "fire_params_2": [],
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


def test_a_run_may_be_extended(tmp_path):
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
def test_invalid_settings_are_named_and_kept(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(RunError, match=r"settings\.json: does not hold the settings of a run"):
        use(tmp_path, SETTINGS)
    assert (tmp_path / "settings.json").read_text() == content


def test_settings_that_could_not_be_read_again_are_refused(tmp_path):
    with pytest.raises(
        RunError, match="cannot hold a run with these settings: original_dim is not a whole number"
    ):
        use(tmp_path / "run", {**SETTINGS, "original_dim": 1})
    assert not (tmp_path / "run").exists()


def odd_files(path):
    """Makes files at a path, one after the other, that must not be read."""
    os.mkfifo(path)
    yield "not a regular file"
    path.unlink()
    for target, reason in (
        ("/dev/zero", "not a regular file"),
        (path.name, "symbolic links"),
        ("/", "Is a directory"),
    ):
        path.symlink_to(target)
        yield reason
        path.unlink()
    with open(path, "wb") as file:
        file.truncate(MOST_JSON_BYTES + 1)
    yield "File too large"


def test_only_regular_files_of_a_plausible_size_are_read(tmp_path):
    for reason in odd_files(tmp_path / "settings.json"):
        with pytest.raises(RunError, match=rf"settings\.json: cannot be read \(.*{reason}"):
            read_settings(tmp_path)


def test_an_odd_lock_is_not_waited_for(tmp_path):
    for _ in odd_files(tmp_path / "trainer.lock"):
        assert is_training(tmp_path) in (False, True)


def test_symbolic_links_in_a_run_of_someone_else_are_not_written_through(tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    for name in (".drawing.png.new", "drawing.png"):
        (tmp_path / name).symlink_to(target)
    write_file(tmp_path / "drawing.png", b"drawing")
    assert (tmp_path / "drawing.png").read_bytes() == b"drawing"
    assert target.read_text() == "precious"


class TestTheUsersOwnRun:
    def test_was_written_by_a_command_of_this_user(self, tmp_path):
        use(tmp_path / "run", SETTINGS)
        assert is_own(tmp_path / "run")
        (tmp_path / "run").rename(tmp_path / "moved")
        assert is_own(tmp_path / "moved")

    def test_may_be_used_while_it_is_being_trained(self, tmp_path):
        with open_run_dir(tmp_path, SETTINGS):
            assert is_own(tmp_path)

    @pytest.mark.parametrize("copy", [shutil.copytree, "cp -a", "tar"])
    def test_is_not_one_that_was_copied(self, tmp_path, copy):
        use(tmp_path / "run", SETTINGS)
        if copy is shutil.copytree:
            copy(tmp_path / "run", tmp_path / "copy")
        elif copy == "tar":
            (tmp_path / "copy").mkdir()
            with tarfile.open(tmp_path / "run.tar", "w", format=tarfile.PAX_FORMAT) as tar:
                tar.add(tmp_path / "run", ".")
            with tarfile.open(tmp_path / "run.tar") as tar:
                tar.extractall(tmp_path / "copy", filter="tar")
        else:
            subprocess.run([*copy.split(), tmp_path / "run", tmp_path / "copy"], check=True)
        assert read_settings(tmp_path / "copy") == SETTINGS
        assert not is_own(tmp_path / "copy")

    def test_is_not_one_whose_settings_were_edited(self, tmp_path):
        use(tmp_path, SETTINGS)
        (tmp_path / "settings.json").write_text(json.dumps(SETTINGS | {"dataset": "/etc"}))
        assert not is_own(tmp_path)

    def test_is_not_one_of_another_user(self, tmp_path, monkeypatch):
        use(tmp_path, SETTINGS)
        monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
        assert not is_own(tmp_path)

    @pytest.mark.parametrize("content", [None, "", "{}", '{"settings": null}', "[]"])
    def test_is_not_one_without_a_trainer(self, tmp_path, content):
        use(tmp_path, SETTINGS)
        (tmp_path / "trainer.json").unlink()
        if content is not None:
            (tmp_path / "trainer.json").write_text(content)
        assert not is_own(tmp_path)


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/.* cannot be .*another --run_dir"):
        use(tmp_path / "file" / "run", SETTINGS)
    with pytest.raises(RunError, match=r"/proc/run: cannot be created"):
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
                match=rf"process {os.getpid()}, started \d{{4}}-\d\d-\d\d .*, is training there",
            ),
        ):
            use(tmp_path, SETTINGS)

    def test_one_after_the_other_may_train(self, tmp_path):
        use(tmp_path, SETTINGS)
        use(tmp_path, SETTINGS)

    def test_a_killed_one_blocks_nobody(self, tmp_path):
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
            with pytest.raises(RunError, match="another process is training there"):
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
