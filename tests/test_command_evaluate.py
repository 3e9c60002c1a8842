"""Which checkpoints are evaluated, and what is said and drawn of them."""

import shutil

import pytest

from base.files import read_json, write_json
from command import evaluate
from saved.run_dir import PRETRAINED
from tests.conftest import train_here


@pytest.mark.parametrize(
    ("newest", "seen"),
    [
        ([None, None, "1", "1", "1", "2", "3"], ["1", "2", "3"]),
        (["1", "1", "2"], ["1", "2"]),  # the training ends with it
        (["7"], ["7"]),  # of a complete run
        ([None, None], []),  # of one that died before its first
    ],
)
def test_new_checkpoints_are_seen_once_each(monkeypatch, tmp_path, newest, seen):
    moments = iter([*newest, *3 * newest[-1:]])
    goes_on = iter([True] * (len(newest) - 1) + [False] * 3)
    monkeypatch.setattr(evaluate, "newest_checkpoint", lambda *_, **options: next(moments))
    monkeypatch.setattr(evaluate, "is_training", lambda run_dir: next(goes_on))
    monkeypatch.setattr(evaluate, "POLL_SECONDS", 0)
    assert list(evaluate.new_checkpoints(tmp_path, total_steps=3)) == seen


@pytest.fixture
def run_dir(tmp_path):
    """The included model, as if it had been trained on the digits."""
    shutil.copytree(PRETRAINED, tmp_path / "run")
    digits = {"dataset": "digits", "class_names": list("0123456789")}
    write_json(tmp_path / "run" / "settings.json", read_json(PRETRAINED / "settings.json") | digits)
    return tmp_path / "run"


def test_a_checkpoint_is_reported_on_in_its_own_folder(run_dir):
    flags = "--eval_only --split train --checkpoint run/model.ckpt-100000"
    process = train_here(*flags.split(), cwd=run_dir.parent)
    assert (process.returncode, process.stderr) == (0, "")
    assert "step 100,000: train accuracy" in process.stdout
    assert "tensorboard --logdir run\n" in process.stdout
    assert (run_dir / "confusion_matrix_train.png").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--run_dir run --dataset cifar10", "--dataset cifar10: the run was trained on digits"),
        ("--run_dir run --split validation", "--split validation: the run has held nothing out"),
        ("--run_dir runs/digits", "runs/digits: is neither a run, nor"),
        ("--dataset digits", "--dataset digits: the run was trained on cifar10"),  # the included
    ],
)
def test_an_evaluation_that_cannot_be_is_one_sentence(run_dir, flags, sentence):
    process = train_here("--eval_only", *flags.split(), cwd=run_dir.parent)
    assert (process.returncode, process.stdout, process.stderr.count("\n")) == (2, "", 1)
    assert process.stderr.startswith(f"train.py: error: {sentence}")
