"""python -m tools.export: the trained net for other programs, each format read again."""

import importlib.util
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import data
from squeezenet_model import tf
from tools import export, predict

AT_HAND = [
    name
    for name, what in export.FORMATS.items()
    if all(importlib.util.find_spec(package) for package in what.packages)
]
FLOATS = ("saved_model (files)", "saved_model (images)", "frozen_graph", "squeezenet.tflite")
FLOATS += ("onnx", "checkpoint alone")


@pytest.fixture
def run(capfd):
    """Runs the command; returns exit code, stdout and stderr."""

    def function(*arguments):
        code = export.main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return function


@pytest.fixture(scope="module")
def out(trained, tmp_path_factory):
    """The folder that all formats were written to; the file `printed` holds what was printed."""
    out = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        stdout = io.StringIO()
        patch.setattr("sys.stdout", stdout)
        code = export.main(
            ["--run_dir", str(trained.run_dir), "--out", str(out), "--formats", *AT_HAND]
        )
    assert code == 0
    (out / "printed").write_text(stdout.getvalue())
    return out


@pytest.fixture(scope="module")
def rows(out):
    """The printed table: name -> bytes, accuracy, agreement, largest difference, milliseconds."""
    pattern = r"^(\S.*?)  +([\d,]+)  +([\d.]+)%  +([\d.]+)%  +(\S+)  +([\d.]+)$"
    found = re.findall(pattern, (out / "printed").read_text(), re.MULTILINE)
    return {name: [int(size.replace(",", "")), *map(float, rest)] for name, size, *rest in found}


def test_the_checkpoint_itself_comes_first(rows, trained):
    assert next(iter(rows)) == "checkpoint"
    results = json.loads((trained.run_dir / "results.json").read_text())
    size, accuracy, agreement, difference, milliseconds = rows["checkpoint"]
    assert size > 146_570 * 4
    assert accuracy == round(100 * results["accuracy"], 1)
    assert (agreement, difference) == (100, 0)
    assert milliseconds > 0


@pytest.mark.parametrize("name", FLOATS)
def test_formats_of_floats_agree_with_it(rows, name):
    if name not in rows:
        pytest.skip("its packages are not installed (requirements-export.txt)")
    _, accuracy, agreement, difference, _ = rows[name]
    assert accuracy == rows["checkpoint"][1]
    assert agreement == 100
    assert difference < 1e-5


@pytest.mark.skipif("tflite_int8" not in AT_HAND, reason="requirements-export.txt not installed")
def test_int8_is_small_and_nearly_as_accurate(rows):
    size, accuracy, _, difference, _ = rows["squeezenet_int8.tflite"]
    assert size < 200_000
    assert accuracy > rows["checkpoint"][1] - 1.1
    assert difference > 0


def test_leaves_nothing_but_the_formats(out):
    expected = {export.FORMATS[name].path for name in AT_HAND}
    assert {path.name for path in out.iterdir()} == expected | {"labels.txt", "printed"}


def test_the_frozen_graph_has_the_chapters_names(out):
    graph_def = tf.GraphDef.FromString((out / "frozen_graph.pb").read_bytes())
    names = {node.name for node in graph_def.node}
    assert {
        *("images", "conv1/Relu", "pool1/MaxPool", "fire1/squeeze/Conv2D", "fire1/concat"),
        *("fire4/expand3x3/kernel", "final_conv/BiasAdd", "probs"),
    } <= names


class TestTheSavedModel:
    @pytest.fixture(scope="class")
    @staticmethod
    def call(out):
        """Calls the default signature as a client would; returns its outputs by name."""
        with tf.Graph().as_default(), tf.Session() as session:
            loaded = tf.saved_model.load(session, ["serve"], str(out / "saved_model"))
            signature = loaded.signature_def["serving_default"]
            outputs = {name: info.name for name, info in signature.outputs.items()}
            yield lambda *files: session.run(outputs, {signature.inputs["files"].name: list(files)})

    @pytest.mark.parametrize(
        ("name", "mode"),
        [
            *((name, "RGB") for name in ("JPEG", "PNG", "GIF", "BMP", "WEBP")),
            *(("JPEG", "L"), ("PNG", "L"), ("PNG", "P"), ("BMP", "L")),
            *(("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("BMP", "RGBA")),
        ],
    )
    def test_takes_files_of_any_size_as_tools_predict_does(
        self, call, trained, tmp_path, capfd, name, mode
    ):
        record = data.load("digits").test.records[3].reshape(3, 32, 32).transpose(1, 2, 0)
        image = Image.new("RGB", (320, 200))
        image.paste(Image.fromarray(record).resize((200, 200)), (60, 0))
        if mode in ("RGBA", "LA"):
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        path = tmp_path / "digit"
        image.convert(mode).save(path, name)
        answer = call(path.read_bytes())
        assert predict.main([str(path), "--run_dir", str(trained.run_dir), "--json"]) == 0
        expected = json.loads(capfd.readouterr().out)
        names = [name.decode() for name in answer["class_names"]]
        assert names == list("0123456789")
        assert answer["label"][0].decode() == expected["label"]
        probs = [expected["probabilities"][name] for name in names]
        np.testing.assert_allclose(answer["probabilities"][0], probs, atol=0.05)

    def test_takes_several_at_once(self, call):
        file = io.BytesIO()
        Image.new("L", (9, 7)).save(file, "PNG")
        answer = call(file.getvalue(), file.getvalue())
        assert answer["probabilities"].shape == (2, 10)
        np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, rtol=1e-5)


class TestTheCheckpointAlone:
    def test_is_a_run_without_what_only_training_needs(self, out, trained):
        folder = out / "checkpoint"
        names = {name for name, _ in tf.train.list_variables(str(folder))}
        assert len(names) == 29  # kernel and bias of 14 convolutions, and the step
        assert "global_step" in names
        assert not any("Muon" in name or "Adam" in name for name in names)
        ours, theirs = (
            json.loads((path / "results.json").read_text()) for path in (folder, trained.run_dir)
        )
        assert {**theirs, "checkpoint": ours["checkpoint"]} == ours

    def test_names_no_folder_of_this_machine(self, out, trained):
        for name in ("settings.json", "results.json", "checkpoint"):
            text = (out / "checkpoint" / name).read_text()
            assert str(trained.run_dir.parents[1]) not in text
            assert "runs/" not in text


def test_can_be_done_again(run, out, trained):
    formats = ("saved_model", "frozen_graph", "checkpoint")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    code, _, err = run("--run_dir", trained.run_dir, "--out", out, "--formats", *formats)
    assert (code, err) == (0, "")
    assert before.keys() == set(out.iterdir())
    for name in formats:
        path = out / export.FORMATS[name].path
        assert path.stat().st_mtime_ns > before[path]


class TestWithoutTheTestImages:
    @pytest.fixture
    def run_dir(self, out, tmp_path):
        """A run that says it was trained on CIFAR-10, which is nowhere."""
        shutil.copytree(out / "checkpoint", tmp_path / "run")
        path = tmp_path / "run" / "settings.json"
        settings = json.loads(path.read_text()) | {"dataset": "cifar10"}
        path.write_text(json.dumps(settings))
        return tmp_path / "run"

    def test_noise_is_compared(self, run, run_dir, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        code, printed, _ = run("--run_dir", run_dir, "--formats", "frozen_graph")
        assert code == 0
        assert re.search(r"^frozen_graph +[\d,]+ +- +100\.00% ", printed, re.MULTILINE)
        assert "compared on 256 images of noise" in printed
        assert (run_dir / "export" / "frozen_graph.pb").exists()

    @pytest.mark.skipif("tflite_int8" not in AT_HAND, reason="requirements-export.txt")
    def test_int8_cannot_be_calibrated(self, run, run_dir, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        code, printed, err = run("--run_dir", run_dir, "--formats", "tflite_int8")
        assert (code, printed) == (2, "")
        assert "holds no CIFAR-10; give the folder that does (tflite_int8 is calib" in err
        assert not (run_dir / "export").exists()


class TestWhatIsInTheWay:
    def test_is_left_alone(self, run, trained, tmp_path):
        (tmp_path / "checkpoint").mkdir()
        (tmp_path / "checkpoint" / "thesis.txt").write_text("mine")
        flags = ("--formats", "frozen_graph", "checkpoint", "--out", tmp_path)
        code, printed, err = run("--run_dir", trained.run_dir, *flags)
        assert (code, printed) == (2, "")
        assert "checkpoint: is there, but no earlier export; give another --out" in err
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]

    def test_is_a_file_where_the_folder_should_be(self, run, trained, tmp_path):
        (tmp_path / "out").touch()
        flags = ("--formats", "frozen_graph", "--out", tmp_path / "out")
        code, printed, err = run("--run_dir", trained.run_dir, *flags)
        assert (code, printed) == (2, "")
        assert re.search(r"out: cannot be written \(.*\); .* another --out\.\n$", err)


def test_a_format_named_twice_is_written_once(run, trained, tmp_path):
    flags = ("--formats", "frozen_graph", "frozen_graph", "--out", tmp_path)
    code, printed, _ = run("--run_dir", trained.run_dir, *flags)
    assert code == 0
    assert printed.count("frozen_graph") == 1


def test_a_missing_package_is_named(run, trained, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "tf2onnx" else find_spec(name, *rest),
    )
    code, printed, err = run("--run_dir", trained.run_dir, "--formats", "onnx")
    assert (code, printed) == (2, "")
    assert "--formats onnx: needs the package tf2onnx; run `pip install -r" in err
    assert err.count("\n") == 1
