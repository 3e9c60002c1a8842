"""Weights from elsewhere become runs: by name, from .npz files, from bare checkpoints."""

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

import imagenet
from imagenet.nets import NETS, SqueezeNet11, describe, variable_shapes
from squeezenet_model import SqueezeNetModel, tf
from tools import predict
from training import RunError, imported_run
from training.checkpoints import checkpoint_step
from training.initial_weights import model_scope, warm_start
from training.recipe import CHAPTER, TUNED
from training.run_dir import PRETRAINED, check_same_run, read_settings
from training.saved_run import build_model, load_run, restore_model


def drawn(net: str, classes: int = 5) -> dict[str, np.ndarray]:
    """Random weights of a net."""
    rng = np.random.default_rng(0)
    shapes = variable_shapes(NETS[net], classes)
    return {
        name: 0.05 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def v11():
    return drawn("squeezenet1_1")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(run) -> dict[str, np.ndarray]:
    """The variables in a run's checkpoint."""
    reader = tf.train.load_checkpoint(run.checkpoint)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def save_bare(path: Path, arrays: dict[str, np.ndarray]) -> str:
    """A checkpoint as another TF1 program would leave it: no settings.json, no global_step."""
    with tf.Graph().as_default(), tf.Session() as session:
        for name, array in arrays.items():
            tf.get_variable(name, initializer=array)
        session.run(tf.global_variables_initializer())
        return tf.train.Saver().save(session, str(path))


class TestNpzFiles:
    def test_become_runs_of_the_net_they_fit(self, v11, here):
        np.savez("mine.npz", **v11)
        run = load_run(Path("mine.npz"))
        assert type(run.model) is SqueezeNet11
        assert (run.model.original_dim, run.model.resize_dim) == (256, 224)
        assert run.settings["class_names"] == [f"class {index}" for index in range(5)]
        assert run.output_dir == Path("runs", "mine")
        assert checkpoint_step(run.checkpoint) == 0
        found = saved(run)
        for name, array in v11.items():
            np.testing.assert_array_equal(found[name], array)
        assert [path.name for path in here.iterdir()] == ["mine.npz"]

    @pytest.mark.parametrize("net", ["squeezenet", "squeezenet1_0"])
    def test_of_the_other_nets_too(self, net, here):
        np.savez("mine.npz", **drawn(net))
        assert type(load_run(Path("mine.npz")).model) is NETS[net]

    def test_with_1000_outputs_have_imagenets_classes(self, v11, here):
        final = {
            "final_conv/kernel": np.zeros([1, 1, 512, 1_000], np.float32),
            "final_conv/bias": np.zeros(1_000, np.float32),
        }
        np.savez("mine.npz", **v11 | final)
        assert load_run(Path("mine.npz")).settings["class_names"][285] == "Egyptian cat"

    def test_of_another_shape_are_one_sentence(self, v11, here):
        np.savez("mine.npz", **v11 | {"fire5/squeeze/bias": np.zeros(31, np.float32)})
        with pytest.raises(RunError, match=r"mine\.npz: does not fit any of the nets") as error:
            load_run(Path("mine.npz"))
        assert "fire5/squeeze/bias has shape (31,) where it needs (32,)" in str(error.value)

    def test_without_a_variable_are_one_sentence(self, v11, here):
        np.savez("mine.npz", **{name: v11[name] for name in v11 if name != "final_conv/bias"})
        with pytest.raises(RunError, match=r"final_conv/bias is missing where it needs \(5,\)"):
            load_run(Path("mine.npz"))

    def test_of_another_net_than_the_one_named_are_refused(self, v11, here):
        np.savez("mine.npz", **v11)
        with pytest.raises(RunError, match="does not fit the net squeezenet1_0; for squeezenet1_0"):
            load_run(Path("mine.npz"), "squeezenet1_0")


class TestBareCheckpoints:
    EXTRA: ClassVar = {"beta1_power": np.float32(0.9), "epoch": np.int64(3)}  # of an optimizer, say

    @pytest.mark.parametrize("name", ["net.ckpt", "net.ckpt.index", ""])
    def test_are_found_by_their_name_or_folder(self, v11, here, name):
        (here / "theirs").mkdir()
        save_bare(here / "theirs" / "net.ckpt", v11 | self.EXTRA)
        run = load_run(Path("theirs", name), "squeezenet1_1")
        assert type(run.model) is SqueezeNet11
        assert checkpoint_step(run.checkpoint) == 0
        np.testing.assert_array_equal(saved(run)["conv1/kernel"], v11["conv1/kernel"])

    def test_that_do_not_fit_are_one_sentence(self, here):
        save_bare(here / "net.ckpt", {"other/weights": np.zeros(3, np.float32)})
        with pytest.raises(RunError, match=r"net\.ckpt: does not fit the net squeezenet1_1"):
            load_run(Path("net.ckpt"), "squeezenet1_1")

    def test_that_are_damaged_are_one_sentence(self, v11, here):
        save_bare(here / "net.ckpt", v11)
        os.truncate("net.ckpt.data-00000-of-00001", 100)
        with pytest.raises(RunError, match=r"net\.ckpt: is not an intact checkpoint"):
            load_run(Path("net.ckpt"))


def test_a_run_of_another_net_than_the_one_named_is_refused():
    with pytest.raises(
        RunError, match=r"--net squeezenet1_1: the run in .* is of the net squeezenet;"
    ):
        load_run(PRETRAINED, "squeezenet1_1")


class TestPublishedNames:
    @pytest.fixture
    def published(self, v11, here, monkeypatch):
        """Random weights count as the published ones; counts how often they are loaded."""
        loaded = []

        def load(name, folder, work_dir):
            loaded.append(name)
            return v11

        monkeypatch.setattr(imported_run, "load", load)
        monkeypatch.setattr(imagenet, "class_names", lambda: list("abcde"))
        return loaded

    def test_are_converted_once_into_an_ordinary_run(self, published, here):
        for _ in range(2):
            run = load_run(Path("squeezenet1_1"))
        assert published == ["squeezenet1_1"]
        assert type(run.model) is SqueezeNet11
        folder = here / "data" / "downloads" / "squeezenet1_1"
        assert run.checkpoint == "data/downloads/squeezenet1_1/model.ckpt-0"
        again = load_run(folder)
        assert again.settings == run.settings
        card = (folder / "README.md").read_text()
        for part in ("MIT", "60.86%", "non-commercial", "squeezenet_v1_1-1739-48945577", "0.485"):
            assert part in card
        assert sorted(path.name for path in folder.parent.iterdir()) == [
            *(".squeezenet1_1.lock", "squeezenet1_1"),
        ]

    def test_do_not_hide_a_folder_of_that_name(self, published, here):
        (here / "squeezenet1_1").symlink_to(PRETRAINED)
        assert load_run(Path("squeezenet1_1")).settings["dataset"] == "cifar10"
        assert not published

    def test_classify_photos(self, published, here, capfd):
        Image.new("RGB", (300, 200), "orange").save("photo.png")
        assert predict.main(["photo.png", "--run_dir", "squeezenet1_1"]) == 0
        assert capfd.readouterr().out.startswith("photo.png: ")

    def test_that_cannot_be_downloaded_leave_nothing(self, here, monkeypatch, capfd):
        own = imagenet.PUBLISHED["squeezenet1_1"]
        file = own.file._replace(url="http://127.0.0.1:9/weights.zip")
        monkeypatch.setitem(imagenet.PUBLISHED, "squeezenet1_1", own._replace(file=file))
        Image.new("RGB", (30, 20)).save("photo.png")
        assert predict.main(["photo.png", "--run_dir", "squeezenet1_1"]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert "weights.zip: cannot be downloaded" in err
        assert "put it into data/downloads" in err
        assert not Path("data/downloads").exists()


class TestSettings:
    @pytest.mark.parametrize("net", NETS)
    def test_describe_every_net_and_restore_it(self, net, tiny_dataset):
        described = describe(build_model(tiny_dataset, net)) | {"class_names": list("abc")}
        settings = json.loads(json.dumps(described))
        assert settings["net"] == net
        model = restore_model(settings)
        assert type(model) is NETS[net]
        assert (model.original_dim, model.resize_dim, model.output_size) == (8, 6, 3)

    def test_without_a_net_are_of_the_chapters(self):
        settings = read_settings(PRETRAINED)
        assert "net" not in settings
        assert type(restore_model(settings)) is SqueezeNetModel
        check_same_run(PRETRAINED, settings, {"net": "squeezenet"})
        with pytest.raises(RunError, match="has net squeezenet, not squeezenet1_1"):
            check_same_run(PRETRAINED, settings, {"net": "squeezenet1_1"})

    @pytest.mark.parametrize("net", ["alexnet", 3, ["squeezenet"]])
    def test_of_an_unknown_net_are_refused(self, net):
        with pytest.raises((LookupError, TypeError)):
            restore_model(read_settings(PRETRAINED) | {"net": net})


class TestAWarmStart:
    @pytest.fixture
    def run(self, v11, here):
        np.savez("mine.npz", **v11)
        return load_run(Path("mine.npz"))

    def start(self, run, class_names, recipe):
        """Weights after the warm start by name, and what it returned."""
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(0)
            with model_scope(recipe):
                model = SqueezeNet11(64, 64, len(class_names))
                model.model_layers(tf.zeros([1, 64, 64, 3]), is_training=True)
            at_random = warm_start(run, class_names, recipe)
            session.run(tf.global_variables_initializer())
            values = {v.op.name: session.run(v) for v in tf.trainable_variables()}
        return values, at_random

    def test_takes_all_but_the_last_layer_for_other_classes(self, run, v11):
        values, at_random = self.start(run, list("abcdefg"), CHAPTER)
        assert at_random == ["final_conv/kernel", "final_conv/bias"]
        np.testing.assert_array_equal(values["fire9/squeeze/kernel"], v11["fire9/squeeze/kernel"])
        assert values["final_conv/kernel"].std() == pytest.approx(0.01, rel=0.1)

    def test_takes_everything_for_the_same(self, run, v11):
        values, at_random = self.start(run, run.settings["class_names"], CHAPTER)
        assert at_random == []
        np.testing.assert_array_equal(values["final_conv/kernel"], v11["final_conv/kernel"])

    def test_never_standardizes_pretrained_filters(self, run):
        with pytest.raises(RunError, match=r"mine\.npz: --recipe tuned would rescale .* chapter"):
            self.start(run, list("abc"), TUNED)


@pytest.fixture(scope="module")
def imagenet_dir():
    """A folder with weight files, which are not part of the project: see docs/imagenet.md."""
    return Path(os.environ["IMAGENET_DIR"]).resolve()


@pytest.mark.imagenet
class TestRealWeights:
    def answer(self, image: np.ndarray, run_dir: Path, capfd) -> str:
        Image.fromarray(image).save("photo.png")
        assert predict.main(["photo.png", "--json", "--run_dir", str(run_dir)]) == 0
        return json.loads(capfd.readouterr().out)["label"]

    def v11(self, imagenet_dir: Path) -> Path:
        return next(imagenet_dir.glob("squeezenet_v1_1*.npz"))

    def test_of_v11_see_a_monastery(self, imagenet_dir, here, capfd):
        from sklearn.datasets import load_sample_image

        image = load_sample_image("china.jpg")
        assert self.answer(image, self.v11(imagenet_dir), capfd) == "monastery"

    @pytest.mark.parametrize(
        ("name", "label"), [("chelsea", "Egyptian cat"), ("coffee", "espresso")]
    )
    def test_of_v11_classify_scikit_images_photos(self, imagenet_dir, here, capfd, name, label):
        images = pytest.importorskip("skimage.data")
        assert self.answer(getattr(images, name)(), self.v11(imagenet_dir), capfd) == label

    def test_compressed_see_a_cat(self, imagenet_dir, here, capfd):
        images = pytest.importorskip("skimage.data")
        (here / "data" / "downloads").mkdir(parents=True)
        name = "compressed_SqueezeNet.net"
        (here / "data" / "downloads" / name).write_bytes((imagenet_dir / name).read_bytes())
        label = self.answer(images.chelsea(), Path("squeezenet1_0_compressed"), capfd)
        assert label == "Egyptian cat"
