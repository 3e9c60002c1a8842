"""What a user means by a run, and which images it was trained on."""

import os
import shutil
from dataclasses import replace
from unittest.mock import Mock, call

import pytest

import data
from base import UserError
from base.files import read_json
from saved.run import load_dataset, load_run
from saved.run_dir import PRETRAINED
from saved.settings import EARLIER
from tests.conftest import PROJECT

SETTINGS = read_json(PRETRAINED / "settings.json")
DIGITS = SETTINGS | {"dataset": "digits", "class_names": list("0123456789")}


class TestARun:
    @pytest.fixture
    def path(self, tmp_path):
        """A copy of the included model, with a second checkpoint that is damaged."""
        shutil.copytree(PRETRAINED, tmp_path / "run")
        (tmp_path / "run" / "model.ckpt-7.index").touch()
        return tmp_path / "run"

    @pytest.mark.parametrize(
        "name", ["", "model.ckpt-100000", "model.ckpt-100000.data-00000-of-00001"]
    )
    def test_is_a_folder_or_a_checkpoint_in_it(self, path, name):
        run = load_run(path / name)
        assert run.checkpoint == str(path / "model.ckpt-100000")
        assert (run.settings, run.output_dir, run.path) == (EARLIER | SETTINGS, path, path / name)

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("model.ckpt-7", "7: is not an intact checkpoint"),
            ("", "run: holds no intact checkpoint; train first"),
            ("../missing/run", "is neither a run, nor a TensorFlow checkpoint"),
            (PROJECT / "docs", "is neither a run, nor a TensorFlow checkpoint"),
        ],
    )
    def test_cannot_be_anything_else(self, path, name, sentence):
        os.truncate(path / "model.ckpt-100000.index", 9)
        with pytest.raises(UserError, match=sentence):
            load_run(path / name)


@pytest.mark.parametrize(
    ("named", "data_dir", "expected"),
    [
        ({}, None, call("cifar10", None, True)),
        ({"data_dir": "/missing"}, None, call("cifar10", None, True)),
        # Nothing is downloaded into a folder that the settings name, or the user.
        ({"data_dir": str(PROJECT)}, None, call("cifar10", PROJECT, False)),
        ({"data_dir": "/etc"}, PROJECT, call("cifar10", PROJECT, False)),
        ({"dataset": str(PROJECT)}, None, call(str(PROJECT), dims=(32, 24))),
        ({"dataset": "/etc"}, PROJECT, call(str(PROJECT), dims=(32, 24))),
    ],
)
def test_images_are_looked_for_where_they_were_or_where_the_user_says(
    monkeypatch, named, data_dir, expected
):
    monkeypatch.setattr(data, "load", Mock(side_effect=UserError("asked")))
    with pytest.raises(UserError, match="asked"):
        load_dataset(SETTINGS | named, data_dir)
    assert data.load.call_args == expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "/moved"}, "/moved: the photos that the run .* are not there; .* --data_dir"),
        ({"class_names": ["a", "b"]}, r"digits: has the classes 0, 1.* was trained on a, b at 32"),
        ({"original_dim": 64}, r"digits: has the classes .* 9 at 32 pixels, but .* 9 at 64"),
    ],
)
def test_other_images_than_those_of_the_run_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        load_dataset(DIGITS | changes)


def test_photos_that_have_changed_are_evaluated_with_a_word(tmp_path, monkeypatch, capsys):
    digits, settings = data.load("digits"), DIGITS | {"dataset": str(tmp_path)}
    monkeypatch.setattr(data, "load", lambda *_, **__: replace(digits, name="pets", digest="now"))
    for images in ({}, {"images": "now"}, {"images": "then"}):
        load_dataset(settings | images)
    assert capsys.readouterr().err == "pets: the images are not those that the run was trained on\n"


def test_the_same_images_are_held_out():
    expected = data.hold_out(data.load("digits"), 300).validation.records
    assert (load_dataset(DIGITS | {"held_out": 300}).validation.records == expected).all()
