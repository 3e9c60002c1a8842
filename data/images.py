"""Image files of any size -> records. Not a data set itself, but what data sets of files share."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import logging
import math
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, features
from tqdm import tqdm

from data import DataError, printable
from data.files import open_regular

# What Pillow reads on its own, with readers that are in wide use. Builds of it may lack the last.
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF"),
    *(name for name in ("WEBP", "AVIF") if features.check(name.lower())),
)
# Bytes that decoding may take: for one image, and for all that are decoded at the same time.
MOST_BYTES = 384 << 20  # enough for a PNG of 100 megapixels, a WebP of 24
LARGE_BYTES = 32 << 20  # a photo of 8 megapixels as a PNG; a JPEG takes far less
MOST_FILE_BYTES = 1 << 28  # a 16-bit TIFF of 40 megapixels
# Bytes a pixel that decoding takes at its peak: Pillow's image has 4 in color, and some decoders
# keep copies of their own (and READ_WHOLE, of the file).
DECODER_BYTES = {"TIFF": 12, "WEBP": 16, "AVIF": 20}
READ_WHOLE = ("WEBP", "AVIF")
PIXEL_BYTES = 4  # of all others
COEFFICIENT_BYTES = 8  # of a JPEG pixel with 4 components, if it comes in several scans
MOST_JPEG_SCANS = 100  # progressive JPEGs have about 10; each scan takes as long as an image
COUNTED_PIXELS = 10_000_000  # from here on, the scans of a JPEG are counted
TILE_WIDTH, TILE_LENGTH = 322, 323  # tags of a TIFF
START_OF_SCAN = b"\xff\xda"
STRIP_PIXELS = 1 << 20  # converted to RGB at once
REDUCING_GAP = 3.0  # Pillow: from here on, reducing first is indistinguishable from resizing alone
TOO_LARGE = "has %s to be decoded safely; make it smaller"
WHITE = (255, 255, 255)  # what shows through transparent pixels
# Modes of which Pillow does not know what they are in RGB.
UNCLEAR_MODES = {"F": "floats", "I": "32-bit integers", "LAB": "Lab colors"}
# What EXIF's orientations 2 to 8 ask for; 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
KEPT_BYTES = 1 << 30  # of records, so that they are read from their files only once
# What operating systems and archives leave in folders; and all hidden files.
CLUTTER = {
    *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin"),
    *("system volume information", "lost+found", "@eadir"),
}


def silence_readers() -> None:
    """Keeps Pillow from printing what it finds odd or damaged in a file, which DataError tells.

    Pillow has no switch for the messages of libtiff; on Linux, the library itself can be asked.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with contextlib.suppress(OSError, AttributeError), open("/proc/self/maps") as maps:
        for path in {line.split(maxsplit=5)[-1].strip() for line in maps if "libtiff" in line}:
            ctypes.CDLL(path).TIFFSetErrorHandler(None)


silence_readers()


class Unusable(Exception):
    """An image is not damaged, but cannot be used all the same; says why, and what to do."""


class Budget:
    """An amount of memory that threads share: one that needs more than is left waits."""

    def __init__(self, size: int):
        self._left = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Takes a part for as long as the context lasts; size must not exceed the whole."""
        with self._changed:
            self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


DECODING = Budget(MOST_BYTES)


def read_image(path: Path, dim: int) -> np.ndarray:
    """Reads one image file as a record.

    The image is turned upright as its EXIF data say; of an animation, the first frame is used.
    Gray, palette, 16-bit and CMYK images become RGB with 8 bits a value; transparent ones get a
    white background. The central square, as wide as the shorter side, is resized (bicubic) to
    dim x dim; an image of that size stays as it is.

    Args:
      path: the file.
      dim: side of the record's image in pixels.

    Returns:
      uint8 [3 * dim * dim], channel-major.

    Raises:
      DataError: it cannot be read, is not an image in one of FORMATS, is damaged, or would take
        more than MOST_BYTES of memory to decode.
    """
    try:
        with open_regular(path) as file:
            return decode(file, dim)
    except Unusable as error:
        problem = str(error)
    except Image.DecompressionBombError:
        problem = TOO_LARGE % "too many pixels"
    except UnidentifiedImageError:
        problem = f"is not an image in one of the formats {', '.join(FORMATS)}; convert it"
    except MemoryError:
        problem = "cannot be decoded in the memory that is left; make it smaller"
    except Exception as error:  # Pillow's readers raise all kinds of errors on damaged files
        if isinstance(error, OSError) and error.strerror:
            problem = f"cannot be read ({error.strerror}); check it"
        else:
            problem = f"is damaged ({printable(error) or type(error).__name__}); replace it"
    return_freed_memory()  # of the image whose decoding has failed
    raise DataError(f"{printable(path)}: {problem} or leave it out.")


def try_to_read(path: Path, dim: int) -> np.ndarray | DataError:
    """Returns what `read_image` returns, or the error that it raises."""
    try:
        return read_image(path, dim)
    except DataError as error:
        return error


def decode(file: BinaryIO, dim: int) -> np.ndarray:
    """The record of an open image file; raises whatever Pillow does, and Unusable."""
    if os.fstat(file.fileno()).st_size > MOST_FILE_BYTES:
        raise Unusable(TOO_LARGE % f"more than {MOST_FILE_BYTES >> 20} MB")
    image = Image.open(file, formats=FORMATS)
    needed = memory_to_decode(image, file, dim)
    if needed > MOST_BYTES:
        raise Unusable(TOO_LARGE % f"too many pixels ({image.width:,} x {image.height:,})")
    with DECODING.take(needed):
        image.load()
        if image.mode in UNCLEAR_MODES:
            raise Unusable(f"stores its pixels as {UNCLEAR_MODES[image.mode]}; convert it to RGB")
        square = central_square(image, dim)
        turn = upright_turn(image)  # after load(), which turns a TIFF itself
        del image
        if needed > LARGE_BYTES:
            return_freed_memory()  # before another thread takes as much
    if turn is not None:
        square = square.transpose(turn)
    return np.asarray(square).transpose(2, 0, 1).ravel()


def memory_to_decode(image: Image.Image, file: BinaryIO, dim: int) -> int:
    """The bytes that decoding an opened image takes at its peak.

    A JPEG of many pixels is set to be decoded at a half, a quarter or an eighth of its size.

    Raises:
      Unusable: it is a JPEG of so many scans that decoding might take hours.
    """
    pixels = image.width * image.height
    needed = 0
    if image.format in ("JPEG", "MPO"):
        if image.info.get("progressive") or pixels >= COUNTED_PIXELS:
            scans = count_scans(file)
            if scans > MOST_JPEG_SCANS:
                raise Unusable(TOO_LARGE % f"too many scans ({scans:,})")
            if scans > 1:
                needed = COEFFICIENT_BYTES * pixels
        image.draft(None, (2 * dim, 2 * dim))
        pixels = image.width * image.height
    elif image.format == "TIFF":
        tile = [int(image.tag_v2.get(tag, 0)) for tag in (TILE_WIDTH, TILE_LENGTH)]
        pixels += math.prod(tile)
    elif image.format in READ_WHOLE:
        needed = os.fstat(file.fileno()).st_size
    needed += pixels * DECODER_BYTES.get(image.format, PIXEL_BYTES)
    return needed + PIXEL_BYTES * min(pixels, int(2 * REDUCING_GAP * dim) ** 2)  # the square


def return_freed_memory() -> None:
    """Gives freed memory back to the system, where glibc would keep it for the same thread."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def count_scans(file: BinaryIO) -> int:
    """How many scans a JPEG file has at most (those of a thumbnail in it count, too)."""
    position = file.tell()
    file.seek(0)
    scans = file.read().count(START_OF_SCAN)  # within a scan, no marker follows \xff
    file.seek(position)
    return scans


def upright_turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn an image upright; None where its EXIF data do not say.

    (ImageOps.exif_transpose writes the data anew, and fails on odd ones.)
    """
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged data; the pixels are what counts
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB with 8 bits a value."""
    if image.mode.startswith("I;16"):  # which convert() would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, WHITE)
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def central_square(image: Image.Image, dim: int) -> Image.Image:
    """The central square of an image as RGB, resized (bicubic) to dim x dim."""
    width, height = image.size
    if width == height == dim:
        return to_rgb(image)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # As resize(..., reducing_gap=REDUCING_GAP) does it: a large image is reduced first.
    factor = int(side / dim / REDUCING_GAP) or 1
    margin = 1.5 * side / dim if factor > 1 else 3 * max(side / dim, 1)  # what bicubic looks at
    seen = (
        *(max(0, int(start - margin)) for start in (left, top)),
        *(
            min(end, math.ceil(start + side + margin))
            for start, end in ((left, width), (top, height))
        ),
    )
    reduced = reduced_rgb(image, seen, factor)
    left, top = (left - seen[0]) / factor, (top - seen[1]) / factor
    box = (left, top, left + side / factor, top + side / factor)
    return reduced.resize((dim, dim), Image.Resampling.BICUBIC, box)


def reduced_rgb(image: Image.Image, box: tuple[int, int, int, int], factor: int) -> Image.Image:
    """A part of an image as RGB, reduced by a whole factor.

    It is converted in strips, as each conversion of a large image would take as much memory as
    decoding it.
    """
    left, top, right, bottom = box
    size = (math.ceil((right - left) / factor), math.ceil((bottom - top) / factor))
    reduced = Image.new("RGB", size)
    rows = max(1, STRIP_PIXELS // (right - left) // factor)  # of the result
    for row in range(0, size[1], rows):
        start = top + row * factor
        strip = image.crop((left, start, right, min(start + rows * factor, bottom)))
        reduced.paste(to_rgb(strip).reduce(factor), (0, row))
    return reduced


def looks_like_an_image(head: bytes) -> bool:
    """Whether a file that begins so may be in one of FORMATS; it may be damaged further on."""
    Image.init()
    if head[8:12] == b"mif1" and b"avif" not in head[12:64]:  # HEIC, which begins like AVIF
        return False
    return any(Image.OPEN[name][1](head) is True for name in FORMATS)


def is_clutter(name: str) -> bool:
    """Whether a file or folder of that name is hidden or the operating system's, not the user's."""
    return name.startswith(".") or name.lower() in CLUTTER


class ImageFiles:
    """Image files in the place of a Split's records: read in parallel, when they are asked for.

    The first that fit into KEPT_BYTES are kept in memory, the others are read each time.

    Args:
      paths: the files.
      dim: side of a record's image in pixels.
    """

    def __init__(self, paths: Sequence[Path], dim: int):
        self._paths = paths
        self._dim = dim
        self._record_bytes = 3 * dim * dim
        most_kept = KEPT_BYTES // self._record_bytes
        self._kept = np.empty([min(len(paths), most_kept), self._record_bytes], np.uint8)
        self._is_kept = np.zeros(len(self._kept), bool)
        self._threads = ThreadPoolExecutor(os.cpu_count())
        self._indices = np.arange(len(paths))  # of the files that are this object's records

    @property
    def shape(self) -> tuple[int, int]:
        """(files, 3 * dim * dim), as an array's."""
        return len(self._indices), self._record_bytes

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, indices: slice | Sequence[int]) -> np.ndarray:
        """The records at some indices: uint8 [N, 3 * dim * dim].

        Raises:
          DataError: files are damaged; names all damaged files, also those of the other splits.
        """
        records = list(self._threads.map(self._read, self._indices[indices]))
        if errors := [record for record in records if isinstance(record, DataError)]:
            raise all_damage([*self.find_damage().values()] or errors)
        return np.stack(records) if records else np.empty([0, self._record_bytes], np.uint8)

    def take(self, indices: Sequence[int], axis: int = 0) -> ImageFiles:
        """Some of the files, as a numpy array's `take` gives some of its rows.

        What is kept in memory is shared, and so is the search for damage.
        """
        part = copy.copy(self)
        part._indices = self._indices[indices]
        return part

    def find_damage(self) -> dict[Path, DataError]:
        """Reads all files, also those that `take` has left out; returns what cannot be used."""
        everything = tqdm(
            self._threads.map(self._read, range(len(self._paths))),
            desc="checking all images",
            total=len(self._paths),
            unit=" images",
            leave=False,
            disable=None,  # but on a terminal
            file=sys.stderr,
        )
        return {
            path: record
            for path, record in zip(self._paths, everything, strict=True)
            if isinstance(record, DataError)
        }

    def _read(self, index: int) -> np.ndarray | DataError:
        is_kept = index < len(self._kept)
        if is_kept and self._is_kept[index]:
            return self._kept[index]
        record = try_to_read(self._paths[index], self._dim)
        if is_kept and not isinstance(record, DataError):
            self._kept[index] = record
            self._is_kept[index] = True
        return record


def all_damage(errors: list[DataError]) -> DataError:
    """One error for all damaged files, so that the user need not find them one by one."""
    message = str(errors[0])
    if len(errors) > 1:
        listed = "\n".join(f"  {error}" for error in errors)
        message = f"{len(errors):,} image files cannot be used:\n{listed}"
    return DataError(message, instead={"skip_damaged": ""})
