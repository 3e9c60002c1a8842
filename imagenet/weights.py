"""Reads weight files into {variable name: float32 array}, with our nets' names and layout.

Kernels are [height, width, inputs, filters] (HWIO), as in TensorFlow. PyTorch and Caffe have
[filters, inputs, height, width] (OIHW), which `transpose(2, 3, 1, 0)` converts.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import math
import os
import re
import stat
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from data import DataError
from data.download import download
from imagenet import PUBLISHED, class_names
from imagenet.nets import MEAN, STD, SqueezeNet10, variable_shapes

MOST_BYTES = 64 << 20  # of a weight file, packed or unpacked; those of the nets have 5 MB
CODEBOOK_SIZE = 256
CAFFE_MEAN = (104.0, 117.0, 123.0)  # blue, green, red, on a scale of 0..255
# zipfile and numpy raise these on damaged content.
DAMAGE = (
    *(ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError, RuntimeError),
    *(MemoryError, OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    tokenize.TokenError,
)

Weights = dict[str, np.ndarray]


def load(name: str, folder: Path, work_dir: Path) -> Weights:
    """Published weights, downloaded if the file is not in a folder yet.

    Args:
      name: one of `imagenet.PUBLISHED`.
      folder: where the user may have put the file, or the archive that it is published in.
      work_dir: for the download; the caller removes it.

    Raises:
      DataError: the file is not the published one, or cannot be downloaded; the message says where
        to put it by hand.
      OSError: the download cannot be stored.
    """
    published = PUBLISHED[name]
    file = published.file
    for path in (folder / (published.member or file.name), folder / file.name):
        if path.exists():
            content, source = read_file(path), str(path)
            break
    else:
        path, source = work_dir / file.name, file.url
        download(file, path, f"download that file by hand and put it into {folder}")
        content = read_file(path)
    if published.member is None:
        for algorithm, digest in file.hashes.items():
            check_hash(source, content, algorithm, digest)
        return decoded_net(source, content)
    if path.name != published.member:
        content = unpack(source, content, published.member)
    check_hash(source, content, "sha1", published.member_hash)
    return own_names(arrays_in(source, content))


def read_npz(path: Path) -> Weights:
    """The arrays of a user's .npz file, named like this project's variables or tensorflowcv's.

    Raises:
      DataError: it is not such a file.
    """
    return own_names(arrays_in(str(path), read_file(path)))


def read_file(path: Path) -> bytes:
    """The content of a file; raises DataError if it cannot be read or is implausibly large."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # reading a pipe could wait forever
            raise DataError(f"{path}: is not a file; give a weight file.")
        if status.st_size > MOST_BYTES:
            raise DataError(
                f"{path}: has {status.st_size:,} bytes, too many for weights of SqueezeNet; give "
                "another file."
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); fix that, or give another file."
        ) from error


def unpack(source: str, content: bytes, member: str) -> bytes:
    """One file from a zip archive, and only that; raises DataError if it is not there."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo(member).file_size > MOST_BYTES:
                raise ValueError(f"{member} is too large")
            return archive.read(member)
    except DAMAGE as error:
        raise DataError(
            f"{source}: cannot be unpacked ({reason(error)}); get the file again."
        ) from None


def check_hash(source: str, content: bytes, algorithm: str, expected: str) -> None:
    """Raises DataError if the content's hash differs from the published file's."""
    found = hashlib.new(algorithm, content).hexdigest()
    if found != expected:
        raise DataError(
            f"{source}: does not hold the published weights (their {algorithm} is {expected}, not "
            f"{found}); get the file again."
        )


def arrays_in(source: str, content: bytes) -> Weights:
    """The float arrays of a .npz file by name, as float32; nothing in it is ever unpickled.

    Raises:
      DataError: it is damaged, or holds something else.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
            for name in archive.namelist():
                member = io.BytesIO(archive.read(name))
                array = np.lib.format.read_array(member, allow_pickle=False)
                if array.dtype.kind != "f":
                    raise ValueError(f"{name!r} holds {array.dtype}, not floats")
                arrays[name.removesuffix(".npy")] = as_float32(name, array)
    except DAMAGE as error:
        raise DataError(
            f"{source}: cannot be read as a .npz file of float arrays ({reason(error)}); write it "
            "with numpy.savez, as docs/imagenet.md shows."
        ) from None
    return arrays


def as_float32(name: str, array: np.ndarray) -> np.ndarray:
    """An array in single precision; raises ValueError for values that do not fit."""
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} holds values that are not finite")
    return array


def reason(error: Exception) -> str:
    """The error's message on one line, shortened."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def own_names(arrays: Weights) -> Weights:
    """The arrays under our variables' names; names that are not tensorflowcv's stay the same.

    Its features/stage1/unit2/squeeze/conv/kernel:0 is our fire3/squeeze/kernel: max poolings divide
    its net into stages, whose units are the fire modules.
    """
    unit = re.compile(r"features/stage([1-9])/unit([1-9])/(\w+)/conv/(\w+)")
    names = {name: name.removesuffix(":0") for name in arrays}
    units = sorted({match.groups()[:2] for match in map(unit.fullmatch, names.values()) if match})

    def own_name(name: str) -> str:
        if match := unit.fullmatch(name):
            return f"fire{units.index(match.groups()[:2]) + 2}/{match[3]}/{match[4]}"
        name = name.replace("features/init_block/conv/", "conv1/")
        return name.replace("output/final_conv/", "final_conv/")

    return {own_name(name): arrays[original] for original, name in names.items()}


def decoded_net(source: str, content: bytes) -> Weights:
    """The weights in compressed_SqueezeNet.net; raises DataError if it is damaged."""
    shapes = variable_shapes(SqueezeNet10, len(class_names()))
    try:
        return with_rgb_input(decompressed(content, shapes))
    except ValueError as error:
        raise DataError(f"{source}: is damaged ({error}); get the file again.") from None


def decompressed(content: bytes, shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Decodes the format of S. Han and others, "Deep Compression" (arXiv 1510.00149).

    Everything is little-endian. First comes a uint32 per layer, its number of stored weights. Then
    follow, for each layer: a codebook of 256 float32; the biases as float32; a byte per stored
    weight, its index in the codebook; and 4 bits per stored weight, the number of zeros skipped
    before it, two in a byte, the lower half first. Weights are in OIHW order. (A gap of more than
    15 zeros is bridged by storing a zero.)

    Args:
      content: of the file.
      shapes: the variables' shapes by name, in the order of the layers, kernels in HWIO.

    Raises:
      ValueError: the content does not fit the shapes.
    """
    kernels = {name: shape for name, shape in shapes.items() if name.endswith("/kernel")}
    position = 0

    def take(dtype: str, count: int) -> np.ndarray:
        nonlocal position
        array = np.frombuffer(content, dtype, count, offset=position)
        position += array.nbytes
        return array

    weights = {}
    stored_counts = take("<u4", len(kernels)).tolist()
    for (name, shape), stored in zip(kernels.items(), stored_counts, strict=True):
        height, width, inputs, filters = shape
        codebook, bias = take("<f4", CODEBOOK_SIZE), take("<f4", filters)
        indices, pairs = take("u1", stored), take("u1", (stored + 1) // 2)
        gaps = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:stored]
        places = np.cumsum(gaps.astype(np.int64) + 1) - 1
        if stored and places[-1] >= math.prod(shape):
            raise ValueError(f"a weight lies outside of {name}")
        kernel = np.zeros([filters, inputs, height, width], np.float32)
        kernel.ravel()[places] = codebook[indices]
        weights[name] = as_float32(name, kernel.transpose(2, 3, 1, 0))
        bias_name = name.removesuffix("kernel") + "bias"
        weights[bias_name] = as_float32(bias_name, bias)
    if position != len(content):
        raise ValueError(f"{len(content) - position:,} bytes are left over")
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
