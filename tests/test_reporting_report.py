"""The parts of the report that need no training: which checkpoints it sees, where it saves."""

import pytest

from reporting import report
from training.run_dir import PRETRAINED, is_training, open_run_dir, output_dir, read_json

RUN = read_json(PRETRAINED / "settings.json")


class TestNewCheckpoints:
    @pytest.fixture
    def watch(self, monkeypatch, tmp_path):
        """The checkpoints seen if these are the newest ones over time."""

        def function(*newest):
            moments = iter(newest)
            goes_on = iter([True] * (len(newest) - 1) + [False] * 3)
            last = [None]

            def newest_checkpoint(run_dir, while_training):
                last[0] = next(moments, last[0])
                return last[0]

            monkeypatch.setattr(report, "newest_checkpoint", newest_checkpoint)
            monkeypatch.setattr(report, "is_training", lambda run_dir: next(goes_on))
            monkeypatch.setattr(report, "POLL_SECONDS", 0)
            return list(report.new_checkpoints(tmp_path))

        return function

    def test_are_seen_once_each(self, watch):
        assert watch(None, None, "1", "1", "1", "2", "3") == ["1", "2", "3"]

    def test_include_the_one_that_the_training_ends_with(self, watch):
        assert watch("1", "1", "2") == ["1", "2"]

    def test_of_a_run_that_is_complete_are_the_newest_alone(self, watch):
        assert watch("7") == ["7"]

    def test_of_a_run_that_died_before_its_first_are_none(self, watch):
        assert watch(None, None) == []


class TestIsTraining:
    def test_while_a_trainer_holds_the_folder(self, tmp_path):
        with open_run_dir(tmp_path, RUN):
            assert is_training(tmp_path)
        assert not is_training(tmp_path)

    def test_leaves_a_folder_without_a_trainer_as_it_is(self, tmp_path):
        assert not is_training(tmp_path)
        assert not list(tmp_path.iterdir())


class TestDrawings:
    def test_go_into_the_runs_folder(self, tmp_path):
        assert output_dir(tmp_path) == tmp_path

    def test_never_go_into_the_included_model(self, tmp_path, monkeypatch):
        monkeypatch.chdir(PRETRAINED.parent)
        assert output_dir(PRETRAINED) == output_dir(PRETRAINED.relative_to(PRETRAINED.parent))
        (tmp_path / "link").symlink_to(PRETRAINED.parent)
        assert str(output_dir(tmp_path / "link" / "pretrained")) == "runs/pretrained"
