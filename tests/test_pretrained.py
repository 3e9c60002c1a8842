"""The included CIFAR-10 model."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from squeezenet_model import SqueezeNetModel, tf
from tests.conftest import PROJECT, readme_code, run_train
from tools import predict
from train import parse_flags
from training.initial_weights import warm_start
from training.recipe import TUNED
from training.run_dir import PRETRAINED, read_json
from training.saved_run import load_run


@pytest.fixture(scope="module")
def results():
    return read_json(PRETRAINED / "results.json")


def test_is_small():
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) < 1_500_000


def test_has_a_card_with_the_figures_of_its_results(results):
    card = (PRETRAINED / "README.md").read_text()
    low, high = results["accuracy_interval_95"]
    assert f"{results['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%})" in card
    assert f"{results['steps']:,} steps" in card
    assert f"expected calibration error is {results['calibration_error']:.1%}" in card


def test_names_no_folder_of_the_machine_it_was_trained_on():
    for name in ("settings.json", "results.json", "checkpoint"):
        assert not re.search(r'"/|runs/', (PRETRAINED / name).read_text())


def test_classifies_an_image_without_training(tmp_path, capfd):
    Image.linear_gradient("L").save(tmp_path / "a.png")
    assert predict.main([str(tmp_path / "a.png"), "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert set(answer["probabilities"]) == set(
        read_json(PRETRAINED / "settings.json")["class_names"]
    )


def test_the_readmes_ten_lines_give_what_tools_predict_gives(tmp_path, capfd):
    values = np.random.default_rng(0).integers(0, 256, [32, 32, 3], np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    code = readme_code("latest_checkpoint")
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert predict.main([str(tmp_path / "a.png"), "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    label, probability = process.stdout.split()
    assert label == answer["label"]
    assert float(probability) == pytest.approx(answer["probability"], abs=1e-5)


def test_can_start_another_run():
    assert parse_flags(["--init_from"]).init_from == PRETRAINED
    with tf.Graph().as_default():
        SqueezeNetModel(32, 24, 2).model_layers(tf.zeros([1, 24, 24, 3]), is_training=False)
        left_out = warm_start(load_run(PRETRAINED), ["cat", "dog"], TUNED)
    assert left_out == ["final_conv/kernel", "final_conv/bias"]


@pytest.mark.cifar10
def test_is_as_accurate_as_it_says(results, tmp_path):
    folder = Path(os.environ["CIFAR10_DIR"]).resolve()
    process = run_train("--eval_only", "--data_dir", folder, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert f"test accuracy   {results['accuracy']:.2%} (95% interval" in process.stdout
    assert (tmp_path / "runs" / "pretrained" / "confusion_matrix_test.png").exists()
    assert not (PRETRAINED / "confusion_matrix_test.png").exists()
