"""Weight files: read under our names, or refused in one sentence."""

import contextlib
import hashlib
import io
import os
import re
import sys
import textwrap
import zipfile
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import imagenet
from base import UserError
from data.download import PublishedFile
from imagenet import weights
from tests.conftest import PROJECT

# A net in small, in the order of the compressed format: sparse kernels of few different values.
RNG = np.random.default_rng(0)
NET = {
    "conv1/kernel": RNG.choice([0] * 20 + [-1.5, 0.25, 3], (3, 3, 3, 4)),
    "conv1/bias": RNG.standard_normal(4).astype(np.float32),
    "fire2/squeeze/kernel": RNG.choice([0, -1.5, 0.25], (1, 1, 4, 2)),
    "fire2/squeeze/bias": RNG.standard_normal(2).astype(np.float32),
}
SHAPES = {name: array.shape for name, array in NET.items()}


def compressed(net: dict[str, np.ndarray]) -> bytes:
    """A net written in the format of Deep Compression."""
    counts, layers = [], b""
    for scope in ("conv1", "fire2/squeeze"):
        flat = net[f"{scope}/kernel"].transpose(3, 2, 0, 1).ravel()  # OIHW
        values = np.unique(flat)
        # Every 16th weight is stored, even if it is zero, so no gap is too long.
        places = np.array(sorted({*np.flatnonzero(flat), *range(15, flat.size, 16)}), int)
        gaps = np.diff(places, prepend=-1) - 1
        counts.append(len(places))
        for part, dtype in (
            (np.pad(values, (0, 256 - len(values))), "<f4"),
            (net[f"{scope}/bias"], "<f4"),
            (np.searchsorted(values, flat[places]), "u1"),
            (np.pad(gaps, (0, len(gaps) % 2)).reshape(-1, 2) @ [1, 16], "u1"),
        ):
            layers += part.astype(dtype).tobytes()
    return np.array(counts, "<u4").tobytes() + layers


CONTENT = compressed(NET)


def damaged(content: bytes, place: int, change: bytes) -> bytes:
    """Content in which some bytes are changed."""
    return content[:place] + change + content[place + len(change) :]


class TestTheCompressedFormat:
    @pytest.mark.parametrize("empty", [None, "fire2/squeeze/kernel"])
    def test_is_decoded(self, empty):
        net = {name: array * (name != empty) for name, array in NET.items()}
        found = weights.decompressed(compressed(net), SHAPES)
        assert found.keys() == net.keys()
        for name, array in net.items():
            np.testing.assert_array_equal(found[name], np.float32(array), name, strict=True)

    @pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"\0", CONTENT[:100]])
    def test_is_consumed_to_the_last_byte(self, content):
        with pytest.raises(ValueError, match=r"buffer|left over"):
            weights.decompressed(content, SHAPES)

    @given(
        st.binary(max_size=4_000)
        | st.builds(damaged, st.just(CONTENT), st.integers(0, len(CONTENT)), st.binary(max_size=4))
    )
    def test_damaged_is_decoded_or_refused(self, content):
        with contextlib.suppress(ValueError, IndexError):
            found = weights.decompressed(content, SHAPES)
            assert {name: array.shape for name, array in found.items()} == SHAPES
            assert all(np.isfinite(array).all() for array in found.values())


def test_caffes_input_is_folded_into_conv1_exactly():
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal([3, 3, 3, 4]), rng.standard_normal(4)
    patch = rng.integers(0, 256, [3, 3, 3]).astype(np.float64)  # RGB, where conv1 looks once
    expected = np.tensordot(patch[..., ::-1] - (104, 117, 123), kernel, 3) + bias
    ours = weights.with_rgb_input({"conv1/kernel": kernel, "conv1/bias": bias})
    seen = (patch / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = np.tensordot(seen, ours["conv1/kernel"], 3) + ours["conv1/bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def write_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(weights.MAX_BYTES + 1))


def write_false_claim(path):
    claim = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("conv1/kernel.npy", "w") as array:
        np.lib.format.write_array_header_1_0(array, claim)


class TestNpzFiles:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "weights.npz"

    def test_get_our_names_and_single_precision(self, path):
        names = {
            "features/init_block/conv/kernel:0": "conv1/kernel",  # tensorflowcv's
            "features/stage2/unit1/squeeze/conv/bias:0": "fire4/squeeze/bias",
            "features/stage1/unit2/expand3x3/conv/kernel:0": "fire3/expand3x3/kernel",
            "features/stage1/unit1/expand1x1/conv/kernel:0": "fire2/expand1x1/kernel",
            "output/final_conv/bias:0": "final_conv/bias",
            "fire2/squeeze/kernel": "fire2/squeeze/kernel",
        }
        np.savez_compressed(path, **{name: np.float16([i]) for i, name in enumerate(names)})
        found = {name: (array[0], array.dtype) for name, array in weights.read_npz(path).items()}
        assert found == {name: (i, np.float32) for i, name in enumerate(names.values())}

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda path: None, "No such file"),
            (lambda path: os.mkfifo(path), "not a regular file"),
            (lambda path: path.mkdir(), "not a regular file"),
            (lambda path: (path.touch(), os.truncate(path, 1 << 40)), "it has more than"),
            (write_bomb, "it unpacks to more than"),
            (write_false_claim, ""),
            *(
                (partial(np.savez, **{"conv1/kernel": array}), reason)
                for array, reason in (
                    (np.array([{}]), "Object arrays cannot be loaded"),
                    (np.array(["text"]), "not floats"),
                    (np.arange(3), "not floats"),
                    (np.array([1.0, np.nan]), "not finite"),
                    (np.array([1e300]), "not finite"),
                )
            ),
        ],
        ids=[
            *("missing", "pipe", "folder", "terabyte", "unpacks to too much", "claims too much"),
            *("objects", "texts", "integers", "NaN", "beyond float32"),
        ],
    )
    def test_that_are_not_files_of_few_finite_floats_are_refused(self, path, make, reason):
        make(path)
        with pytest.raises(UserError, match=rf"^{path}: cannot be read as .*\(.*{reason}.*\); wri"):
            weights.read_npz(path)

    @given(
        arrays=st.dictionaries(
            st.text(min_size=1, max_size=20).filter(lambda name: name != "file"),
            arrays_of.arrays(
                arrays_of.scalar_dtypes(), arrays_of.array_shapes(min_dims=0, max_side=3)
            ),
            max_size=3,
        ),
        place=st.integers(0, 400),
        change=st.binary(max_size=8),
    )
    def test_are_read_or_refused_in_one_sentence(self, tmp_path_factory, arrays, place, change):
        path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
        np.savez(path, **arrays)
        path.write_bytes(damaged(path.read_bytes(), place, change))
        with contextlib.suppress(UserError):
            assert all(array.dtype == np.float32 for array in weights.read_npz(path).values())


class TestPublishedFiles:
    """With a small file in the place of the published one, and no network."""

    @pytest.fixture
    def content(self, monkeypatch, tmp_path):
        """What counts as squeezenet1_1's .npz file. The current folder has an empty data/downloads,
        where the user may put files."""
        file = io.BytesIO()
        np.savez(file, **{"output/final_conv/bias:0": np.float32([0, 1, 2])})
        own = imagenet.PUBLISHED["squeezenet1_1"]._replace(
            file=PublishedFile("http://127.0.0.1:9/weights.npz.zip", None),
            member="weights.npz",
            sha1=hashlib.sha1(file.getvalue()).hexdigest(),
        )
        monkeypatch.setitem(imagenet.PUBLISHED, "squeezenet1_1", own)
        monkeypatch.chdir(tmp_path)
        weights.DEFAULT_DIR.mkdir(parents=True)
        return file.getvalue()

    def pack(self, name, content):
        with zipfile.ZipFile(weights.DEFAULT_DIR / "weights.npz.zip", "w") as archive:
            archive.writestr(name, content)

    def test_put_there_by_hand_are_used_packed_or_not(self, content):
        self.pack("weights.npz", content)
        packed = weights.load_published("squeezenet1_1")
        self.pack("weights.npz", b"")
        (weights.DEFAULT_DIR / "weights.npz").write_bytes(content)
        for found in (packed, weights.load_published("squeezenet1_1")):
            np.testing.assert_equal(found, {"final_conv/bias": np.float32([0, 1, 2])})

    @pytest.mark.parametrize(
        ("name", "end", "reason"),
        [
            ("weights.npz", b"\0", "its sha1 is not [0-9a-f]{40}"),
            ("../weights.npz", b"", "no item named 'weights.npz'"),
        ],
    )
    def test_that_differ_or_are_missing_in_the_archive_are_refused(
        self, content, name, end, reason
    ):
        self.pack(name, content + end)
        sentence = rf"npz\.zip: does not hold the published weights \(.*{reason}.*\); delete it"
        with pytest.raises(UserError, match=sentence):
            weights.load_published("squeezenet1_1")

    def test_without_a_network_name_the_file_and_where_to_put_it(self, content):
        sentence = r"^http://127.*weights\.npz\.zip: .*download that file .* into data.downloads\.$"
        with pytest.raises(UserError, match=sentence):
            weights.load_published("squeezenet1_1")


def test_the_documentation_converts_a_pytorch_state_dict(tmp_path, monkeypatch):
    names = {
        **{
            f"features.{module}.squeeze.bias": f"fire{fire}/squeeze/bias"
            for fire, module in enumerate((3, 4, 6, 7, 9, 10, 11, 12), start=2)
        },
        "features.0.weight": "conv1/kernel",
        "features.12.expand3x3.weight": "fire9/expand3x3/kernel",
        "classifier.1.bias": "final_conv/bias",
    }
    rng = np.random.default_rng(0)
    arrays = {key: rng.random([4, 3, 2, 2][: 4 if "weight" in key else 1]) for key in names}
    state = {key: SimpleNamespace(numpy=lambda key=key: arrays[key]) for key in names}
    torch = SimpleNamespace(load=lambda path, weights_only: state)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.chdir(tmp_path)
    pattern = r"^(?: {4}.*\n|\n)*? {4}import torch\n(?: {4}.*\n|\n)+"
    (code,) = re.findall(pattern, (PROJECT / "docs" / "guide.md").read_text(), re.MULTILINE)
    exec(textwrap.dedent(code), {})
    found = weights.read_npz(tmp_path / "weights.npz")
    assert {*found} == {*names.values()}
    for key, array in arrays.items():
        ours = np.float32(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array)
        np.testing.assert_array_equal(found[names[key]], ours, strict=True)
