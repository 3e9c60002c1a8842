"""The tools work with the paper's nets as with any run: predict, export, scopes, --eval_only."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command.train import main as train
from imagenet.nets import SqueezeNet11, describe, variable_shapes
from squeezenet_model import tf
from tests.small_nets import save_net
from tests.test_tools_export import AT_HAND, needs_packages
from tools import export, predict, scopes

CLASSES = ["dark", "light"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with the folders dark and light, two photos each, one of them to test on."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, level in (("dark", 0), ("light", 128)):
        (folder / name).mkdir()
        for number in range(2):
            pixels = rng.integers(level, level + 128, [60, 80, 3], np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run_dir(photos, tmp_path_factory):
    """A run of v1.1 for small photos, with random weights."""
    run_dir = tmp_path_factory.mktemp("run")
    model = SqueezeNet11(64, 56, len(CLASSES))
    save_net(run_dir, model, class_names=CLASSES)
    settings = {**describe(model), "dataset": "elsewhere", "class_names": CLASSES}
    (run_dir / "settings.json").write_text(json.dumps(settings))
    return run_dir


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


def test_eval_only_reports_on_them(photos, run_dir, capfd):
    assert train(["--eval_only", "--run_dir", str(run_dir), "--data_dir", str(photos)]) == 0
    assert re.search(r"^test accuracy .* 2 images\)$", capfd.readouterr().out, re.MULTILINE)


def test_scopes_are_those_of_the_run(run_dir, capfd):
    assert scopes.main([str(run_dir), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[-1]["parameters"] == 1_235_496 - 998 * 513


def test_heatmaps_are_drawn_for_them(photos, run_dir, capfd):
    assert predict.main([str(photos), "--heatmap", "--run_dir", str(run_dir)]) == 0
    assert capfd.readouterr().out.count("\n") == 4
    drawn = sorted(map(str, Path("heatmaps").rglob("*.png")))
    assert drawn == [f"heatmaps/{name}/{number}.png.png" for name in CLASSES for number in (0, 1)]


@needs_packages
def test_imported_weights_are_exported_with_any_photos(photos, run_dir, capfd):
    reader = tf.train.load_checkpoint(str(run_dir / "model.ckpt-7"))
    names = variable_shapes(SqueezeNet11, len(CLASSES))
    np.savez("mine.npz", **{name: reader.get_tensor(name) for name in names})
    formats = [name for name in AT_HAND if name != "saved_model"]  # the slowest
    flags = ["--run_dir", "mine.npz", "--formats", *formats]
    assert export.main(flags) == 2
    assert "give their folder with --data_dir" in capfd.readouterr().err
    assert export.main([*flags, "--data_dir", str(photos)]) == 0
    out = capfd.readouterr().out
    assert "compared on 2 photos of" in out  # int8 was calibrated on the other two
    rows = re.findall(r"^(\S+)  +[\d,]+  +-  +([\d.]+)%  +(\S+)  +[\d.]+$", out, re.MULTILINE)
    floats = [float(cell) for name, *cells in rows if "int8" not in name for cell in cells]
    assert (len(rows), set(floats[::2]), max(floats[1::2]) < 1e-5) == (5, {100}, True)
    assert Path("runs/mine/export/labels.txt").read_text() == "class 0\nclass 1\n"
