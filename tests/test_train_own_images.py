"""Training on a folder of your own images, and from another run's weights."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from data import DataError
from imagenet.nets import SqueezeNet11, variable_shapes
from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import run_train, train_here
from tools import predict
from training import RunError
from training.health import Health
from training.initial_weights import warm_start
from training.recipe import TUNED
from training.saved_run import load_dataset, load_run

FLAGS = ("--batch_size", 8, "--num_epochs", 6, "--eval_every", 10)


def draw(path, rng, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(0, 80, [*rng.integers(40, 90, 2), 3])
    Image.fromarray((noise + color).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noisy squares: thirty reddish and thirty bluish ones, in three formats."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for index in range(30):
        suffix = ("jpg", "png", "webp")[index % 3]
        draw(folder / "squares" / "red" / f"{index}.{suffix}", rng, np.array([150, 20, 20]))
        draw(folder / "squares" / "blue" / f"{index}.{suffix}", rng, np.array([20, 20, 150]))
    return folder


@pytest.fixture(scope="module")
def own(folder):
    """A run on them; its folder is runs/squares."""
    process = run_train("--dataset", "squares", *FLAGS, cwd=folder)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return folder / "runs" / "squares"


def settings_of(run_dir):
    return json.loads((run_dir / "settings.json").read_text())


def test_learns_them(own):
    assert json.loads((own / "results.json").read_text())["accuracy"] > 0.9


def test_knows_its_classes_from_the_folders(own, folder):
    settings = settings_of(own)
    assert settings["class_names"] == ["blue", "red"]
    assert settings["dataset"] == str(folder / "squares")
    assert settings["original_dim"] == 32


def test_resumes_and_is_evaluated_with_the_same_flags(own, folder):
    again = train_here("--dataset", "./squares", *FLAGS, cwd=folder)
    assert again.returncode == 0
    assert re.match(r"step (\d+): test accuracy .*\n\n", again.stdout)  # nothing left to train
    evaluated = train_here("--eval_only", "--run_dir", own, cwd=folder.parent)
    assert evaluated.returncode == 0, evaluated.stderr
    assert re.search(r"^red +\d+ +", evaluated.stdout, re.MULTILINE)


def test_works_with_tools_predict(own, folder, capfd):
    for name in ("red", "blue"):
        code = predict.main([str(folder / "squares" / name), "--run_dir", str(own), "--json"])
        assert code == 0
        labels = [json.loads(line)["label"] for line in capfd.readouterr().out.splitlines()]
        assert np.mean(np.array(labels) == name) > 0.9


def test_may_have_moved_since(own, folder, tmp_path):
    shutil.copytree(folder / "squares", tmp_path / "moved")
    settings = settings_of(own) | {"dataset": str(folder / "gone")}
    with pytest.raises(DataError, match="gone: the images that the run was trained on are not"):
        load_dataset(settings, run_dir=own)
    moved = load_dataset(settings, data_dir=tmp_path / "moved")
    there = load_dataset(settings_of(own), run_dir=own)
    np.testing.assert_array_equal(moved.test.records[:], there.test.records[:])
    shutil.move(tmp_path / "moved" / "red", tmp_path / "moved" / "green")
    with pytest.raises(RunError, match="has the classes blue, green, but the run was trained on"):
        load_dataset(settings, data_dir=tmp_path / "moved")


class TestDamagedImages:
    @pytest.fixture(scope="class")
    @staticmethod
    def broken(folder, tmp_path_factory):
        """The folder of such a set in which a third of the red ones, in all splits, are damaged."""
        top = tmp_path_factory.mktemp("damaged")
        shutil.copytree(folder / "squares", top / "broken")
        for path in (top / "broken" / "red").glob("*.png"):
            os.truncate(path, 2_000)
        return top

    def test_end_it_in_one_sentence_that_says_what_to_do(self, broken):
        process = train_here("--dataset", "broken", *FLAGS, "--run_dir", "strict", cwd=broken)
        assert process.returncode == 2
        start = (
            r"train.py: error: 10 image files cannot be used; use --skip_damaged:\n +\S*broken/red/"
        )
        assert re.match(start, process.stderr)
        assert process.stderr.count("\n") == 11

    def test_are_skipped_if_the_same_command_allows_it_and_whenever_it_is_used_again(self, broken):
        flags = ("--dataset", "broken", *FLAGS, "--num_epochs", 1)
        process = train_here(*flags, "--skip_damaged", cwd=broken)
        assert process.returncode == 0, process.stderr
        assert re.fullmatch(
            r"\S*broken: 10 left out, damaged: .*, and 5 more \(.*\n", process.stderr
        )
        assert settings_of(broken / "runs" / "broken")["skip_damaged"] is True
        for again in (flags, ("--eval_only", "--run_dir", "runs/broken")):
            process = train_here(*again, cwd=broken)
            assert process.returncode == 0, process.stderr
            assert "10 left out, damaged: " in process.stderr

    def test_may_be_skipped_by_an_evaluation_alone(self, broken, own):
        flags = ("--eval_only", "--run_dir", own, "--data_dir", "broken")
        process = train_here(*flags, cwd=broken)
        assert "image files cannot be used; use --skip_damaged:" in process.stderr
        assert train_here(*flags, "--skip_damaged", cwd=broken).returncode == 0


def test_unbalanced_classes_are_pointed_out_and_can_be_weighted(folder, tmp_path):
    shutil.copytree(folder / "squares" / "red", tmp_path / "few" / "red")
    (tmp_path / "few" / "blue").mkdir()
    for index in (0, 1):
        shutil.copy(folder / "squares" / "blue" / f"{index * 3}.jpg", tmp_path / "few" / "blue")
    flags = ("--dataset", "few", "--batch_size", 8, "--num_epochs", 1)
    process = train_here(*flags, cwd=tmp_path)
    assert re.fullmatch(
        r"the classes are unbalanced: \d\d training images of red, but 1 of blue; weighting the "
        r"classes may help \(--class_weights\)\n",
        process.stderr,
    )
    for _ in range(2):
        process = train_here(*flags, "--class_weights", "--run_dir", "b", cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, "")
    assert settings_of(tmp_path / "b")["class_weights"] is True
    weights = [tf.train.load_checkpoint(str(tmp_path / run)) for run in ("runs/few", "b")]
    kernels = [reader.get_tensor("conv1/kernel") for reader in weights]
    assert not np.array_equal(*kernels)
    process = train_here(*flags, "--run_dir", "b", cwd=tmp_path)
    assert "the run there has class_weights true, not false" in process.stderr


class TestInitFrom:
    def test_takes_all_that_fits_and_lists_the_rest(self, folder, trained):
        flags = ("--init_from", trained.run_dir.resolve(), "--num_epochs", 0.1)
        process = train_here("--dataset", "squares", "--run_dir", "fine", *flags, cwd=folder)
        assert process.returncode == 0, process.stderr
        assert re.match(
            r"initial weights from \S+model\.ckpt-375, "
            r"except for final_conv/kernel, final_conv/bias\n",
            process.stdout,
        )
        assert settings_of(folder / "fine")["init_from"] == str(trained.run_dir.resolve())

    def test_starts_from_those_weights_and_needs_them_only_then(self, trained, tmp_path):
        shutil.copytree(trained.run_dir, tmp_path / "source")
        flags = ("--init_from", "source", "--num_epochs", 0.08, "--learning_rate", 1e-9)  # a step
        process = train_here(*flags, cwd=tmp_path)
        assert re.fullmatch(r"initial weights from \S+", process.stdout.splitlines()[0])
        shutil.rmtree(tmp_path / "source")
        assert train_here(*flags, cwd=tmp_path).returncode == 0
        ours, theirs = (
            tf.train.load_checkpoint(str(checkpoint))
            for checkpoint in (
                tmp_path / "runs/digits/model.ckpt-1",
                trained.run_dir / "model.ckpt-375",
            )
        )
        for name in ("conv1/kernel", "fire4/expand3x3/bias", "final_conv/kernel"):
            np.testing.assert_allclose(ours.get_tensor(name), theirs.get_tensor(name), atol=1e-6)

    def test_needs_them_as_long_as_there_is_no_checkpoint_to_resume_from(self, trained, tmp_path):
        flags = ("--init_from", trained.run_dir.resolve(), "--num_epochs", 0.08)
        first = train_here(*flags, cwd=tmp_path)
        run_dir = tmp_path / "runs" / "digits"
        weights = {path.name: path.read_bytes() for path in run_dir.glob("model.ckpt-1.*")}
        for path in run_dir.glob("*.ckpt-*"):  # as if it had been killed before its first one
            path.unlink()
        again = train_here(*flags, cwd=tmp_path)
        assert again.stdout.splitlines()[0] == first.stdout.splitlines()[0]
        assert weights
        assert {path.name: path.read_bytes() for path in run_dir.glob("model.ckpt-1.*")} == weights

    def test_leaves_out_a_last_layer_of_other_classes_even_if_its_shape_fits(self, trained):
        run = load_run(trained.run_dir)
        with tf.Graph().as_default():
            SqueezeNetModel(32, 24, 10).model_layers(tf.zeros([1, 24, 24, 3]), is_training=False)
            assert warm_start(run, list("0123456789"), TUNED) == []
            others = warm_start(run, list("abcdefghij"), TUNED)
        assert others == ["final_conv/kernel", "final_conv/bias"]

    def test_refuses_weights_that_the_recipe_would_undo(self, trained):
        run = load_run(trained.run_dir)
        run = run._replace(settings={**run.settings, "recipe": "chapter"})
        with pytest.raises(RunError, match="give --recipe chapter"):
            warm_start(run, list("0123456789"), TUNED)

    @pytest.mark.slow
    def test_fine_tuning_that_is_killed_resumes_to_the_same_weights(self, tmp_path, monkeypatch):
        """In the paper's net: its fitted last layer, frozen layers and decay are all repeated."""
        rng = np.random.default_rng(0)
        for index in range(8):
            name = ("red", "blue")[index % 2]
            draw(tmp_path / "few" / name / f"{index}.png", rng, np.array([150, 20, 20]))
        shapes = variable_shapes(SqueezeNet11, 2)
        weights = {
            name: (rng.standard_normal(shape) * (2 / np.prod(shape[:-1])) ** 0.5).astype(np.float32)
            for name, shape in shapes.items()
        }
        np.savez(tmp_path / "weights.npz", **weights)
        flags = ("--dataset", "few", "--init_from", "weights.npz")
        flags += ("--batch_size", 2, "--num_epochs", 1.3, "--eval_every", 2)
        assert train_here(*flags, "--run_dir", "whole", cwd=tmp_path).returncode == 0
        check = Health.check

        def die(self, values):
            if values.step == 3:
                raise KeyboardInterrupt
            check(self, values)

        with monkeypatch.context() as patched:
            patched.setattr(Health, "check", die)
            assert train_here(*flags, "--run_dir", "killed", cwd=tmp_path).returncode == 130
        assert train_here(*flags, "--run_dir", "killed", cwd=tmp_path).returncode == 0
        (data,) = (tmp_path / "whole").glob("model.ckpt-4.data*")
        assert data.read_bytes() == (tmp_path / "killed" / data.name).read_bytes()

    def test_cannot_be_changed_halfway(self, own, folder, trained):
        flags = ("--init_from", trained.run_dir.resolve())
        process = train_here("--dataset", "squares", *FLAGS, *flags, cwd=folder)
        assert process.returncode == 2
        assert "the run there has init_from null, not" in process.stderr
