"""What the flags of train.py come to, and which contradict each other."""

import re
from pathlib import Path

import pytest

from training import RunError
from training.flags import image_dims, init_name_of, parse_flags, run_dir_of, schedule_of


class TestThePapersNets:
    def test_take_photos_of_a_size_of_their_own(self):
        flags = parse_flags(["--dataset", "photos"])
        dims = {"original_dim": 256, "resize_dim": 224}
        assert image_dims(flags, "squeezenet1_1") == dims

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--dataset", "photos", "--original_dim", "64"], "--original_dim 64: has no effect"),
            ([], "--dataset digits: its images are too small for squeezenet1_1"),
            (["--dataset", "cifar10"], "--dataset cifar10: its images are too small"),
        ],
    )
    def test_say_what_does_not_go_with_them(self, arguments, sentence):
        with pytest.raises(RunError, match=re.escape(sentence)):
            image_dims(parse_flags(arguments), "squeezenet1_1")

    def test_are_fine_tuned_unless_told_otherwise(self):
        schedule = schedule_of(parse_flags([]), 250, net="squeezenet1_1")
        assert (schedule.recipe.name, schedule.batch_size) == ("fine_tuned", 32)
        flags = parse_flags(["--recipe", "chapter", "--batch_size", "10"])
        schedule = schedule_of(flags, 250, net="squeezenet1_1")
        assert (schedule.recipe.name, schedule.batch_size) == ("chapter", 10)

    def test_share_their_batch_evenly_among_towers(self):
        with pytest.raises(RunError, match="--num_towers 64: does not divide the batch size"):
            schedule_of(parse_flags(["--num_towers", "64"]), 250, net="squeezenet1_1")


def test_the_chapters_net_takes_the_size_that_is_asked_for():
    flags = parse_flags(["--dataset", "photos", "--original_dim", "64"])
    assert image_dims(flags, "squeezenet") == {"original_dim": 64}


class TestInitFrom:
    def test_is_kept_as_a_whole_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert init_name_of(parse_flags(["--init_from", "a"])) == str(tmp_path.resolve() / "a")

    def test_is_kept_by_its_published_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert init_name_of(parse_flags(["--init_from", "squeezenet1_1"])) == "squeezenet1_1"

    def test_is_nothing_where_it_is_not_given(self):
        assert init_name_of(parse_flags([])) is None


def test_a_run_is_called_after_its_data_set():
    assert run_dir_of(parse_flags([])) == Path("runs/digits")
    assert run_dir_of(parse_flags(["--dataset", "some/pets"])) == Path("runs/pets")


class TestEvalOnly:
    @pytest.mark.parametrize(
        "flags",
        [
            ["--seed", "0"],
            ["--num_epochs", "2"],
            ["--batch_size", "8"],
            ["--recipe", "chapter"],
            ["--learning_rate", "1"],
            ["--held_out", "5"],
            ["--eval_every", "5"],
            ["--num_towers", "2"],
            ["--original_dim", "32"],
            ["--init_from"],
            ["--init_from", "run", "--net", "squeezenet"],
            ["--class_weights"],
            ["--summarize_layers"],
            ["--profile"],
        ],
    )
    def test_refuses_flags_that_say_how_to_train(self, flags, capsys):
        with pytest.raises(SystemExit) as ended:
            parse_flags(["--eval_only", *flags])
        assert ended.value.code == 2
        sentence = f"train.py: error: {flags[0]} has no effect with --eval_only; .*; see --help.\n"
        assert re.fullmatch(sentence, capsys.readouterr().err)

    def test_takes_those_that_say_which_images(self):
        flags = ["--dataset", "pets", "--data_dir", "a", "--run_dir", "b", "--skip_damaged"]
        assert parse_flags(["--eval_only", "--watch", "--split", "train", *flags]).skip_damaged


@pytest.mark.parametrize("flags", [["--watch"], ["--split", "test"], ["--checkpoint", "a"]])
def test_flags_for_an_evaluation_need_one(flags, capsys):
    with pytest.raises(SystemExit):
        parse_flags(flags)
    assert f"error: {flags[0]} needs --eval_only" in capsys.readouterr().err


def test_a_net_is_that_of_initial_weights(capsys):
    with pytest.raises(SystemExit):
        parse_flags(["--net", "squeezenet1_1"])
    assert "error: --net needs --init_from" in capsys.readouterr().err
    assert parse_flags(["--net", "squeezenet1_1", "--init_from", "a"]).net == "squeezenet1_1"


def test_the_seed_is_0_unless_it_is_given():
    assert schedule_of(parse_flags([]), 250).seed == 0
    assert schedule_of(parse_flags(["--seed", "7"]), 250).seed == 7
