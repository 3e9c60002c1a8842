"""A run's folder belongs to one run, and to one trainer at a time."""

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from filelock import FileLock

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


def assert_refused(run_dir, sentence, **changes):
    """The folder cannot be used with these changes; why, the sentence says."""
    with pytest.raises(UserError, match=sentence):
        use(run_dir, **changes)


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
    assert_refused(tmp_path, rf"the run there has {name} .*another --run_dir", **{name: value})
    assert read_settings(tmp_path) == EARLIER | SETTINGS
    use(tmp_path, net="squeezenet", class_weights=False, no_flip=False)


def test_images_and_initial_weights_may_be_moved_but_not_changed(tmp_path):
    use(tmp_path)  # as written by an earlier version, which knew the images by their place alone
    assert_refused(
        tmp_path, r"other images, those of cifar10; give these .* --run_dir", dataset="digits"
    )
    before = {"dataset": "/a/pets", "images": "1234", "init_from": "/a/weights.npz"}
    use(tmp_path / "new", **before)
    use(tmp_path / "new", **before | {"dataset": "/b/cats", "init_from": "/b/weights.npz"})
    assert_refused(
        tmp_path / "new",
        r"other images, those of /b/cats; give these",
        **before | {"images": "5678"},
    )


def test_a_complete_run_keeps_its_settings_and_is_not_taken_for_a_shorter_one(tmp_path):
    use(tmp_path)
    (tmp_path / "model.ckpt-100.index").touch()
    use(tmp_path, eval_every=7)
    assert read_settings(tmp_path) == EARLIER | SETTINGS
    assert_refused(
        tmp_path, r"has taken 100 steps, more than the 99 .* a larger --num", total_steps=99
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("checkpoint.tmp_mine", "", "holds files that this project has not written; move them"),
        *(
            ("settings.json", content, r"settings\.json: does not hold the settings of a run")
            for content in ("", "[]", "\x00", '{"dataset": ', "[" * 100_000)
        ),
    ],
    ids=lambda text: text[:20],
)
def test_other_files_and_invalid_settings_are_named_and_kept(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    assert_refused(tmp_path, sentence)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: content}


def test_checkpoints_without_settings_are_not_taken_for_a_new_run(tmp_path):
    (tmp_path / "model.ckpt-7.index").write_bytes(b"")
    assert_refused(tmp_path, r"holds checkpoints but no settings\.json")


@pytest.mark.parametrize("name", ["file/run", "/proc/run"])
def test_a_folder_that_cannot_be_created_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    assert_refused(tmp_path / name, rf"{name}: cannot be written .* choose another")


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        *(
            (name, {}, "rename it, or give another --run_dir")
            for name in ("lr[1]", "run*", "what?", "back\\slash", "\udcff")
        ),
        ("run", {"class_names": []}, r"cannot hold such a run \(class_names are not"),
    ],
)
def test_what_could_not_be_read_again_is_refused(tmp_path, name, changes, sentence):
    assert_refused(tmp_path / name, sentence, **changes)
    assert not list(tmp_path.iterdir())


class TestTwoTrainers:
    @pytest.mark.parametrize(
        ("acquire", "advice"),
        [
            (FileLock._acquire, ""),
            *(
                (Mock(side_effect=OSError(code, "No locks")), r"; .* delete .*lock\.soft\)")
                for code in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
            ),
        ],
        ids=["locks", *(f"a file system without locks ({number})" for number in range(3))],
    )
    def test_the_second_is_refused_with_the_firsts_process_and_start(
        self, tmp_path, monkeypatch, acquire, advice
    ):
        monkeypatch.setattr(FileLock, "_acquire", acquire)
        trainer = rf"process {os.getpid()} on \S+, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,"
        assert not is_training(tmp_path)
        assert not list(tmp_path.iterdir())  # to ask leaves no trace
        with open_run_dir(tmp_path, SETTINGS):
            assert is_training(tmp_path)
            assert_refused(tmp_path, f"{trainer} is training there{advice}")
        assert not is_training(tmp_path)
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
