"""The command from the user's point of view."""

import re
import shutil
import time
from functools import partial

import pytest
from PIL import Image

from base.files import read_json
from reporting.progress import RunProgress
from tests.conftest import TRAINED_FLAGS, train_here
from tests.processes import before_call, training


def error_of(process) -> str:
    """The one sentence that a refused command prints."""
    assert (process.returncode, process.stdout) == (2, "")
    return re.fullmatch(r"train\.py: error: (.*)\n", process.stderr)[1]


def test_a_run_says_what_it_did_and_prints_no_log_messages(trained):
    assert (trained.returncode, trained.stderr) == (0, "")
    for line in (
        r"step 150: test accuracy \d\d\.\d\d%, loss \d\.\d{4}",
        r"epoch 8/8, step 375/375, loss \d\.\d{3}, accuracy \d+%, [\d,]+ images/s",
        r"test accuracy +\d\d\.\d\d% \(95% interval [\d.]+% to [\d.]+%, 297 images\)",
        r"test loss +\d\.\d{4}",
        r"per class +(\d [\d.]+% +){4}4 [\d.]+%",
        r"parameters +146,570",
        r"training speed +[\d,]+ images/s",
        r"checkpoint +runs/digits/model\.ckpt-375",
        r"in TensorBoard +\S*tensorboard --logdir runs/digits",
    ):
        assert re.search(f"^{line}$", trained.stdout, re.MULTILINE), line


def test_a_run_leaves_settings_results_and_the_newest_checkpoints(trained):
    settings = read_json(trained.run_dir / "settings.json")
    expected = {
        **{"dataset": "digits", "class_names": list("0123456789"), "net": "squeezenet"},
        **{"total_steps": 375, "seed": 1, "num_epochs": 8, "run_dir": "runs/digits"},
    }
    assert settings.items() >= expected.items()
    assert settings["fire_params_1"][0] == [32, 64, "fire1"]
    results = read_json(trained.run_dir / "results.json")
    assert (results["steps"], results["parameters"]) == (375, 146_570)
    assert results["accuracy"] > 0.8
    assert min(results[name] for name in ("loss", "images_per_second", "wall_seconds")) > 0
    assert {path.name for path in trained.run_dir.glob("model.ckpt*.index")} == {
        f"model.ckpt-{step}.index" for step in (150, 300, 375)
    }


def test_a_run_that_is_complete_is_only_evaluated_by_the_same_command(trained, tmp_path):
    shutil.copytree(trained.run_dir, tmp_path / "runs" / "digits")
    process = train_here(*TRAINED_FLAGS, cwd=tmp_path)
    assert process.returncode == 0
    assert re.match(r"complete since step 375; .*\nstep 375: test accuracy", process.stdout)
    written = tmp_path / "runs" / "digits" / "results.json"
    assert written.read_bytes() == (trained.run_dir / "results.json").read_bytes()


def test_an_evaluation_reports_class_by_class_and_writes_only_a_drawing(trained):
    before = {path: path.stat().st_mtime_ns for path in trained.run_dir.rglob("*.*")}
    process = train_here("--eval_only", cwd=trained.run_dir.parents[1])
    assert (process.returncode, process.stderr) == (0, "")
    drawing = trained.run_dir / "confusion_matrix_test.png"
    assert Image.open(drawing).width > 100
    drawing.unlink()
    assert {path: path.stat().st_mtime_ns for path in trained.run_dir.rglob("*.*")} == before
    for line in ("test accuracy", "test loss", "checkpoint"):
        assert re.search(f"^{line}  .*$", trained.stdout, re.MULTILINE)[0] in process.stdout
    results = read_json(trained.run_dir / "results.json")
    precisions, recalls = results["class_precisions"], results["class_accuracies"]
    rows = re.findall(r"^(\d) +(\d+) +([\d.]+%) +([\d.]+%)$", process.stdout, re.MULTILINE)
    assert rows == [
        (name, str(images), f"{precisions[name]:.1%}", f"{recalls[name]:.1%}")
        for name, images in results["class_images"].items()
    ]
    matrix = re.findall(r"^\d((?: +\d+){10})$", process.stdout, re.MULTILINE)
    assert [list(map(int, row.split())) for row in matrix] == results["confusion_matrix"]
    assert f"\nexpected calibration error {results['calibration_error']:.2%} " in process.stdout


def test_held_out_images_take_the_place_of_the_test_set_until_the_end(tmp_path):
    flags = ("--recipe", "chapter", "--held_out", 300, "--num_epochs", 0.2)
    process = train_here(*flags, cwd=tmp_path)
    assert re.search(r"^step 4: validation accuracy", process.stdout, re.MULTILINE)
    assert re.search(r"^validation accuracy .* 300 images\)$", process.stdout, re.MULTILINE)
    settings = read_json(tmp_path / "runs" / "digits" / "settings.json")
    assert (settings["recipe"], settings["learning_rate"]) == ("chapter", 0.001)
    process = train_here("--eval_only", cwd=tmp_path)
    assert re.search(r"^test accuracy .* 297 images\)$", process.stdout, re.MULTILINE)


def wait_for(path):
    """Returns when a file exists."""
    ends = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_training_is_watched_to_its_end_and_no_other_trainer_is_let_in(tmp_path, monkeypatch):
    """It waits in its fifth step until the watcher waits for the next checkpoint."""
    flags = ("--num_epochs", 0.12, "--batch_size", 30, "--eval_every", 2, "--run_dir", "run")
    seen = tmp_path / "seen"
    pause = partial(before_call, 5, RunProgress, "step_done", partial(wait_for, seen))
    with training(*flags, cwd=tmp_path, setup=pause) as process:
        wait_for(tmp_path / "run" / "model.ckpt-4.index")
        sentence = rf"run: process {process.pid} on .*, started .*, is training there; .*"
        assert re.fullmatch(sentence, error_of(train_here(*flags, cwd=tmp_path)))
        monkeypatch.setattr(
            "time.sleep", lambda seconds, sleep=time.sleep: (seen.touch(), sleep(seconds))
        )
        watched = train_here("--eval_only", "--watch", "--run_dir", "run", cwd=tmp_path)
        process.join()
    assert (process.exitcode, watched.returncode) == (0, 0), watched.stderr
    followed = re.findall(r"^step (\d+): test accuracy", watched.stdout, re.MULTILINE)
    assert followed in (["4", "6"], ["4", "5", "6"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--learning_rate nan", "argument --learning_rate: 'nan' is not a number from .*"),
        ("--dataset mnist", ".*/mnist: is neither a folder nor one of the data sets .*"),
        ("--dataset loop", ".*/loop: is neither a folder nor one of the data sets .*"),
        ("--dataset . --data_dir a", "a: is .* cifar10.*; leave it out."),
        ("--dataset cifar10 --data_dir .", "data_batch_1.bin: .* 30,730,000 bytes .*"),
        ("--init_from nowhere", "nowhere: is neither a run, .* one of squeezenet1_1, .*"),
        ("--num_towers 3", "--num_towers 3: does not divide the batch size, 64; .*"),
        ("--held_out 1500", "digits: 1,500 of 1,500 training images of 10 classes cannot .*"),
        ("--run_dir file/run", "file/run: cannot be .*"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_leaves_nothing_behind(flags, sentence, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "data_batch_1.bin").write_bytes(b"short")
    before = set(tmp_path.iterdir())
    assert re.fullmatch(sentence, error_of(train_here(*flags.split(), cwd=tmp_path)))
    assert set(tmp_path.iterdir()) == before
