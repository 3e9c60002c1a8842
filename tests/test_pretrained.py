"""The included CIFAR-10 model."""

import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

from base.files import read_json
from saved.run_dir import PRETRAINED
from tests.conftest import PROJECT, readme_code, readme_examples, train_here
from tools import predict

RESULTS = read_json(PRETRAINED / "results.json")


def test_is_small_and_names_no_folder_of_the_machine_it_was_trained_on():
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) < 1_500_000
    for name in ("settings.json", "results.json", "checkpoint"):
        assert not re.search(r'"/|runs/', (PRETRAINED / name).read_text())


def test_has_a_card_with_the_figures_of_its_results():
    card = (PRETRAINED / "README.md").read_text()
    low, high = RESULTS["accuracy_interval_95"]
    for figure in (
        f"{RESULTS['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%})",
        f"{RESULTS['steps']:,} steps",
        f"expected calibration error is {RESULTS['calibration_error']:.1%}",
    ):
        assert figure in card


def test_the_readmes_code_gives_what_tools_predict_gives(tmp_path, capfd, monkeypatch):
    photo = str(tmp_path / "a.png")
    Image.effect_mandelbrot((32, 32), (-3, -2, 2, 2), 100).save(photo)
    assert predict.main([photo, "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert {*answer["probabilities"]} == {*read_json(PRETRAINED / "settings.json")["class_names"]}
    assert len(readme_examples()) == 2  # the other one runs in test_squeezenet_model.py
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr("sys.argv", ["-c", photo])
    exec(readme_code("latest_checkpoint"), {})
    label, probability = capfd.readouterr().out.split()
    assert label == answer["label"]
    assert float(probability) == pytest.approx(answer["probability"], abs=1e-5)


@pytest.mark.cifar10
def test_is_as_accurate_as_it_says(tmp_path):
    folder = Path(os.environ["CIFAR10_DIR"]).resolve()
    process = train_here("--eval_only", "--data_dir", folder, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert f"test accuracy   {RESULTS['accuracy']:.2%} (95% interval" in process.stdout
    assert (tmp_path / "runs" / "pretrained" / "confusion_matrix_test.png").exists()
    assert not (PRETRAINED / "confusion_matrix_test.png").exists()
