"""Which images a saved run may be evaluated on: never those of a folder that someone else chose."""

import shutil

import pytest

import data
from data import DataError
from training.run_dir import PRETRAINED, open_run_dir, read_json
from training.saved_run import load_dataset

SETTINGS = read_json(PRETRAINED / "settings.json")


class Loaded(Exception):
    """What was asked of data.load, in place of its result."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that settings name; whatever data.load is asked for is raised as Loaded."""

    def load(name, data_dir=None, may_download=True, *others):
        raise Loaded(name, data_dir, may_download)

    monkeypatch.setattr(data, "load", load)
    folder = tmp_path / "named"
    folder.mkdir()
    return folder


def asked_for(settings, run_dir, **flags):
    """What load_dataset asks data.load for: name, data_dir, may_download."""
    with pytest.raises(Loaded) as loaded:
        load_dataset(settings, run_dir=run_dir, **flags)
    return loaded.value.args


def write_run(run_dir, **changes):
    """A run of this user; returns its settings."""
    with open_run_dir(run_dir, SETTINGS | changes):
        return SETTINGS | changes


@pytest.mark.parametrize("copied", [False, True])
class TestTheFolderOfTheImages:
    def run(self, tmp_path, copied, **changes):
        settings = write_run(tmp_path / "run", **changes)
        if copied:
            shutil.copytree(tmp_path / "run", tmp_path / "copy")
        return settings, tmp_path / ("copy" if copied else "run")

    def test_is_used_but_not_changed_if_the_run_is_ones_own(self, folder, tmp_path, copied):
        settings, run_dir = self.run(tmp_path, copied, data_dir=str(folder))
        expected = ("cifar10", None, True) if copied else ("cifar10", folder, False)
        assert asked_for(settings, run_dir) == expected

    def test_of_ones_own_images_is_asked_for_if_the_run_is_not(self, folder, tmp_path, copied):
        settings, run_dir = self.run(tmp_path, copied, dataset=str(folder))
        if copied:
            with pytest.raises(DataError, match=r"comes from elsewhere, .* with --data_dir"):
                load_dataset(settings, run_dir=run_dir)
        else:
            assert asked_for(settings, run_dir)[0] == str(folder)

    def test_may_be_given_and_is_not_changed_either(self, folder, tmp_path, copied):
        settings, run_dir = self.run(tmp_path, copied, dataset="/etc", data_dir="/etc")
        assert asked_for(settings, run_dir, data_dir=folder)[0] == str(folder)
        settings, run_dir = self.run(tmp_path / "b", copied, data_dir="/etc")
        assert asked_for(settings, run_dir, data_dir=folder) == ("cifar10", folder, False)
