"""The tools work with the paper's nets as with any run: predict, export, scopes, --eval_only."""

import importlib.util
import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train
from imagenet import PUBLISHED
from imagenet.nets import SqueezeNet11, describe, variable_shapes
from squeezenet_model import tf
from tools import export, labels, predict, scopes
from training.imported_run import write_run

CLASSES = ["dark", "light"]
HAS_TFLITE = importlib.util.find_spec("ai_edge_litert") is not None
HAS_ONNX = importlib.util.find_spec("onnxruntime") is not None


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with the folders dark and light, of two photos each, in train and in test."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name, level in (("dark", 0), ("light", 128)):
            (folder / part / name).mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(level, level + 128, [60, 80, 3], np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run_dir(photos, tmp_path_factory):
    """A run of v1.1 for small photos, with random weights."""
    model = SqueezeNet11(64, 56, len(CLASSES))
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.standard_normal(shape) * (2 / np.prod(shape[:-1])) ** 0.5).astype(np.float32)
        for name, shape in variable_shapes(SqueezeNet11, len(CLASSES)).items()
    }
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    settings = {**describe(model), "dataset": str(photos), "class_names": CLASSES}
    write_run(run_dir, weights, settings)
    return run_dir


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_eval_only_reports_on_them(photos, run_dir, here, capfd):
    flags = ["--eval_only", "--run_dir", str(run_dir), "--data_dir", str(photos)]
    assert train.main(flags) == 0
    out = capfd.readouterr().out
    assert re.search(r"^test accuracy .* 4 images\)$", out, re.MULTILINE)


def test_eval_only_of_published_weights_asks_for_images(here, capfd, monkeypatch):
    for name in ("squeezenet1_1", "mine.npz"):
        own = PUBLISHED["squeezenet1_1"]
        monkeypatch.setitem(
            PUBLISHED,
            "squeezenet1_1",
            own._replace(file=own.file._replace(url="http://127.0.0.1:9/weights.zip")),
        )
        assert train.main(["--eval_only", "--run_dir", name]) == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1
        assert re.search(r"weights\.zip: cannot be downloaded|mine\.npz: cannot be read", err)


class TestScopes:
    @pytest.mark.parametrize(
        ("name", "total"), [("squeezenet1_0", "1,248,424"), ("squeezenet1_1", "1,235,496")]
    )
    def test_of_a_published_net_need_no_weights(self, here, capfd, name, total):
        assert scopes.main([name]) == 0
        out = capfd.readouterr().out
        assert re.search(rf"^total +{total} ", out, re.MULTILINE)
        # The chapter's argument, and conv1 as it is: no fire module stands there.
        assert re.search(r"^fire9 +13x13x512 +197,184 .* 2,359,808 +12\.0x", out, re.MULTILINE)
        assert re.search(r"^conv1 .* 1\.0x", out, re.MULTILINE)
        assert not list(here.iterdir())

    def test_of_a_run(self, run_dir, capfd):
        assert scopes.main([str(run_dir), "--json"]) == 0
        rows = json.loads(capfd.readouterr().out)
        assert rows[-1]["parameters"] == 1_235_496 - 998 * 513


# All but the slowest, and those whose packages are missing.
FORMATS = [
    name
    for name, what in export.FORMATS.items()
    if name != "saved_model" and all(map(importlib.util.find_spec, what.packages))
]


class TestExports:
    @pytest.fixture(scope="class")
    @staticmethod
    def out(photos, run_dir, tmp_path_factory):
        """The folder of the formats; the file `printed` holds what was printed."""
        out = tmp_path_factory.mktemp("export")
        with pytest.MonkeyPatch.context() as patch:
            stdout = io.StringIO()
            patch.setattr("sys.stdout", stdout)
            flags = ["--run_dir", run_dir, "--data_dir", photos, "--out", out]
            code = export.main([*map(str, flags), "--formats", *FORMATS])
        assert code == 0
        (out / "printed").write_text(stdout.getvalue())
        return out

    def test_agree_with_the_checkpoint(self, out):
        pattern = r"^(\S.*?)  +[\d,]+  +[\d.]+%  +([\d.]+)%  +(\S+)  +[\d.]+$"
        rows = re.findall(pattern, (out / "printed").read_text(), re.MULTILINE)
        assert len(rows) == 1 + len(FORMATS)
        for name, agreement, difference in rows:
            if "int8" not in name:
                assert (float(agreement), float(difference) < 1e-5) == (100, True), name

    def test_name_the_classes_beside_them(self, out):
        assert (out / "labels.txt").read_text() == "dark\nlight\n"

    @pytest.mark.skipif(not HAS_TFLITE, reason="requirements-export.txt is not installed")
    @pytest.mark.parametrize("name", ["squeezenet.tflite", "squeezenet_int8.tflite"])
    def test_for_phones_name_them_inside(self, out, name):
        from tensorflow.lite.tools import flatbuffer_utils

        with zipfile.ZipFile(out / name) as archive:
            assert archive.read("labels.txt") == b"dark\nlight\n"
        model = flatbuffer_utils.read_model(str(out / name))
        (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
        metadata = bytes(model.buffers[entry.buffer].data)
        assert metadata[4:8] == b"M001"
        assert b"labels.txt" in metadata

    @pytest.mark.skipif(not HAS_ONNX, reason="requirements-export.txt is not installed")
    def test_for_other_runtimes_name_them_inside(self, out):
        import onnxruntime

        session = onnxruntime.InferenceSession(
            out / "squeezenet.onnx", providers=["CPUExecutionProvider"]
        )
        names = session.get_modelmeta().custom_metadata_map["class_names"]
        assert json.loads(names) == CLASSES

    @pytest.mark.skipif(not HAS_TFLITE, reason="requirements-export.txt is not installed")
    def test_of_imported_weights_are_calibrated_on_any_photos(self, photos, run_dir, here, capfd):
        reader = tf.train.load_checkpoint(str(run_dir / "model.ckpt-0"))
        names = set(reader.get_variable_to_shape_map()) - {"global_step"}
        np.savez("mine.npz", **{name: reader.get_tensor(name) for name in names})
        flags = ["--run_dir", "mine.npz", "--formats", "tflite_int8"]
        assert export.main(flags) == 2
        assert "is calibrated on photos; give a folder of some" in capfd.readouterr().err
        assert export.main([*flags, "--data_dir", str(photos / "test")]) == 0
        assert "compared on 2 photos of" in capfd.readouterr().out
        assert (here / "runs" / "mine" / "export" / "squeezenet_int8.tflite").exists()
        assert (here / "runs" / "mine" / "export" / "labels.txt").read_text() == (
            "class 0\nclass 1\n"
        )


def test_labels_are_one_line_each_whatever_the_names():
    assert labels.labels_text(["a\nb", "c "]) == "a b\nc\n"


class TestHeatmaps:
    @pytest.mark.parametrize("net", ["v1.1", "the chapter's"])
    def test_are_drawn_for_a_folder_as_it_is_arranged(self, photos, run_dir, here, capfd, net):
        flags = ["--run_dir", str(run_dir)] if net == "v1.1" else []
        assert predict.main([str(photos / "test"), "--heatmap", *flags]) == 0
        out, err = capfd.readouterr()
        assert out.count("\n") == 4
        assert err == "heatmaps are in heatmaps\n"
        drawn = sorted(str(path.relative_to(here)) for path in here.rglob("*.png"))
        assert drawn == [
            *("heatmaps/dark/0.png.png", "heatmaps/dark/1.png.png"),
            *("heatmaps/light/0.png.png", "heatmaps/light/1.png.png"),
        ]
        for path in drawn:
            assert Image.open(path).size == (512, 512)

    def test_show_the_map_of_the_answer(self):
        from reporting.heatmap import draw_heatmap

        activations = np.zeros([4, 4], np.float32)
        activations[0, 3] = 7  # above, on the right
        square = np.full([512, 512, 3], 100, np.uint8)
        drawn = np.asarray(draw_heatmap(square, activations, seen=0.5)).astype(int)
        warmth = drawn[..., 0] - drawn[..., 2]  # more red than blue
        row, column = np.unravel_index(warmth.argmax(), warmth.shape)
        assert 128 <= row < 200
        assert 312 <= column < 384
        assert (drawn[:128] == 100).all()  # the net does not see the edges
        assert (drawn[384:] == 100).all()

    def test_never_overwrite_a_photo(self, photos, run_dir, here, capfd):
        (here / "heatmaps").mkdir()
        Image.new("RGB", (9, 9)).save("a.png")
        Image.new("RGB", (9, 9)).save("heatmaps/a.png.png")
        before = Path("heatmaps/a.png.png").read_bytes()
        images = ["a.png", "heatmaps/a.png.png"]
        assert predict.main([*images, "--heatmap", "--run_dir", str(run_dir)]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert "would overwrite heatmaps/a.png.png" in err
        assert Path("heatmaps/a.png.png").read_bytes() == before

    def test_skip_what_is_not_an_image(self, photos, run_dir, here, capfd):
        Image.new("RGB", (9, 9)).save("a.png")
        Path("b.png").write_text("not an image")
        assert predict.main(["a.png", "b.png", "--heatmap", "--run_dir", str(run_dir)]) == 1
        assert os.listdir("heatmaps") == ["a.png.png"]
