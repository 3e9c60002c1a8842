"""Weight files: read under our names, or refused in one sentence."""

import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import imagenet
from data import DataError
from data.download import PublishedFile
from imagenet import weights
from imagenet.nets import SqueezeNet11, variable_shapes

# A net in small, in the order of the compressed format.
SHAPES = {
    "conv1/kernel": (3, 3, 3, 4),
    "conv1/bias": (4,),
    "fire2/squeeze/kernel": (1, 1, 4, 2),
    "fire2/squeeze/bias": (2,),
}


def compressed(kernels: dict, biases: dict, gap_limit: int = 16) -> bytes:
    """Kernels in HWIO of few different values, written in the format of Deep Compression."""
    counts, layers = [], []
    for name, kernel in kernels.items():
        codebook = np.zeros(256, "<f4")
        values = np.unique(kernel[kernel != 0])
        codebook[1 : 1 + len(values)] = values
        flat = kernel.transpose(3, 2, 0, 1).ravel()  # OIHW
        indices, gaps, last = [], [], -1
        for place in np.flatnonzero(flat):
            while place - last > gap_limit:  # bridged by a stored zero
                last += gap_limit
                indices.append(0)
                gaps.append(gap_limit - 1)
            indices.append(1 + int(np.searchsorted(values, flat[place])))
            gaps.append(place - last - 1)
            last = place
        halves = [*gaps, 0] if len(gaps) % 2 else gaps
        pairs = [low | high << 4 for low, high in zip(halves[::2], halves[1::2], strict=True)]
        counts.append(len(indices))
        bias = biases[name.replace("kernel", "bias")].astype("<f4")
        layers.append(codebook.tobytes() + bias.tobytes() + bytes(indices) + bytes(pairs))
    return np.array(counts, "<u4").tobytes() + b"".join(layers)


def small_net() -> tuple[dict, dict]:
    """Sparse kernels and biases of SHAPES."""
    rng = np.random.default_rng(0)
    kernels, biases = {}, {}
    for name, shape in SHAPES.items():
        if name.endswith("kernel"):
            values = rng.choice(rng.standard_normal(50).astype(np.float32), shape)
            kernels[name] = values * (rng.random(shape) < 0.15)
        else:
            biases[name] = rng.standard_normal(shape).astype(np.float32)
    return kernels, biases


CONTENT = compressed(*small_net())


class TestTheCompressedFormat:
    def test_is_decoded(self):
        kernels, biases = small_net()
        assert (kernels["conv1/kernel"] != 0).any()
        found = weights.decompressed(CONTENT, SHAPES)
        assert found.keys() == SHAPES.keys()
        for name, array in (kernels | biases).items():
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name], array, err_msg=name)

    def test_of_a_layer_without_weights_is_decoded(self):
        kernels, biases = small_net()
        kernels["conv1/kernel"] = np.zeros_like(kernels["conv1/kernel"])
        found = weights.decompressed(compressed(kernels, biases), SHAPES)
        assert not found["conv1/kernel"].any()

    @pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"\0", CONTENT[:100]])
    def test_is_consumed_to_the_last_byte(self, content):
        with pytest.raises(ValueError, match=r"buffer|left over|offset"):
            weights.decompressed(content, SHAPES)

    @given(place=st.integers(0, len(CONTENT) - 1), value=st.integers(0, 255))
    def test_with_any_byte_changed_is_decoded_or_refused(self, place, value):
        changed = bytearray(CONTENT)
        changed[place] = value
        try:
            found = weights.decompressed(bytes(changed), SHAPES)
        except ValueError:
            return
        assert {name: array.shape for name, array in found.items()} == SHAPES
        assert all(np.isfinite(array).all() for array in found.values())

    @given(st.binary(max_size=4_000))
    def test_of_arbitrary_bytes_is_refused(self, content):
        with pytest.raises(ValueError, match=r"."):
            weights.decompressed(content, SHAPES)

    def test_damaged_is_one_sentence(self):
        with pytest.raises(DataError, match=r"^x\.net: is damaged \(.*\); get the file again\.$"):
            weights.decoded_net("x.net", b"\xff" * 999)


def test_caffes_input_is_folded_into_conv1_exactly():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal([3, 3, 3, 4]).astype(np.float32)
    bias = rng.standard_normal(4).astype(np.float32)
    patch = rng.integers(0, 256, [3, 3, 3]).astype(np.float64)  # RGB, where conv1 looks once
    expected = np.tensordot(patch[..., ::-1] - (104, 117, 123), kernel, 3) + bias
    ours = weights.with_rgb_input({"conv1/kernel": kernel, "conv1/bias": bias})
    seen = (patch / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = np.tensordot(seen, ours["conv1/kernel"], 3) + ours["conv1/bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


class TestNpzFiles:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "weights.npz"

    def test_of_tensorflowcv_get_our_names(self, path):
        names = {
            "features/init_block/conv/kernel:0": "conv1/kernel",
            "features/stage2/unit1/squeeze/conv/bias:0": "fire4/squeeze/bias",
            "features/stage1/unit2/expand3x3/conv/kernel:0": "fire3/expand3x3/kernel",
            "features/stage1/unit1/expand1x1/conv/kernel:0": "fire2/expand1x1/kernel",
            "output/final_conv/bias:0": "final_conv/bias",
        }
        np.savez(path, **{name: np.full(2, i, np.float32) for i, name in enumerate(names)})
        found = weights.read_npz(path)
        assert list(found) == list(names.values())
        assert [array[0] for array in found.values()] == [0, 1, 2, 3, 4]

    def test_may_have_our_own_names_and_other_floats(self, path):
        np.savez_compressed(path, **{"fire2/squeeze/kernel": np.ones([1, 1, 2, 2], np.float16)})
        (array,) = weights.read_npz(path).values()
        assert array.dtype == np.float32

    @pytest.mark.parametrize(
        ("array", "reason"),
        [
            (np.array([{}]), "Object arrays cannot be loaded"),
            (np.array(["text"]), "not floats"),
            (np.arange(3), "not floats"),
            (np.array([1.0, np.nan]), "not finite"),
            (np.array([1e300]), "not finite"),
        ],
    )
    def test_of_anything_but_finite_floats_are_refused(self, path, array, reason):
        np.savez(path, **{"conv1/kernel": array})
        with pytest.raises(DataError, match=rf"weights\.npz: cannot be read as .*{reason}"):
            weights.read_npz(path)

    def test_that_unpack_to_too_much_are_refused_unread(self, path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.npy", bytes(weights.MOST_BYTES + 1))
        assert path.stat().st_size < 1 << 20
        with pytest.raises(DataError, match="it unpacks to more than"):
            weights.read_npz(path)

    def test_whose_header_claims_too_much_are_refused(self, path):
        header = io.BytesIO()
        shape = (1 << 40,)
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("conv1/kernel.npy", header.getvalue())
        with pytest.raises(DataError, match=r"cannot be read as a \.npz file"):
            weights.read_npz(path)

    def test_that_are_pipes_folders_or_missing_are_refused(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.npz")
        for name, reason in (("pipe.npz", "is not a file"), ("none.npz", "cannot be read")):
            with pytest.raises(DataError, match=rf"{name}: {reason}"):
                weights.read_npz(tmp_path / name)
        with pytest.raises(DataError, match="is not a file"):
            weights.read_npz(tmp_path)

    @given(
        arrays=st.dictionaries(
            st.text(min_size=1, max_size=20).filter(lambda name: name != "file"),
            arrays_of.arrays(
                arrays_of.scalar_dtypes(), arrays_of.array_shapes(min_dims=0, max_side=3)
            ),
            max_size=3,
        ),
        damage=st.none() | st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)),
    )
    def test_are_read_or_refused_in_one_sentence(self, arrays, damage):
        file = io.BytesIO()
        np.savez(file, **arrays)
        content = bytearray(file.getvalue())
        if damage:
            content[damage[0] : damage[0] + len(damage[1])] = damage[1]
        with contextlib.suppress(DataError):
            found = weights.own_names(weights.arrays_in("x.npz", bytes(content)))
            assert all(array.dtype == np.float32 for array in found.values())

    @given(st.binary(max_size=500))
    def test_of_arbitrary_bytes_are_refused(self, content):
        with pytest.raises(DataError, match=r"x\.npz: cannot be read as a \.npz file"):
            weights.arrays_in("x.npz", content)


class TestPublishedFiles:
    """With a small file in the place of the published one, and no network."""

    @pytest.fixture
    def published(self, monkeypatch):
        """The content of a .npz file that counts as squeezenet1_1's."""
        file = io.BytesIO()
        np.savez(file, **{"output/final_conv/bias:0": np.arange(3, dtype=np.float32)})
        content = file.getvalue()
        own = imagenet.PUBLISHED["squeezenet1_1"]._replace(
            file=PublishedFile("http://127.0.0.1:9/weights.npz.zip", None, {}),
            member="weights.npz",
            member_hash=hashlib.sha1(content).hexdigest(),
        )
        monkeypatch.setitem(imagenet.PUBLISHED, "squeezenet1_1", own)
        return content

    def load(self, folder):
        return weights.load("squeezenet1_1", folder, folder / "work")

    def test_put_there_by_hand_are_used(self, published, tmp_path):
        (tmp_path / "weights.npz").write_bytes(published)
        assert self.load(tmp_path)["final_conv/bias"].tolist() == [0, 1, 2]

    def test_may_still_be_packed(self, published, tmp_path):
        with zipfile.ZipFile(tmp_path / "weights.npz.zip", "w") as archive:
            archive.writestr("weights.npz", published)
        assert self.load(tmp_path)["final_conv/bias"].tolist() == [0, 1, 2]

    def test_that_differ_in_a_byte_are_refused(self, published, tmp_path):
        (tmp_path / "weights.npz").write_bytes(published + b"\0")
        with pytest.raises(DataError, match=r"weights\.npz: does not hold the published weights"):
            self.load(tmp_path)

    @pytest.mark.parametrize("names", [[], ["../weights.npz"], ["other.npz"]])
    def test_whose_archive_lacks_them_are_refused(self, published, tmp_path, names):
        with zipfile.ZipFile(tmp_path / "weights.npz.zip", "w") as archive:
            for name in names:
                archive.writestr(name, published)
        with pytest.raises(DataError, match=r"weights\.npz\.zip: cannot be unpacked"):
            self.load(tmp_path)

    def test_without_a_network_name_the_file_and_where_to_put_it(self, published, tmp_path):
        (tmp_path / "work").mkdir()
        with pytest.raises(DataError) as error:
            self.load(tmp_path)
        assert str(error.value).startswith("http://127.0.0.1:9/weights.npz.zip: cannot be down")
        assert str(error.value).endswith(f"download that file by hand and put it into {tmp_path}.")


class TestTheDocumentation:
    PAGE = (Path(__file__).parents[1] / "docs" / "imagenet.md").read_text()

    def test_converts_a_pytorch_state_dict(self, tmp_path, monkeypatch):
        rng = np.random.default_rng(0)
        expected, state = {}, {}
        modules = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
        for name, shape in variable_shapes(SqueezeNet11, 5).items():
            expected[name] = rng.standard_normal(shape).astype(np.float32)
            *scope, kind = name.split("/")
            if scope[0].startswith("fire"):
                scope = ["features", str(modules[int(scope[0][4:])]), scope[1]]
            else:
                scope = {"conv1": ["features", "0"], "final_conv": ["classifier", "1"]}[scope[0]]
            array = expected[name]
            if kind == "kernel":
                array, kind = array.transpose(3, 2, 0, 1), "weight"
            state[".".join([*scope, kind])] = SimpleNamespace(numpy=lambda array=array: array)
        torch = SimpleNamespace(load=lambda path, weights_only: state)
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.chdir(tmp_path)
        (code,) = re.findall(
            r"^(?: {4}.*\n|\n)*? {4}import torch\n(?: {4}.*\n|\n)+", self.PAGE, re.M
        )
        exec(textwrap.dedent(code), {})
        found = weights.read_npz(tmp_path / "weights.npz")
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)

    def test_names_every_published_file_and_its_license(self):
        table = self.PAGE.split("## The weights")[1]
        for name, published in imagenet.PUBLISHED.items():
            (row,) = re.findall(rf"^\| `{name}` \|.*$", table, re.MULTILINE)
            assert published.file.url in row
            assert published.license in row
            assert re.search(r"[\d.]+%", published.accuracy)[0] in row


def test_published_names_can_be_listed_without_tensorflow():
    code = "import sys, imagenet; print(*imagenet.PUBLISHED); assert 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["squeezenet1_1", "squeezenet1_0", "squeezenet1_0_compressed"]
