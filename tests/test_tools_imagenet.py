"""The tools work with the paper's nets as with any run: predict, export, --eval_only."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base.files import write_json
from command.train import main as train
from imagenet.nets import SqueezeNet11, describe
from squeezenet_model import tf
from tests.small_nets import save_net
from tests.test_tools_export import AT_HAND, needs_packages
from tools import export, predict

CLASSES = ["dark", "light"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with the folders dark and light, two photos each, one of them to test on."""
    folder = tmp_path_factory.mktemp("photos")
    for number, path in enumerate(("dark/0.png", "dark/1.png", "light/0.png", "light/1.png")):
        (folder / path).parent.mkdir(exist_ok=True)
        Image.effect_mandelbrot((80, 60), (-2, -1.5, 2, 1.5), 10 + number).save(folder / path)
    return folder


@pytest.fixture(scope="module")
def run_dir(photos, tmp_path_factory):
    """A run of v1.1 for small photos, with random weights."""
    run_dir = tmp_path_factory.mktemp("run")
    model = SqueezeNet11(64, 56, len(CLASSES))
    save_net(run_dir, model, class_names=CLASSES)
    write_json(
        run_dir / "settings.json",
        {**describe(model), "dataset": "elsewhere", "class_names": CLASSES},
    )
    return run_dir


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


def test_eval_only_reports_on_them(photos, run_dir, capfd):
    assert train(["--eval_only", "--run_dir", str(run_dir), "--data_dir", str(photos)]) == 0
    assert re.search(r"^test accuracy .* 2 images\)$", capfd.readouterr().out, re.MULTILINE)


def test_heatmaps_are_drawn_for_them(photos, run_dir, capfd):
    assert predict.main([str(photos), "--heatmap", "--run_dir", str(run_dir)]) == 0
    assert capfd.readouterr().out.count("\n") == 4
    drawn = {f"heatmaps/{name}/{number}.png.png" for name in CLASSES for number in (0, 1)}
    assert {*map(str, Path("heatmaps").rglob("*.png"))} == drawn


@needs_packages
def test_imported_weights_are_exported_with_any_photos(photos, run_dir, capfd):
    reader = tf.train.load_checkpoint(str(run_dir))
    names = reader.get_variable_to_shape_map().keys() - {"global_step"}
    np.savez("mine.npz", **{name: reader.get_tensor(name) for name in names})
    # All but the slowest.
    flags = ["--run_dir", "mine.npz", "--formats", *sorted({*AT_HAND} - {"saved_model"})]
    assert export.main(flags) == 2
    assert "give their folder with --data_dir" in capfd.readouterr().err
    assert export.main([*flags, "--data_dir", str(photos)]) == 0
    out = capfd.readouterr().out
    assert "compared on 2 photos of" in out  # int8 was calibrated on the other two
    rows = re.findall(r"^(\S+)  +[\d,]+  +-  +([\d.]+)%  +(\S+)  +[\d.]+$", out, re.MULTILINE)
    floats = [float(cell) for name, *cells in rows if "int8" not in name for cell in cells]
    assert (len(rows), set(floats[::2]), max(floats[1::2]) < 1e-5) == (5, {100}, True)
    assert Path("runs/mine/export/labels.txt").read_text() == "class 0\nclass 1\n"
