"""What the flags of train.py come to."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

import data
from base import UserError
from base.files import write_json
from cluster.config import Config
from command.flags import parse_flags
from command.plan import initial_run, load_images, make_plan, run_dir_of
from saved.run_dir import PRETRAINED, read_settings

FLAGS = ["--dataset", "photos"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


def test_a_plan_for_digits():
    plan = make_plan(parse_flags(["--held_out", "300"]), None)
    assert (plan.run_dir, plan.dataset.evaluation_name) == (Path("runs/digits"), "validation")
    assert (plan.model.original_dim, plan.model.resize_dim, plan.model.output_size) == (32, 24, 10)
    expected = {"dataset": "digits", "total_steps": 113, "seed": 0, "held_out": 300, "num_tasks": 1}
    assert plan.settings.items() >= (expected | {"init_from": None, "data_dir": None}).items()


@pytest.mark.parametrize(("name", "run_dir"), [("chief", Path("runs/digits")), ("worker 0", None)])
def test_only_the_chief_of_a_cluster_has_a_folder(name, run_dir):
    config = Config({"chief": "a:1", "worker 0": "b:1"}, name, name.split()[0])
    plan = make_plan(parse_flags(["--init_from"]), config)
    assert (plan.run_dir, bool(plan.init_from)) == (run_dir, run_dir is not None)
    assert (plan.schedule.batch_size, plan.settings["num_tasks"]) == (128, 2)
    assert plan.settings["init_from"] == str(PRETRAINED)


def test_photos_that_must_not_be_mirrored_and_files_elsewhere(here, monkeypatch):
    mirrored = dataclasses.replace(data.load("digits"), mirrored=True)
    monkeypatch.setattr(data, "load", lambda *args, **_: mirrored)
    plan = make_plan(parse_flags(["--no_flip", "--data_dir", "files"]), None)
    assert (plan.dataset.mirrored, plan.settings["no_flip"]) == (False, True)
    assert plan.settings["data_dir"] == str(here / "files")


def test_a_run_keeps_its_precision_recipe_and_length(here, monkeypatch):
    """On a faster machine, and whatever the defaults are by now."""
    monkeypatch.setattr("training.recipe.fast_precision", lambda: "bfloat16")
    (here / "photos").mkdir()
    photos = dataclasses.replace(data.load("digits"), name="photos")
    monkeypatch.setattr(data, "load", lambda *args, **_: photos)
    flags = parse_flags(FLAGS)
    new = make_plan(flags, None).schedule
    assert (new.precision, new.recipe.name, new.num_epochs) == ("bfloat16", "tuned", 30)
    before = read_settings(PRETRAINED) | {"recipe": "chapter", "num_epochs": 40}
    del before["precision"]  # written before there was a choice
    (here / "runs" / "photos").mkdir(parents=True)
    write_json(here / "runs" / "photos" / "settings.json", before)
    kept = make_plan(flags, None).schedule
    assert (kept.precision, kept.recipe.name, kept.num_epochs) == ("float32", "chapter", 40)
    changed = make_plan(parse_flags([*FLAGS, "--num_epochs", "3", "--recipe", "tuned"]), None)
    assert (changed.schedule.recipe.name, changed.schedule.num_epochs) == ("tuned", 3)


def test_what_a_run_is_called():
    assert run_dir_of(parse_flags(["--dataset", "some/pets"])) == Path("runs/pets")


@pytest.mark.parametrize(
    ("flags", "net", "dims"),
    [
        ("--dataset photos", "squeezenet1_1", (288, 288)),
        ("--dataset photos", "squeezenet", (32, 24)),
        ("--dataset photos --original_dim 64", "squeezenet", (64, 48)),
        ("--dataset photos --original_dim 224", "squeezenet1_1", (224, 224)),
        ("", "squeezenet", None),
    ],
)
def test_the_sizes_of_images(monkeypatch, flags, net, dims):
    monkeypatch.setattr(data, "load", lambda name, data_dir, dims: dims)
    assert load_images(parse_flags(flags.split()), net) == dims


@pytest.mark.parametrize(
    ("flags", "net", "sentence"),
    [
        ("--dataset photos --original_dim 63", "squeezenet1_1", "--original_dim 63: does not go"),
        ("--dataset cifar10", "squeezenet1_1", "--dataset cifar10: does not go with squeezenet1_1"),
        ("--original_dim 64", "squeezenet", "digits: has images of 32 x 32 pixels"),
    ],
)
def test_sizes_that_do_not_go_together(flags, net, sentence):
    with pytest.raises(UserError, match=sentence):
        load_images(parse_flags(flags.split()), net)


def test_a_run_starts_from_another_one_until_it_has_an_intact_checkpoint(here):
    shutil.copytree(PRETRAINED, here / "runs" / "digits")
    flags, run_dir = parse_flags(["--init_from"]), Path("runs/digits")
    assert initial_run(flags, run_dir, {}) == (None, "squeezenet")
    os.truncate(run_dir / "model.ckpt-100000.index", 9)
    run, net = initial_run(flags, run_dir, {})
    assert (run.settings, net) == (read_settings(PRETRAINED), "squeezenet")
