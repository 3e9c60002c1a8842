"""Image files of any size -> records."""

import contextlib
import dataclasses
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from tqdm import tqdm

from base import UserError, reason
from base.files import open_regular
from base.runtime import visible_cores

# What Pillow reads on its own, with readers that are in wide use.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")
with contextlib.suppress(ImportError):  # without this package, a phone's HEIC photos are refused
    import pillow_heif

    pillow_heif.register_heif_opener()
    FORMATS += ("HEIF",)
USABLE = f"an image in RGB, gray, CMYK or palette colors ({', '.join(FORMATS)})"
MAX_FILE_BYTES = 1 << 28  # a 16-bit TIFF of 40 megapixels
MAX_PIXELS = 100_000_000  # as decoded; a JPEG is decoded at a fraction of its size
MAX_THREADS = 8  # each may hold an image of hundreds of megabytes
TURNS = {  # what EXIF's orientations 2 to 8 ask for; 1 is upright
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

# What Pillow finds odd or damaged in a file, UserError tells.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class NotAnImage(UserError):
    """A file is not an image, or not of a kind that can be used."""


def read_image(path: Path, dim: int) -> np.ndarray:
    """Reads one image file as a record, uint8 [3 * dim * dim], channel-major.

    The image is turned upright as its EXIF data say; of an animation, the first frame is used.
    Gray, palette, 16-bit and CMYK images become RGB with 8 bits a value; transparent ones get a
    white background. The central square, as wide as the shorter side, is resized (bicubic) to
    dim x dim; an image of that size stays as it is.

    Raises:
      NotAnImage: it is none that can be used.
      UserError: it cannot be read, is damaged, or is too large.
    """
    try:
        return decode(path, dim)
    except UnidentifiedImageError:
        problem: UserError = NotAnImage(f"{path}: is not {USABLE}; convert it or leave it out.")
    except Exception as error:  # Pillow's readers raise all kinds of errors on damaged files
        problem = UserError(f"{path}: cannot be read ({reason(error)}); fix it or leave it out.")
    raise problem  # not above, where it would hold on to Pillow's error, and that to its image


def decode(path: Path, dim: int) -> np.ndarray:
    """The record of an image file; raises whatever Pillow does."""
    with open_regular(path) as file:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Image.DecompressionBombError(f"it has more than {MAX_FILE_BYTES:,} bytes")
        image = Image.open(file, formats=FORMATS)
        if image.format != "HEIF":  # which would be decoded here already, if it has a thumbnail
            image.draft(None, (2 * dim, 2 * dim))  # a JPEG at a half, a quarter or an eighth
        tags = getattr(image, "tag_v2", {})  # of a TIFF, whose tiles may be larger than itself
        if max(image.width * image.height, tags.get(322, 0) * tags.get(323, 0)) > MAX_PIXELS:
            raise Image.DecompressionBombError(f"it has more than {MAX_PIXELS:,} pixels")
        image.load()
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    # A large image is reduced first, as far as Pillow calls that indistinguishable.
    square = to_rgb(image).resize(
        (dim, dim), Image.Resampling.BICUBIC, (left, top, left + side, top + side), reducing_gap=3.0
    )
    # ImageOps.exif_transpose would fail on other odd EXIF data. (load() turns TIFFs and HEIFs.)
    with contextlib.suppress(Exception):  # without readable EXIF data, the pixels are what counts
        square = square.transpose(TURNS[image.getexif()[ExifTags.Base.Orientation]])
    return np.asarray(square).transpose(2, 0, 1).ravel()


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as RGB with 8 bits a value, copied only if need be; or UnidentifiedImageError."""
    if image.mode in ("F", "I", "LAB"):  # of which Pillow does not know what they are in RGB
        raise UnidentifiedImageError
    if image.mode.startswith("I;16"):  # which convert() would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(rgba, mask=rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def is_clutter(name: str) -> bool:
    """Whether a file or folder of that name is hidden or the operating system's, not the user's."""
    return name.startswith(".") or name.lower() in CLUTTER


@dataclasses.dataclass(eq=False)
class ImageFiles:
    """Image files in the place of a Split's records: read in parallel, when they are asked for.

    Those that fit into KEPT_BYTES are kept in memory, the others are read each time.
    """

    paths: list[Path]
    dim: int  # side of a record's image in pixels
    # Records by path, and threads: what `take` gives shares them.
    kept: dict[Path, np.ndarray] = dataclasses.field(default_factory=dict)
    threads: ThreadPoolExecutor = dataclasses.field(
        default_factory=lambda: ThreadPoolExecutor(min(visible_cores(), MAX_THREADS))
    )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: slice | list[int] | np.ndarray) -> np.ndarray:
        """The records at some indices: uint8 [N, 3 * dim * dim]; UserError if one has none."""
        paths = [self.paths[index] for index in np.arange(len(self))[indices]]
        records = list(self.threads.map(self._read, paths))
        if errors := [record for record in records if isinstance(record, UserError)]:
            raise errors[0]
        return np.array(records, np.uint8).reshape(-1, 3 * self.dim**2)

    def take(self, indices: list[int] | np.ndarray, axis: int = 0) -> "ImageFiles":
        """Some of the files, as a numpy array's `take` gives some of its rows."""
        return dataclasses.replace(self, paths=[self.paths[index] for index in indices])

    def read_all(self) -> dict[Path, UserError]:
        """Reads all files, with a progress bar; returns what is wrong with those that fail."""
        pairs = tqdm(
            zip(self.paths, self.threads.map(self._read, self.paths), strict=True),
            desc="reading all images",
            total=len(self),
            unit=" images",
            leave=False,
            disable=None,  # but on a terminal
        )
        return {path: record for path, record in pairs if isinstance(record, UserError)}

    def _read(self, path: Path) -> np.ndarray | UserError:
        if path in self.kept:
            return self.kept[path]
        try:
            record = read_image(path, self.dim)
        except UserError as error:
            return error
        if len(self.kept) < KEPT_BYTES // record.nbytes:
            self.kept[path] = record
        return record
