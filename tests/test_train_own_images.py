"""Training on a folder of your own photos, and from another run's weights."""

import json
import os
import re
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

from base.files import read_json
from imagenet.nets import NETS, variable_shapes
from reporting.progress import RunProgress
from tests.conftest import train_here
from tests.processes import before_call, run_train
from tools import predict

FLAGS = ("--dataset", "squares", "--batch_size", 8, "--num_epochs", 6, "--class_weights")
COUNTS = {"red": 39, "猫": 3}
LEFT_OUT = r"/\S+/squares: 2 left out, unusable: \S+/red/1\.png: .*, \S+/red/4\.png: .*\n"
UNBALANCED = (
    r"the classes are unbalanced: \d\d training images of red, but 2 of 猫; weighting the classes "
    r"may help \(--class_weights\)\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the folder squares: noisy squares in three formats, many reddish ones, two of
    which are damaged, and a few bluish ones."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for name, count in COUNTS.items():
        (folder / "squares" / name).mkdir(parents=True)
        for index in range(count):
            noise = rng.integers(0, 80, [*rng.integers(40, 90, 2), 3])
            color = [150, 20, 20] if name == "red" else [20, 20, 150]
            path = folder / "squares" / name / f"{index}.{('jpg', 'png', 'webp')[index % 3]}"
            Image.fromarray((noise + color).astype(np.uint8)).save(path)
    for damaged in (1, 4):
        os.truncate(folder / "squares" / "red" / f"{damaged}.png", 2_000)
    return folder


@pytest.fixture(scope="module")
def own(folder):
    """The process of a run on them; its folder is runs/squares."""
    return run_train(*FLAGS, cwd=folder)


class TestPhotosOfYourOwn:
    def test_are_learned_all_but_the_damaged_ones(self, own, folder):
        assert own.returncode == 0
        assert re.fullmatch(LEFT_OUT, own.stderr)
        results = read_json(folder / "runs" / "squares" / "results.json")
        assert results["class_accuracies"].keys() == COUNTS.keys()
        assert min(results["class_accuracies"].values()) > 0.9
        settings = read_json(folder / "runs" / "squares" / "settings.json")
        assert (settings["dataset"], settings["class_weights"]) == (str(folder / "squares"), True)

    def test_are_found_again_by_the_same_command_and_by_an_evaluation(self, own, folder):
        again = train_here(*FLAGS, "--dataset", "./squares", cwd=folder)
        assert re.match(r"complete since .*\nstep \d+: test accuracy .*\n\n", again.stdout)
        flags = ("--eval_only", "--run_dir", folder / "runs" / "squares")
        evaluated = train_here(*flags, cwd=folder.parent)
        assert re.search(r"^猫 +1 +100\.0% +100\.0%$", evaluated.stdout, re.MULTILINE)
        assert re.fullmatch(LEFT_OUT, evaluated.stderr)

    def test_are_classified_by_the_net_that_was_trained(self, own, folder, capfd):
        for name, count in COUNTS.items():
            run_dir = str(folder / "runs" / "squares")
            predict.main([str(folder / "squares" / name), "--run_dir", run_dir, "--json"])
            labels = [json.loads(line)["label"] for line in capfd.readouterr().out.splitlines()]
            assert labels.count(name) > 0.9 * (count - 2 * (name == "red"))


@pytest.mark.parametrize(
    "net", ["squeezenet", pytest.param("squeezenet1_1", marks=pytest.mark.slow)]
)
def test_fine_tuning_that_is_killed_resumes_to_the_same_weights(folder, net, tmp_path):
    """A fitted last layer, frozen layers and the decay of the learning rate are all repeated; the
    initial weights are no longer needed, and the photos may have been moved."""
    shutil.copytree(folder / "squares", tmp_path / "squares")
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "weights.npz",
        **{
            name: (rng.normal(size=shape) * (2 / np.prod(shape[:-1])) ** 0.5).astype(np.float32)
            for name, shape in variable_shapes(NETS[net], 2).items()
        },
    )
    flags = ("--dataset", "squares", "--init_from", "weights.npz", "--recipe", "wise_ft")
    flags += ("--batch_size", 4, "--num_epochs", 0.5, "--eval_every", 2, "--held_out", 6)
    whole = run_train(*flags, "--run_dir", "whole", cwd=tmp_path)
    assert whole.returncode == 0
    assert re.fullmatch(LEFT_OUT + UNBALANCED, whole.stderr)
    started = r"initial weights from weights\.npz, except for final_conv/kernel, final_conv/bias\n"
    assert re.search(started, whole.stdout)
    assert "a mean: 25% of those before the fine-tuning, 75% of those after it\n" in whole.stdout
    kill = partial(before_call, 3, RunProgress, "step_done", partial(os._exit, 9))
    killed = run_train(*flags, "--run_dir", "killed", cwd=tmp_path, setup=kill)
    assert killed.returncode == 9
    (tmp_path / "weights.npz").unlink()
    (tmp_path / "squares").rename(tmp_path / "moved")
    resumed = run_train(*flags, "--dataset", "moved", "--run_dir", "killed", cwd=tmp_path)
    assert re.search("^resumed at step 2\nstep 2: validation accuracy", resumed.stdout, re.M)
    (data,) = (tmp_path / "whole").glob("model.ckpt-4.data*")
    assert data.read_bytes() == (tmp_path / "killed" / data.name).read_bytes()
    settings = read_json(tmp_path / "killed" / "settings.json")
    assert (settings["net"], settings["init_from"]) == (net, str(tmp_path / "weights.npz"))
