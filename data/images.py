"""Image files of any size -> records. No data set of its own: what several of them share."""

from __future__ import annotations

import os
import stat
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from data import DataError

# Those that need nothing but Pillow to be read, and whose readers are in wide use.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MOST_PIXELS = Image.MAX_IMAGE_PIXELS  # 89 million, Pillow's own measure for a decompression bomb
WHITE = (255, 255, 255)  # what transparent pixels are laid on
# What EXIF's orientations 2 to 8 ask for; 1 stands upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers raise on damaged files, besides OSError.
DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError),
    *(SyntaxError, struct.error),
)
KEPT_BYTES = 1 << 30  # of records, so that they are read from their files only once

# Pillow warns of what is odd about a file that it can read all the same.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(path: Path, dim: int) -> np.ndarray:
    """One image file as a record.

    Turned upright as its EXIF data say; of an animation the first frame; gray, palette, 16-bit and
    CMYK images become RGB with 8 bits, transparent ones are laid on white. Then the central
    square as wide as the shorter side is resized (bicubic) to dim x dim; an image of that size
    stays as it is.

    Args:
      path: the file.
      dim: side of the record's image in pixels.

    Returns:
      uint8 [3 * dim * dim], channel-major.

    Raises:
      DataError: it cannot be read, is no image of one of FORMATS, is damaged, or has more than
        MOST_PIXELS pixels.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe could wait for ever
            raise IsADirectoryError("it is no file")
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            # A JPEG of many pixels is decoded at half, a quarter or an eighth of its size.
            image.draft(None, (dim, dim))
            turn = upright_turn(image)
            square = central_square(to_rgb(image), dim)
    except Image.DecompressionBombError:
        raise DataError(
            f"{path}: has more than {MOST_PIXELS:,} pixels, which may be an attack; make it "
            "smaller or leave it out."
        ) from None
    except UnidentifiedImageError:
        raise DataError(
            f"{path}: is no image in one of the formats {', '.join(FORMATS)}; convert it or "
            "leave it out."
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: cannot be read ({reason}); mend it or leave it out.") from error
    except DAMAGE as error:
        raise DataError(f"{path}: is damaged ({error}); mend it or leave it out.") from error
    if turn is not None:
        square = square.transpose(turn)
    return np.asarray(square).transpose(2, 0, 1).ravel()


def try_to_read(path: Path, dim: int) -> np.ndarray | DataError:
    """What `read_image` returns, or what it raises."""
    try:
        return read_image(path, dim)
    except DataError as error:
        return error


def upright_turn(image: Image.Image) -> Image.Transpose | None:
    """How an image has to be turned to stand upright; None where its EXIF data do not say.

    (ImageOps.exif_transpose writes the data anew, and fails on odd ones.)
    """
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except DAMAGE:
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB with 8 bits a value."""
    if image.mode.startswith("I"):  # 16 bits of gray, which convert() would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, WHITE)
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def central_square(image: Image.Image, dim: int) -> Image.Image:
    """The central square of an image, resized to dim x dim."""
    width, height = image.size
    side = min(width, height)
    if width == height == dim:
        return image
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((dim, dim), Image.Resampling.BICUBIC, box, reducing_gap=3.0)


def looks_like_an_image(head: bytes) -> bool:
    """Whether a file that begins so may be of one of FORMATS; it may be damaged further on."""
    Image.init()
    return any(Image.OPEN[name][1](head) is True for name in FORMATS if name in Image.OPEN)


class ImageFiles:
    """Image files in the place of a Split's records: read in parallel, when they are asked for.

    The first that fit into KEPT_BYTES are kept in memory, the others read each time.

    Args:
      paths: the files.
      dim: side of a record's image in pixels.

    Attributes:
      shape: (files, 3 * dim * dim), as an array's.
    """

    def __init__(self, paths: Sequence[Path], dim: int):
        self.shape = (len(paths), 3 * dim * dim)
        self._paths = paths
        self._dim = dim
        most_kept = KEPT_BYTES // self.shape[1]
        self._kept = np.empty([min(len(paths), most_kept), self.shape[1]], np.uint8)
        self._is_kept = np.zeros(len(self._kept), bool)
        self._threads = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, indices: slice | Sequence[int]) -> np.ndarray:
        """The records at some indices: uint8 [N, 3 * dim * dim].

        Raises:
          DataError: files are damaged; names all such files.
        """
        indices = np.arange(len(self))[indices]
        records = list(self._threads.map(self._read, indices))
        if any(isinstance(record, DataError) for record in records):
            raise self._all_damage()
        return np.stack(records) if records else np.empty([0, self.shape[1]], np.uint8)

    def take(self, indices: Sequence[int], axis: int = 0) -> ImageFiles:
        """Some of the files, as a numpy array's `take` gives some of its rows."""
        return ImageFiles([self._paths[index] for index in indices], self._dim)

    def _read(self, index: int) -> np.ndarray | DataError:
        is_kept = index < len(self._kept)
        if is_kept and self._is_kept[index]:
            return self._kept[index]
        record = try_to_read(self._paths[index], self._dim)
        if is_kept and not isinstance(record, DataError):
            self._kept[index] = record
            self._is_kept[index] = True
        return record

    def _all_damage(self) -> DataError:
        """Looks through all files, so that the user need not mend them one by one."""
        damaged = [
            record
            for record in self._threads.map(self._read, range(len(self)))
            if isinstance(record, DataError)
        ]
        if len(damaged) == 1:
            return damaged[0]
        listed = "\n".join(f"  {error}" for error in damaged)
        return DataError(f"{len(damaged):,} image files cannot be used:\n{listed}")
