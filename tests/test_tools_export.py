"""python -m tools.export: the trained net for other programs, each format read again."""

import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from flatbuffers.number_types import Float32Flags, Int8Flags
from flatbuffers.table import Table
from PIL import Image
from tensorflow.lite.tools import flatbuffer_utils

import data
from base.files import MARKER, read_json, write_json
from data.images import read_image
from exports import PACKAGES
from exports.formats import FORMATS, decoded, labels_text
from squeezenet_model import tf
from tests.conftest import PROJECT
from tools import export, predict

AT_HAND = [
    name for name, packages in PACKAGES.items() if all(map(importlib.util.find_spec, packages))
]
needs_packages = pytest.mark.skipif(PACKAGES.keys() > {*AT_HAND}, reason="requirements-export.txt")
FILES = (
    "JPEG.RGB JPEG.L PNG.RGB PNG.L PNG.P PNG.RGBA PNG.LA GIF.RGB BMP.RGB BMP.L BMP.RGBA WEBP.RGB "
    "WEBP.RGBA"
)


@pytest.fixture
def run(trained, capfd, tmp_path, monkeypatch):
    """Runs the command in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    return lambda *arguments, run_dir=trained.run_dir: (
        export.main([*map(str, arguments), "--run_dir", str(run_dir)]),
        *capfd.readouterr(),
    )


@pytest.fixture(scope="module")
def out(trained, tmp_path_factory):
    """The folder that all formats were written to; the file `printed` holds what was printed."""
    out = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.StringIO())
        flags = ["--run_dir", str(trained.run_dir), "--out", str(out), "--formats", *AT_HAND]
        assert export.main(flags) == 0
        (out / "printed").write_text(sys.stdout.getvalue())
    return out


def test_all_formats_agree_with_the_checkpoint(out, trained):
    assert PACKAGES.keys() == FORMATS.keys()
    pattern = r"^(\S.*?)  +([\d,]+)  +([\d.]+)%  +([\d.]+)%  +(\S+)  +[\d.]+$"
    rows = re.findall(pattern, (out / "printed").read_text(), re.MULTILINE)
    assert (rows[0][0], len(rows)) == ("checkpoint", 2 + len(AT_HAND))  # saved_model: 2 signatures
    accuracy = round(100 * read_json(trained.run_dir / "results.json")["accuracy"], 1)
    for name, size, *numbers in rows:
        own_accuracy, agreement, difference = map(float, numbers)
        if "int8" in name:
            assert (int(size.replace(",", "")) < 200_000, difference > 0) == (True, True)
            assert own_accuracy > accuracy - 1.1
        else:
            assert (own_accuracy, agreement, difference < 1e-5) == (accuracy, 100, True), name


def test_the_frozen_graph_has_the_chapters_names(out):
    graph = tf.GraphDef.FromString((out / "frozen_graph.pb").read_bytes())
    assert {
        *("images", "conv1/Relu", "pool1/MaxPool", "fire1/squeeze/Conv2D", "fire1/concat"),
        *("fire4/expand3x3/kernel", "final_conv/BiasAdd", "probs"),
    } <= {node.name for node in graph.node}


def test_the_saved_model_takes_files_as_tools_predict_does(out, trained, tmp_path, capfd):
    record = data.load("digits").test.records[3].reshape(3, 32, 32).transpose(1, 2, 0)
    image = Image.new("RGBA", (320, 200))
    image.paste(Image.fromarray(record).resize((200, 200)), (60, 0))
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    for kind, mode in (name.split(".") for name in FILES.split()):
        image.convert(mode).save(tmp_path / f"{kind}.{mode}", kind)
    assert predict.main([str(tmp_path), "--run_dir", str(trained.run_dir), "--json"]) == 0
    answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    with tf.Graph().as_default(), tf.Session() as session:
        loaded = tf.saved_model.load(session, ["serve"], str(out / "saved_model"))
        signature = loaded.signature_def["serving_default"]
        served = session.run(
            {name: info.name for name, info in signature.outputs.items()},
            {signature.inputs["files"].name: [Path(each["file"]).read_bytes() for each in answers]},
        )
    names = [name.decode() for name in served["class_names"]]
    assert (len(answers), names) == (13, list("0123456789"))
    assert [label.decode() for label in served["label"]] == [each["label"] for each in answers]
    expected = [[each["probabilities"][name] for name in names] for each in answers]
    np.testing.assert_allclose(served["probabilities"], expected, atol=0.05)


def written(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


GRADIENT = Image.linear_gradient("L").resize((40, 40))
STRIPES = GRADIENT.point(lambda value: value % 2 * 255)
ANIMATED = {"save_all": True, "append_images": [GRADIENT.rotate(90)]}
DEEP = Image.fromarray(np.asarray(GRADIENT).astype(np.uint16) * 257)
BMP = written(GRADIENT.convert("RGB"), "BMP")


@pytest.mark.parametrize(
    "content",
    [
        written(GRADIENT.convert("CMYK"), "JPEG", quality=95),
        written(GRADIENT, "GIF", **ANIMATED),
        written(GRADIENT, "PNG", **ANIMATED),
        written(GRADIENT, "PNG", transparency=200),  # a color key
        written(STRIPES.convert("1"), "PNG"),
        written(STRIPES.convert("1"), "PNG", transparency=1),
        written(DEEP, "PNG"),
        BMP[:22] + (-40).to_bytes(4, "little", signed=True) + BMP[26:],  # from the top down
        written(GRADIENT, "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    ],
    ids=["CMYK", "GIF", "APNG", "key", "bits", "bits-with-key", "16-bit", "top-down", "VP8X"],
)
def test_the_saved_model_reads_odd_files_as_tools_predict_does(tmp_path, content):
    (tmp_path / "odd").write_bytes(content)
    expected = read_image(tmp_path / "odd", 32).reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_allclose(decoded(tf.constant([content]), 32)[0], expected, atol=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (written(GRADIENT, "WEBP", **ANIMATED)[:99], "an animated WebP cannot"),  # nor be decoded
        (written(GRADIENT.convert("RGB").quantize(64), "BMP"), "a BMP can only"),
        (written(GRADIENT.convert("1"), "BMP"), "a BMP can only"),
        *((BMP[:28] + bytes([bits]) + BMP[29:], "a BMP can only") for bits in (4, 8, 16)),
        *((BMP[:30] + bytes([kind]) + BMP[31:], "a BMP can only") for kind in (1, 3)),
        (BMP[:14] + b"\x0c" + BMP[15:], "a BMP can only"),  # OS/2's header
    ],
)
def test_the_saved_model_refuses_what_tensorflow_would_crash_on_or_misread(content, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decoded(tf.constant([content]), 32)


@needs_packages
def test_the_names_of_the_classes_are_in_the_files(out):
    import onnxruntime

    for path in out.glob("*.tflite"):
        assert zipfile.Path(path, "labels.txt").read_text().split() == list("0123456789")
        model = flatbuffer_utils.read_model(str(path))
        (buffer,) = [each.buffer for each in model.metadata if each.name == b"TFLITE_METADATA"]
        metadata = bytes(model.buffers[buffer].data)
        assert (metadata[4:8], b"labels.txt" in metadata) == (b"M001", True)
        check_images(metadata)
    session = onnxruntime.InferenceSession(
        out / "squeezenet.onnx", providers=["CPUExecutionProvider"]
    )
    names = session.get_modelmeta().custom_metadata_map["class_names"]
    assert json.loads(names) == list("0123456789")


def check_images(metadata: bytes):
    """They are in RGB and need no normalization, says TFLite metadata; MediaPipe wants to know."""

    def follow(table: Table, slot: int, *, is_vector: bool = False) -> Table:
        offset = table.Offset(4 + 2 * slot)
        place = table.Vector(offset) if is_vector else table.Pos + offset
        return Table(table.Bytes, table.Indirect(place))

    root = Table(metadata, int.from_bytes(metadata[:4], "little"))
    images = follow(follow(root, 3, is_vector=True), 2, is_vector=True)
    content, unit = follow(images, 3), follow(images, 4, is_vector=True)
    colors, options = follow(content, 1), follow(unit, 1)
    assert [
        table.Get(Int8Flags, table.Pos + table.Offset(4)) for table in (content, unit, colors)
    ] == [2, 1, 1]  # ImageProperties, NormalizationOptions, RGB
    assert [
        (options.VectorLen(vector), options.Get(Float32Flags, options.Vector(vector)))
        for vector in (options.Offset(4), options.Offset(6))  # mean, standard deviation
    ] == [(1, 0.0), (1, 1.0)]


def test_the_names_of_the_classes_are_beside_the_files(out):
    assert (out / "labels.txt").read_text() == "".join(f"{label}\n" for label in range(10))
    assert labels_text(["a\nb", "c "]) == "a b\nc\n"


def test_can_be_done_again_and_leaves_nothing_but_the_formats(run, out):
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert {path.name for path in before} == {
        *(FORMATS[name][0] for name in AT_HAND),
        *("labels.txt", "printed", MARKER),
    }
    code, printed, err = run("--out", out, "--formats", "saved_model", *2 * ["frozen_graph"])
    assert (code, printed.count("frozen_graph"), err) == (0, 1, "")
    changed = {path.name for path in before if path.stat().st_mtime_ns > before[path]}
    assert changed - {MARKER} == {"frozen_graph.pb", "labels.txt", "saved_model"}
    assert {*out.iterdir()} == before.keys()


def test_without_the_test_images_noise_is_compared_but_int8_cannot_be_calibrated(run, trained):
    shutil.copytree(trained.run_dir, "run", ignore=shutil.ignore_patterns("train", "eval"))
    write_json(
        Path("run/settings.json"),
        read_json(trained.run_dir / "settings.json") | {"dataset": "cifar10"},
    )
    code, printed, _ = run("--formats", "frozen_graph", run_dir="run")
    assert (code, "compared on 256 images of noise" in printed) == (0, True)
    assert re.search(r"^frozen_graph +[\d,]+ +- +100\.00% ", printed, re.MULTILINE)
    assert Path("run/export/frozen_graph.pb").exists()
    if "tflite_int8" in AT_HAND:
        code, printed, err = run("--formats", "tflite_int8", run_dir="run")
        assert (code, printed, "holds no CIFAR-10" in err) == (2, "", True)


def test_what_is_in_the_way_is_left_alone(run):
    Path("saved_model").mkdir()
    Path("labels.txt").write_text("mine")
    code, printed, err = run("--formats", "frozen_graph", "saved_model", "--out", ".")
    assert (code, printed) == (2, "")
    assert re.search(r": \.: holds files that this project has not written; .* empty folder", err)
    assert sorted(map(str, Path().rglob("*"))) == ["labels.txt", "saved_model"]


def test_a_full_disk_is_one_sentence(run, monkeypatch):
    full = tf.errors.ResourceExhaustedError(None, None, "out of space")
    monkeypatch.setattr(tf.saved_model.Builder, "save", Mock(side_effect=full))
    code, printed, err = run("--formats", "saved_model", "--out", "out")
    assert re.fullmatch(r".*saved_model: cannot be written \(out of space\); free .*\n", err)
    assert (code, printed, list(Path("out").iterdir())) == (2, "", [Path("out", MARKER)])


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, printed, err = run("--formats", "saved_model", "onnx")
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert "needs the package tf2onnx; run `pip install -r requirements-export.txt`, or" in err


def test_help_needs_no_tensorflow():
    code = (
        "import sys; from tools import export, predict, scopes, sweep_squeeze_ratio\n"
        "try: export.main(['--help'])\n"
        "finally: sys.exit('tensorflow' in sys.modules)"
    )
    assert b"tflite_int8" in subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT)
