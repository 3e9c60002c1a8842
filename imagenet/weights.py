"""Reads weight files into {variable name: float32 array}, with our nets' names and layout.

Kernels are [height, width, inputs, filters] (HWIO), as in TensorFlow. PyTorch and Caffe have
[filters, inputs, height, width] (OIHW), which `transpose(2, 3, 1, 0)` converts.
"""

import hashlib
import io
import re
import zipfile
from pathlib import Path

import numpy as np

from base import UserError, reason
from base.files import read_bytes
from data.download import DEFAULT_DIR, fetch
from imagenet import PUBLISHED
from imagenet.nets import MEAN, STD, SqueezeNet10, variable_shapes

MAX_BYTES = 64 << 20  # of a weight file, packed or unpacked; those of the nets have 5 MB
CODEBOOK_SIZE = 256
CAFFE_MEAN = (104.0, 117.0, 123.0)  # blue, green, red, on a scale of 0..255

Weights = dict[str, np.ndarray]


def load_published(name: str) -> Weights:
    """The weights of one of `imagenet.PUBLISHED`, from data/downloads; downloaded if need be.
    Raises UserError if that fails, or if the file is not the published one."""
    published = PUBLISHED[name]
    path = DEFAULT_DIR / published.member  # where the user may have put what is in the archive
    if not path.is_file():
        path = fetch(
            published.file, DEFAULT_DIR, f"download that file by hand and put it into {DEFAULT_DIR}"
        )
    try:
        content = read_bytes(path, MAX_BYTES)
        if not published.member:
            return with_rgb_input(decompressed(content, variable_shapes(SqueezeNet10, 1_000)))
        if path.name != published.member:
            content = opened(content).read(published.member)
        if hashlib.sha1(content).hexdigest() != published.sha1:
            raise ValueError(f"its sha1 is not {published.sha1}")
        return own_names(arrays_in(content))
    except Exception as error:  # zipfile and numpy raise all kinds of errors on damaged content
        raise UserError(
            f"{path}: does not hold the published weights ({reason(error)}); delete it, and it "
            "will be downloaded."
        ) from None


def read_npz(path: Path) -> Weights:
    """The arrays of a user's .npz file, named like this project's variables or tensorflowcv's.
    Raises UserError if it is not such a file."""
    try:
        return own_names(arrays_in(read_bytes(path, MAX_BYTES)))
    except Exception as error:  # as above
        raise UserError(
            f"{path}: cannot be read as a .npz file of float arrays ({reason(error)}); write it "
            "with numpy.savez, as docs/guide.md shows."
        ) from None


def opened(content: bytes) -> zipfile.ZipFile:
    """A zip archive. Raises ValueError if it unpacks to more than MAX_BYTES, and whatever zipfile
    raises."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_BYTES:,} bytes")
    return archive


def arrays_in(content: bytes) -> Weights:
    """The float arrays of a .npz file by name, as float32; nothing in it is ever unpickled. Raises
    ValueError if one holds something else, and whatever zipfile and numpy raise."""
    archive = opened(content)
    return {
        name.removesuffix(".npy"): as_float32(
            name, np.lib.format.read_array(archive.open(name), allow_pickle=False)
        )
        for name in archive.namelist()
    }


@np.errstate(over="ignore")
def as_float32(name: str, array: np.ndarray) -> np.ndarray:
    """An array in single precision; raises ValueError for values that do not fit."""
    if array.dtype.kind != "f":
        raise ValueError(f"{name!r} holds {array.dtype}, not floats")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} holds values that are not finite")
    return array


def own_names(arrays: Weights) -> Weights:
    """The arrays under our variables' names; names that are not tensorflowcv's stay the same.

    Its features/stage1/unit2/squeeze/conv/kernel:0 is our fire3/squeeze/kernel: max poolings divide
    its net into stages, whose units are the fire modules.
    """
    units = sorted(set(re.findall("features/stage[1-9]/unit[1-9]", " ".join(arrays))))
    own = {
        **{unit: f"fire{number}" for number, unit in enumerate(units, start=2)},
        **{"features/init_block/conv/": "conv1/", "output/": "", "/conv/": "/", ":0": ""},
    }
    return {
        re.sub("|".join(own), lambda match: own[match[0]], name): array
        for name, array in arrays.items()
    }


def decompressed(content: bytes, shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Decodes the format of S. Han and others, "Deep Compression" (arXiv 1510.00149).

    Everything is little-endian. First comes a uint32 per layer, its number of stored weights. Then
    follow, for each layer: a codebook of 256 float32; the biases as float32; a byte per stored
    weight, its index in the codebook; and 4 bits per stored weight, the number of zeros skipped
    before it, two in a byte, the lower half first. Weights are in OIHW order. (A gap of more than
    15 zeros is bridged by storing a zero.) The shapes are our variables', in the order of the
    layers. Raises ValueError or IndexError if the content does not fit them.
    """
    kernels = {name: shape for name, shape in shapes.items() if name.endswith("/kernel")}
    stream = io.BytesIO(content)

    def take(dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(stream.read(count * np.dtype(dtype).itemsize), dtype, count)

    weights = {}
    stored_counts = take("<u4", len(kernels)).tolist()
    for (name, shape), stored in zip(kernels.items(), stored_counts, strict=True):
        height, width, inputs, filters = shape
        codebook, bias = take("<f4", CODEBOOK_SIZE), take("<f4", filters)
        indices, pairs = take("u1", stored), take("u1", (stored + 1) // 2)
        gaps = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:stored]
        places = np.cumsum(gaps.astype(np.int64) + 1) - 1
        kernel = np.zeros([filters, inputs, height, width], np.float32)
        kernel.ravel()[places] = codebook[indices]
        weights[name] = as_float32(name, kernel.transpose(2, 3, 1, 0))
        weights[name.removesuffix("kernel") + "bias"] = as_float32(name, bias)
    if rest := stream.read():
        raise ValueError(f"{len(rest):,} bytes are left over")
    return weights


def with_rgb_input(weights: Weights) -> Weights:
    """Converts weights for Caffe's input (BGR minus CAFFE_MEAN) to ours (RGB by mean and std).

    This is exact up to rounding, since conv1 is linear in its input and has no padding. A pixel p
    of one channel is 255 * (std * x + mean), where x is our net's input; Caffe's is p - CAFFE_MEAN.
    """
    kernel = weights["conv1/kernel"][:, :, ::-1].astype(np.float64)  # inputs in RGB order
    std, mean = np.array(STD)[:, None], np.array(MEAN)[:, None]
    offset = 255 * mean - np.array(CAFFE_MEAN[::-1])[:, None]
    bias = weights["conv1/bias"] + (kernel * offset).sum((0, 1, 2))
    return weights | {
        "conv1/kernel": (kernel * 255 * std).astype(np.float32),
        "conv1/bias": bias.astype(np.float32),
    }
