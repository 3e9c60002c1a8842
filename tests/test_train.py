"""The command from the user's point of view."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from PIL import Image

from tests.conftest import (
    PROJECT,
    TRAINED_FLAGS,
    read_events,
    run_train,
    steps,
    train_command,
    train_here,
)


def error_of(process) -> str:
    """The one sentence that a refused command prints."""
    assert process.returncode == 2
    assert process.stdout == ""
    lines = process.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("train.py: error: ")
    return lines[0]


class TestATrainingRun:
    def test_learns(self, trained):
        results = json.loads((trained.run_dir / "results.json").read_text())
        assert results["accuracy"] > 0.8

    def test_says_what_it_did(self, trained):
        assert trained.returncode == 0
        for line in (
            r"step 150: test accuracy \d\d\.\d\d%, loss \d\.\d{4}",
            r"epoch 8/8, step 375/375, loss \d\.\d{3}, accuracy \d+%, [\d,]+ images/s",
            r"test accuracy +\d\d\.\d\d% \(95% interval [\d.]+% to [\d.]+%, 297 images\)",
            r"parameters +146,570",
            r"training speed +[\d,]+ images/s",
            r"checkpoint +runs/digits/model\.ckpt-375",
            r"in TensorBoard +\S*tensorboard --logdir runs/digits",
        ):
            assert re.search(f"^{line}$", trained.stdout, re.MULTILINE), line

    def test_prints_no_log_messages_of_tensorflow(self, trained):
        assert trained.stderr == ""

    def test_leaves_settings_and_results(self, trained):
        settings = json.loads((trained.run_dir / "settings.json").read_text())
        assert settings["dataset"] == "digits"
        assert settings["class_names"] == list("0123456789")
        assert settings["fire_params_1"][0] == [32, 64, "fire1"]
        assert (settings["total_steps"], settings["seed"], settings["num_epochs"]) == (375, 1, 8)
        results = json.loads((trained.run_dir / "results.json").read_text())
        assert results["steps"] == 375
        assert results["parameters"] == 146_570
        assert 0 < results["loss"] < 1
        assert results["images_per_second"] > 0
        assert results["wall_seconds"] > 0

    def test_leaves_the_newest_checkpoints(self, trained):
        indices = {path.name for path in trained.run_dir.glob("model.ckpt*.index")}
        assert indices == {f"model.ckpt-{step}.index" for step in (150, 300, 375)}

    def test_leaves_curves_and_the_chapters_graph_for_tensorboard(self, trained):
        train, evaluation = (read_events(trained.run_dir / name) for name in ("train", "eval"))
        scalars = set(train.Tags()["scalars"])
        assert {tag for tag in scalars if not tag.startswith("scope")} == {
            "loss",
            "accuracy",
            "learning_rate",
            "images_per_second",
        }
        assert "scope2_fire1/1_squeeze/kernel/norm" in scalars
        assert steps(train, "loss") == [*range(20, 375, 20), 375]
        assert steps(evaluation, "accuracy") == [150, 300, 375]
        nodes = {node.name.split("/")[0] for node in train.Graph().node}
        assert {"input", "conv1", "pool1", "fire1", "fire4", "final_conv", "loss"} <= nodes
        assert not any("tower" in name or name.endswith("_1") for name in nodes)


class TestTheSameCommandAgain:
    def test_of_a_complete_run_evaluates_only(self, trained):
        before = (trained.run_dir / "results.json").read_text()
        process = train_here(*TRAINED_FLAGS, cwd=trained.run_dir.parents[1])
        assert process.returncode == 0
        assert process.stdout.startswith("step 375: test accuracy")
        assert (trained.run_dir / "results.json").read_text() == before


class TestEvalOnly:
    @pytest.fixture(scope="class")
    @staticmethod
    def process(trained):
        before = {path: path.stat().st_mtime_ns for path in trained.run_dir.rglob("*")}
        process = run_train("--eval_only", cwd=trained.run_dir.parents[1])
        drawing = trained.run_dir / "confusion_matrix_test.png"
        assert Image.open(drawing).width > 100
        drawing.unlink()
        after = {path: path.stat().st_mtime_ns for path in trained.run_dir.rglob("*")}
        assert after == before
        return process

    def test_reports_the_newest_checkpoint_and_writes_only_a_drawing(self, trained, process):
        assert process.returncode == 0
        assert process.stderr == ""
        for line in ("test accuracy", "test loss", "checkpoint"):
            ours, theirs = (
                re.search(f"^{line}  .*$", text, re.MULTILINE)[0]
                for text in (process.stdout, trained.stdout)
            )
            assert ours == theirs

    def test_reports_on_each_class(self, trained, process):
        results = json.loads((trained.run_dir / "results.json").read_text())
        rows = re.findall(r"^(\d) +(\d+) +([\d.]+)% +([\d.]+)%$", process.stdout, re.MULTILINE)
        assert [row[0] for row in rows] == list("0123456789")
        assert sum(int(row[1]) for row in rows) == 297
        for name, _, precision, recall in rows:
            assert float(precision) == round(100 * results["class_precisions"][name], 1)
            assert float(recall) == round(100 * results["class_accuracies"][name], 1)
        matrix = re.findall(r"^\d((?: +\d+){10})$", process.stdout, re.MULTILINE)
        assert [list(map(int, row.split())) for row in matrix] == results["confusion_matrix"]
        assert re.search(
            rf"^expected calibration error {results['calibration_error']:.2%} ",
            process.stdout,
            re.MULTILINE,
        )

    def test_reports_on_another_checkpoint_and_split(self, trained):
        process = train_here(
            *("--eval_only", "--split", "train"),
            *("--checkpoint", trained.run_dir / "model.ckpt-150.index"),
            cwd=PROJECT,
        )
        assert process.returncode == 0, process.stderr
        assert re.search(r"^train accuracy .* 1,500 images\)$", process.stdout, re.MULTILINE)
        assert process.stdout.startswith("step 150: train accuracy ")
        assert (trained.run_dir / "confusion_matrix_train.png").exists()

    def test_of_held_out_images_says_if_there_are_none(self, trained):
        process = train_here(
            *("--eval_only", "--split", "validation", "--run_dir", trained.run_dir), cwd=PROJECT
        )
        assert "--split validation: the run has held nothing out" in error_of(process)

    def test_follows_a_training_to_its_end(self, tmp_path):
        training = subprocess.Popen(
            train_command("--num_epochs", 2, "--eval_every", 10, "--batch_size", 32),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
        )
        while not (tmp_path / "runs" / "digits" / "settings.json").exists():
            assert training.poll() is None
            time.sleep(0.1)
        process = train_here("--eval_only", "--watch", cwd=tmp_path)
        assert training.wait() == 0
        assert process.returncode == 0, process.stderr
        followed = re.findall(r"^step (\d+): test accuracy", process.stdout, re.MULTILINE)
        assert followed[-1] == "94"
        assert len(followed) == len(set(followed))

    def test_without_a_run_says_so(self, tmp_path):
        process = train_here("--eval_only", "--run_dir", "runs/digits", cwd=tmp_path)
        assert "runs/digits: holds no run to evaluate" in error_of(process)


class TestTheChaptersRecipeOnHeldOutImages:
    @pytest.fixture(scope="class")
    @staticmethod
    def folder(tmp_path_factory):
        folder = tmp_path_factory.mktemp("held_out")
        flags = ("--recipe", "chapter", "--held_out", 300, "--num_epochs", 1)
        process = train_here(*flags, cwd=folder)
        assert process.returncode == 0, process.stderr
        (folder / "printed").write_text(process.stdout)
        return folder

    def test_is_evaluated_on_them(self, folder):
        printed = (folder / "printed").read_text()
        assert re.search(r"^step 8: validation accuracy", printed, re.MULTILINE)
        assert re.search(r"^validation accuracy .* 300 images\)$", printed, re.MULTILINE)
        results = json.loads((folder / "runs" / "digits" / "results.json").read_text())
        assert (results["split"], results["images"]) == ("validation", 300)

    def test_says_so_in_its_settings(self, folder):
        settings = json.loads((folder / "runs" / "digits" / "settings.json").read_text())
        assert (settings["recipe"], settings["learning_rate"]) == ("chapter", 0.001)
        assert settings["held_out"] == 300

    def test_leaves_the_test_set_to_eval_only(self, folder):
        process = train_here("--eval_only", cwd=folder)
        assert re.search(r"^test accuracy .* 297 images\)$", process.stdout, re.MULTILINE)


SWITCHES = {
    *("--help", "--eval_only", "--watch", "--summarize_layers", "--profile"),
    *("--skip_damaged", "--class_weights"),
}


class TestHelp:
    def test_names_every_flag_with_its_default(self):
        process = run_train("--help", cwd=PROJECT)
        text = " ".join(process.stdout.split())
        assert process.returncode == 0
        for flag in set(re.findall(r"--\w+", process.stdout)) - SWITCHES:
            assert re.search(rf"{flag} [^-]*\(default: ", text), flag

    def test_does_not_wait_for_tensorflow(self):
        process = subprocess.run(
            [sys.executable, "-X", "importtime", "train.py", "--help"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )
        assert "argparse" in process.stderr
        assert not re.search(r"\b(tensorflow|numpy|sklearn)\b", process.stderr)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--batch_size", "0"], "argument --batch_size: '0' is not a whole number above 0"),
        (["--batch_size", "2.5"], "argument --batch_size: '2.5' is not a whole number above 0"),
        (["--learning_rate", "nan"], "argument --learning_rate: 'nan' is not a number above 0"),
        (["--num_epochs", "-1"], "argument --num_epochs: '-1' is not a number above 0"),
        (["--seed", "-1"], "argument --seed: '-1' is not a whole number from 0"),
        (
            ["--dataset", "mnist"],
            "mnist: is neither a folder nor one of the data sets cifar10, digits",
        ),
        (["--original_dim", "64"], "--original_dim 64: the images of digits have 32 x 32"),
        (["--split", "train"], "--split needs --eval_only"),
        (["--eval_only", "--watch", "--checkpoint", "a"], "drop the other flag"),
        (
            ["--dataset", ".", "--data_dir", "a"],
            "--data_dir a: does not go with a folder of your own",
        ),
        (["--data_dir", "a"], "--data_dir a: the digits come with scikit-learn"),
        (["--init_from", "nowhere"], "nowhere: is neither the folder of a run nor a checkpoint"),
        (["--num_towers", "3"], "--num_towers 3 does not divide --batch_size 64"),
        (["--recipe", "mine"], "invalid choice: 'mine'"),
        (["--held_out", "0"], "argument --held_out: '0' is not a whole number above 0"),
        (["--held_out", "1500"], "--held_out 1500: 1,500 training images of 10 classes cannot"),
        (["--epochs", "3"], "unrecognized arguments: --epochs 3"),
    ],
)
def test_a_wrong_flag_is_one_sentence(flags, sentence, tmp_path):
    assert sentence in error_of(train_here(*flags, cwd=tmp_path))
    assert not list(tmp_path.iterdir())


class TestUnusableFilesAndFolders:
    def test_a_damaged_batch_file_is_named(self, tmp_path):
        batches = tmp_path / "cifar-10-batches-bin"
        batches.mkdir()
        (batches / "data_batch_1.bin").write_bytes(b"short")
        process = train_here("--dataset", "cifar10", "--data_dir", batches, cwd=tmp_path)
        assert "data_batch_1.bin: 5 bytes, where" in error_of(process)
        assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-batches-bin"]

    def test_a_folder_that_links_to_itself_is_named(self, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        process = train_here("--dataset", "loop", cwd=tmp_path)
        assert "loop: is neither a folder nor one of the data sets" in error_of(process)

    def test_a_run_dir_that_cannot_be_created_is_named(self, tmp_path):
        (tmp_path / "runs").write_text("a file in the way")
        error = error_of(train_here(cwd=tmp_path))
        assert re.search(r"runs/digits\S* cannot be .*--run_dir", error)


def test_a_terminal_gets_a_bar(tmp_path):
    pty = pytest.importorskip("pty", reason="on Windows: no pseudo-terminals")
    termios = pytest.importorskip("termios")
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), "--num_epochs", "1", "--eval_every", "12"],
        cwd=tmp_path,
        stdout=terminal,
        stderr=subprocess.PIPE,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(controller, 1 << 16)
        except OSError:  # what Linux says when the other end is closed
            break
        if not piece:
            break
        shown += piece
    assert process.wait() == 0
    assert process.stderr.read() == b""
    text = shown.decode()
    assert "\r" in text
    assert re.search(r"epoch 1/1 \|.*\| step \d+/24, loss \d\.\d+, accuracy \d+%, .* left", text)
