"""Files of others are read without a hang; our own are either complete or not there."""

import os
from unittest.mock import Mock

import pytest

from base import UserError
from base.files import is_output, output_folder, read_json, write_file, write_json
from tests.odd_files import of_all_kinds


@of_all_kinds
def test_only_regular_files_of_a_plausible_size_are_read(tmp_path, make_odd):
    make_odd(tmp_path / "odd.json")
    with pytest.raises((OSError, ValueError)):
        read_json(tmp_path / "odd.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\x00", b"\xff", b"[" * 100_000, b"9" * 5_000])
def test_what_is_not_json_is_a_value_error(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        read_json(tmp_path / "file.json")


@pytest.mark.parametrize("fails", ["pathlib.Path.write_bytes", "os.replace"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, monkeypatch, fails):
    write_json(tmp_path / "results.json", {"steps": 1})
    monkeypatch.setattr(fails, Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"results\.json: cannot be written \(No space left"):
        write_json(tmp_path / "results.json", {"steps": 2})
    assert read_json(tmp_path / "results.json") == {"steps": 1}
    assert os.listdir(tmp_path) == ["results.json"]


@pytest.mark.parametrize("name", [".drawing.png.new", "drawing.png"])
def test_links_that_someone_has_put_in_the_way_are_not_written_through(tmp_path, name):
    (tmp_path / "target").write_text("precious")
    (tmp_path / name).symlink_to(tmp_path / "target")
    write_file(tmp_path / "drawing.png", b"drawing")
    assert (tmp_path / "drawing.png").read_bytes() == b"drawing"
    assert (tmp_path / "target").read_text() == "precious"


class TestAFolderForOutput:
    def test_is_new_or_empty_or_one_of_ours_with_all_that_was_made_for_it(self, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "old" / "run" / "export").mkdir(parents=True)
        (tmp_path / "old" / "run" / "trainer.lock").touch()  # an earlier version had no markers
        (tmp_path / "old" / "run" / "export" / "labels.txt").touch()
        for name in ("empty", "new/folder", "new/folder", "new/other", "old", "old/run/export"):
            assert output_folder(tmp_path / name) == tmp_path / name
            assert is_output(tmp_path / name)
        assert is_output(tmp_path / "new")
        assert not is_output(tmp_path)

    def test_on_a_full_disk_is_one_sentence(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pathlib.Path.mkdir", Mock(side_effect=OSError(28, "why")))
        with pytest.raises(UserError, match=r"new: cannot be written \(why\); free some space"):
            output_folder(tmp_path / "new")
