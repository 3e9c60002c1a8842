"""Weights from elsewhere become runs: by name, from .npz files, from bare checkpoints."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagenet
from base import UserError
from imagenet.nets import NETS, variable_shapes
from saved import imported
from saved.run import load_run
from saved.run_dir import PRETRAINED
from squeezenet_model import tf
from tools import predict

UNNAMED = [f"class {index}" for index in range(5)]


def drawn(net: str, classes: int = len(UNNAMED)) -> dict[str, np.ndarray]:
    """Random weights of a net."""
    rng = np.random.default_rng(0)
    shapes = variable_shapes(NETS[net], classes)
    return {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}


V11 = drawn("squeezenet1_1")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_bare(path: str, arrays: dict[str, np.ndarray]) -> None:
    """A checkpoint as another TF1 program would leave it: no settings.json, no global_step."""
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [tf.get_variable(name, initializer=arrays[name]) for name in arrays]
        session.run(tf.global_variables_initializer())
        tf.train.Saver(variables).save(session, path)


def assert_refused(path: Path, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_run(path)


class TestNpzFiles:
    @pytest.mark.parametrize(
        ("net", "dims", "class_names"),
        [
            ("squeezenet", (32, 24), UNNAMED),
            ("squeezenet1_0", (256, 224), UNNAMED),
            ("squeezenet1_1", (256, 224), UNNAMED),
            ("squeezenet1_1", (256, 224), imagenet.class_names()),
        ],
        ids=["the chapter's", "v1.0", "v1.1", "v1.1 with ImageNet's classes"],
    )
    def test_become_runs_of_the_net_they_fit(self, net, dims, class_names, here):
        weights = drawn(net, len(class_names))
        np.savez("mine.npz", **weights)
        os.rename("mine.npz", "mine.NPZ")
        run = load_run(Path("mine.NPZ"))
        assert type(run.model) is NETS[net]
        assert (run.model.original_dim, run.model.resize_dim) == dims
        assert run.settings["class_names"] == class_names
        assert run.output_dir == Path("runs", "mine")
        for name, array in (weights | {"global_step": 0}).items():
            np.testing.assert_array_equal(tf.train.load_variable(run.checkpoint, name), array)
        assert os.listdir(here) == ["mine.NPZ"]

    @pytest.mark.parametrize(
        ("name", "found"),
        [("fire5/squeeze/bias", r"has shape \(31,\)"), ("of another net", "is missing")],
    )
    def test_that_fit_no_net_are_one_sentence(self, name, found):
        others = {each: array for each, array in V11.items() if each != "fire5/squeeze/bias"}
        np.savez("mine.npz", **others, **{name: np.zeros(31, np.float32)})
        sentence = rf"mine\.npz: does not fit .*, fire5/squeeze/bias {found} where it needs \(32,\)"
        assert_refused(Path("mine.npz"), sentence)


class TestBareCheckpoints:
    @pytest.mark.parametrize(
        "name", ["net.ckpt", "net.ckpt.index", "net.ckpt.data-00000-of-00001", ""]
    )
    def test_are_found_by_their_name_or_folder(self, name):
        save_bare("theirs/net.ckpt", V11 | {"beta1_power": np.float32(0.9), "epoch": np.int64(3)})
        found = tf.train.load_variable(load_run(Path("theirs", name)).checkpoint, "conv1/kernel")
        np.testing.assert_array_equal(found, V11["conv1/kernel"])

    def test_that_are_damaged_are_one_sentence(self):
        save_bare("theirs/net.ckpt", V11)
        os.truncate("theirs/net.ckpt.data-00000-of-00001", 9)
        assert_refused(Path("theirs"), r"net\.ckpt: is not an intact checkpoint")

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"garbage", b"\xff"),
            b'model_checkpoint_path: "/old/place/net.ckpt"\n',
            b'model_checkpoint_path: "C:\\\\old\\\\net.ckpt"\n',
        ],
        ids=["empty", "garbage", "not in UTF-8", "moved", "moved from Windows"],
    )
    def test_are_found_where_tensorflows_index_file_is_damaged_or_was_moved(self, content):
        save_bare("theirs/net.ckpt", V11)
        Path("theirs/checkpoint").write_bytes(content)
        assert load_run(Path("theirs")).settings["net"] == "squeezenet1_1"


@pytest.mark.parametrize("name", ["weights.h5", "weights.pth", "compressed_SqueezeNet.net", ""])
def test_what_cannot_be_read_is_no_damaged_checkpoint(name):
    Path("weights").mkdir()
    Path("weights", name or "README").write_bytes(b"\x89HDF\r\n")
    assert_refused(Path("weights", name), r"is neither a run, .* docs/guide\.md for how to con")


def test_a_full_disk_is_one_sentence(here, monkeypatch):
    (here / "file").touch()
    np.savez("mine.npz", **V11)
    monkeypatch.setattr(imported.tempfile, "mkdtemp", lambda prefix: here / "file")
    assert_refused(Path("mine.npz"), r"file: cannot be written \(.*\); free some space there")


def test_published_names_mean_those_weights_unless_there_is_a_folder(here, monkeypatch):
    monkeypatch.setattr(imported, "load_published", lambda name: V11)
    monkeypatch.setattr(imagenet, "class_names", lambda: list("abcde"))
    run = load_run(Path("squeezenet1_1"))
    assert run.settings["class_names"] == list("abcde")
    assert run.settings["net"] == run.settings["source"] == "squeezenet1_1"
    assert run.output_dir == Path("runs", "squeezenet1_1")
    (here / "squeezenet1_1").symlink_to(PRETRAINED)
    assert load_run(Path("squeezenet1_1")).settings["dataset"] == "cifar10"


@pytest.mark.imagenet
@pytest.mark.parametrize(
    ("photo", "weights", "label"),
    [
        ("chelsea", "squeezenet1_1", "Egyptian cat"),
        ("coffee", "squeezenet1_1", "espresso"),
        ("chelsea", "squeezenet1_0_compressed", "Egyptian cat"),
    ],
)
def test_real_weights_classify_photos(capfd, photo, weights, label):
    """They are not part of the project: see docs/guide.md."""
    images = pytest.importorskip("skimage.data")
    downloads = Path("data/downloads")
    downloads.parent.mkdir()
    downloads.symlink_to(Path(os.environ["IMAGENET_DIR"]).resolve())
    Image.fromarray(getattr(images, photo)()).save("photo.png")
    assert predict.main(["photo.png", "--json", "--run_dir", weights]) == 0
    assert json.loads(capfd.readouterr().out)["label"] == label
