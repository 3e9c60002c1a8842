"""Image files of every kind become records; what is not an image is named."""

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from base import UserError
from data import images
from data.images import ImageFiles, NotAnImage, is_clutter, read_image
from tests.odd_files import of_all_kinds

PROJECT = Path(__file__).resolve().parents[1]
RED, BLUE = (255, 0, 0), (0, 0, 255)
LOSSY = 20  # by how much a JPEG's values may be off
FORMATS = ["jpg", "png", "gif", "bmp", "tiff", "webp", "avif"]
FORMATS += ["heif"] * ("HEIF" in images.FORMATS)
TRANSPARENT = ["png", "tiff", "webp", "avif"]


def pixels(path, dim):
    """What read_image gives, as [dim, dim, 3]."""
    record = read_image(path, dim)
    assert (record.dtype, record.shape) == (np.uint8, (3 * dim * dim,))
    return record.reshape(3, dim, dim).transpose(1, 2, 0).astype(int)


@pytest.fixture
def halves():
    """An image of 60 x 40 whose upper half is red, the lower one blue."""
    image = Image.new("RGB", (60, 40), RED)
    image.paste(BLUE, (0, 20, 60, 40))
    return image


def assert_red_over_blue(path):
    got = pixels(path, 32)
    for half, color in ((got[:14], RED), (got[18:], BLUE)):
        np.testing.assert_allclose(half, np.broadcast_to(color, half.shape), atol=LOSSY)


def png_of_16_bits(color, size=(8, 8)):
    """A PNG of 8 x 8 with 16 bits a value, which Pillow cannot write; it may claim another size."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    row = b"\0" + struct.pack(">3H", *color) * 8
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", *size, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * 8))
        + chunk(b"IEND", b"")
    )


def tiff(tags):
    """The start of a TIFF with these tags."""
    entries = b"".join(struct.pack("<2H2L", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4)


def tiff_with_tiles(side):
    """A gray TIFF of 16 x 16, stored as the corner of one tile."""
    shape = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1}
    tiles = {322: side, 323: side, 324: 512, 325: 256}
    return tiff(shape | tiles).ljust(512, b"\0") + bytes([7]) * 256


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "mode", "options"),
        [
            *((name, "RGB", {}) for name in [*FORMATS, "jpeg", "tif"]),
            ("anything", "RGB", {"format": "PNG"}),
            ("jpg", "CMYK", {}),
            ("tif", "CMYK", {}),
            *((name, "P", {}) for name in ("png", "gif")),
            *(
                ("tif", "RGB", {"compression": compression})
                for compression in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")
            ),
        ],
    )
    def test_in_color(self, halves, tmp_path, name, mode, options):
        path = tmp_path / f"halves.{name}"
        halves.convert(mode, palette=Image.Palette.ADAPTIVE).save(path, **options)
        assert_red_over_blue(path)

    @pytest.mark.parametrize(
        ("name", "image", "expected"),
        [
            ("png", Image.new("L", (8, 8), 100), 100),
            ("png", Image.new("1", (8, 8), 1), 255),
            ("png", Image.new("LA", (8, 8), (100, 255)), 100),
            ("png", Image.new("LA", (8, 8), (100, 0)), 255),  # transparent is white
            ("gif", Image.new("L", (8, 8), 100), 100),
            ("png", Image.fromarray(np.full([8, 8], 0x8123, np.uint16)), 0x81),
            ("tif", Image.fromarray(np.full([8, 8], 0x8123, np.uint16)), 0x81),
        ],
    )
    def test_gray(self, tmp_path, name, image, expected):
        image.save(tmp_path / f"gray.{name}")
        assert (pixels(tmp_path / f"gray.{name}", 8) == expected).all()

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (png_of_16_bits([0x8123, 0x4000, 0xFF00]), [0x81, 0x40, 0xFF]),
            (tiff_with_tiles(16), [7, 7, 7]),
        ],
        ids=["16 bits", "tiles"],
    )
    def test_what_pillow_cannot_write(self, tmp_path, content, expected):
        (tmp_path / "a").write_bytes(content)
        np.testing.assert_allclose(pixels(tmp_path / "a", 8)[0, 0], expected, atol=1)

    @pytest.mark.parametrize(
        ("name", "mode", "color", "options", "shown"),
        [
            *((name, "RGBA", (*RED, 0), {}, 255) for name in TRANSPARENT),
            *((name, "RGBA", (0, 0, 0, 128), {}, 127) for name in TRANSPARENT),
            ("png", "P", 0, {"transparency": 0}, 255),  # the palette's first color is black
        ],
    )
    def test_transparent_pixels_are_white(self, tmp_path, name, mode, color, options, shown):
        Image.new(mode, (8, 8), color).save(tmp_path / f"a.{name}", **options)
        np.testing.assert_allclose(pixels(tmp_path / f"a.{name}", 8), shown, atol=2)

    @pytest.mark.parametrize("name", ["gif", "tif", "webp"])
    def test_of_several_images_the_first(self, tmp_path, name):
        first, second = (Image.new("RGB", (8, 8), color) for color in (RED, BLUE))
        first.save(tmp_path / f"a.{name}", save_all=True, append_images=[second])
        np.testing.assert_allclose(pixels(tmp_path / f"a.{name}", 8)[0, 0], RED, atol=LOSSY)

    @pytest.mark.parametrize("mode", ["F", "I", "LAB"])
    def test_of_values_without_a_clear_meaning_are_refused(self, tmp_path, mode):
        Image.new(mode, (8, 8)).save(tmp_path / "a.tif")
        with pytest.raises(NotAnImage, match=r"a\.tif: is not an image in RGB.*; convert it"):
            read_image(tmp_path / "a.tif", 8)


def exif_of(tags):
    """EXIF data with these tags."""
    exif = Image.Exif()
    exif.update(tags)
    return exif


class TestGeometry:
    @pytest.mark.parametrize(
        ("name", "orientation"),
        [
            *(("jpg", turn) for turn in range(1, 9)),
            *((name, 6) for name in FORMATS[4:]),
            ("png", 6),
        ],
    )
    def test_a_photo_is_upright(self, halves, tmp_path, name, orientation):
        # How a camera stores what stands upright when turned as its EXIF data say.
        undone = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }
        stored = halves.transpose(undone[orientation]) if orientation > 1 else halves
        exif = exif_of({0x0112: orientation}).tobytes()
        stored.save(tmp_path / f"a.{name}", exif=exif, quality=95)
        assert_red_over_blue(tmp_path / f"a.{name}")

    def test_odd_exif_data_do_not_matter(self, halves, tmp_path):
        exif = exif_of({0x0112: 3, 0x010E: "a title"})
        content = content_of(halves.transpose(Image.Transpose.ROTATE_180), "jpg", exif=exif)
        # A text said to be a fraction: what ImageOps.exif_transpose stumbles over.
        before, after = content.split(b"\x01\x0e\x00\x02")
        (tmp_path / "odd.jpg").write_bytes(before + b"\x01\x0e\x00\x05" + after)
        assert_red_over_blue(tmp_path / "odd.jpg")

    @pytest.mark.parametrize("size", [(32, 32), (33, 50), (700, 500), (1_201, 3_000), (5_000, 7)])
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_all_of_the_square_counts_and_lies_on_white(self, tmp_path, size, mode):
        noise = np.random.default_rng(0).bytes(4 * size[0] * size[1])
        image = Image.frombytes("RGBA", size, noise).convert(mode)
        image.save(tmp_path / "a.png")
        shown = Image.alpha_composite(Image.new("RGBA", size, "white"), image.convert("RGBA"))
        left, top = ((each - min(size)) / 2 for each in size)
        box = (left, top, left + min(size), top + min(size))
        expected = shown.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC, box, 3.0)
        np.testing.assert_array_equal(pixels(tmp_path / "a.png", 32), np.asarray(expected))

    @pytest.mark.parametrize("dim", [32, 224, 740])
    def test_a_jpeg_of_12_megapixels_keeps_its_details(self, tmp_path, dim):
        period = 3_000 // dim * 3
        row = np.where(np.arange(4_000) % period < period // 2, 255, 0).astype(np.uint8)
        stripes = Image.fromarray(np.tile(row, [3_000, 1])).convert("RGB")
        stripes.save(tmp_path / "a.jpg", quality=95)
        values = pixels(tmp_path / "a.jpg", dim)
        assert values.min() < 20 < 235 < values.max()
        assert 110 < values.mean() < 145


class TestWhatCannotBeUsed:
    def error_of(self, path):
        with pytest.raises(UserError, match=rf"^{path}: .* it or leave it out\.$") as caught:
            read_image(path, 32)
        assert caught.value.__context__ is None  # which would keep the image in memory
        return str(caught.value)

    NO_IMAGE = "is not an image in RGB, gray, CMYK or palette colors (JPEG, PNG, GIF"

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", NO_IMAGE),
            (b"not an image", NO_IMAGE),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), NO_IMAGE),
            (png_of_16_bits([0, 0, 0], (100_000, 100_000)), "pixels"),
            (png_of_16_bits([0, 0, 0], (13_000, 13_000)), "100,000,000 pixels"),
            (png_of_16_bits([0, 0, 0], (2_000_000, 70)), "100,000,000 pixels"),
            (tiff_with_tiles(65_520), "100,000,000 pixels"),
        ],
        ids=["empty", "text", "empty HEIF", "huge", "large", "wide", "of a large tile"],
    )
    def test_is_named(self, tmp_path, content, words):
        (tmp_path / "a.jpg").write_bytes(content)
        assert words in self.error_of(tmp_path / "a.jpg")

    @of_all_kinds
    def test_is_no_file(self, tmp_path, make_odd):
        make_odd(tmp_path / "a.jpg")
        assert "cannot be read (" in self.error_of(tmp_path / "a.jpg")

    @pytest.mark.parametrize("name", FORMATS)
    def test_is_cut_off(self, tmp_path, name):
        content = content_of(Image.linear_gradient("L").rotate(20).convert("RGB"), name)
        (tmp_path / f"part.{name}").write_bytes(content[: len(content) // 2])
        self.error_of(tmp_path / f"part.{name}")

    @pytest.mark.skipif("heif" not in FORMATS, reason="pillow-heif")
    @pytest.mark.parametrize("size", [(13_000, 13_000), (2_000_000, 70), (1, 1)])
    def test_has_another_number_of_pixels_than_a_heif_says(self, tmp_path, size):
        content = content_of(Image.new("RGB", (600, 600)), "heif", thumbnails=[128])
        true, said = struct.pack(">2I", 600, 600), struct.pack(">2I", *size)
        (tmp_path / "bomb.heic").write_bytes(content.replace(true, said))
        assert re.search("pixels|exceeds", self.error_of(tmp_path / "bomb.heic"))


def content_of(image, name, **options):
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, "jpeg" if name == "jpg" else name, **options)
    return file.getvalue()


class TestDamagedAnywhere:
    """Whatever the bytes are, an image is read or named: no other error."""

    @pytest.fixture(scope="class")
    @classmethod
    def contents(cls):
        """A small file of each format, and of some of its variants."""
        exif = exif_of({0x0112: 6, 0x010E: "title", 0x011A: 72.0})
        image = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
        variants = {name: {} if name in ("gif", "bmp") else {"exif": exif} for name in FORMATS}
        return [
            *(content_of(image, name, **options) for name, options in variants.items()),
            content_of(image, "jpeg", progressive=True),
            content_of(image.convert("CMYK"), "jpeg"),
            content_of(image.convert("RGBA"), "png", optimize=True),
            content_of(image.convert("P"), "png", transparency=0),
            content_of(image.convert("RGBA"), "webp", lossless=True),
            content_of(image, "tiff", compression="tiff_lzw"),
            content_of(image, "tiff", compression="jpeg"),
            content_of(image.convert("L"), "tiff", compression="tiff_deflate"),
            content_of(image, "gif", save_all=True, append_images=[image.rotate(90)]),
        ]

    @given(
        number=st.integers(0, 8 + len(FORMATS)),
        changes=st.lists(
            st.tuples(st.integers(0, 1_500), st.integers(0, 1), st.binary(max_size=4)), max_size=3
        ),
        length=st.integers(0, 1_500) | st.just(1 << 20),
    )
    def test_is_read_or_named(self, contents, tmp_path_factory, number, changes, length):
        content = bytearray(contents[number])
        for position, is_inserted, new in changes:
            start = position % len(content)
            content[start : start + (0 if is_inserted else len(new))] = new
        broken = tmp_path_factory.getbasetemp() / "broken"
        broken.write_bytes(content[:length])
        got = record_or_error(broken)
        assert got.startswith(f"{broken}: ") if isinstance(got, str) else got.shape == (192,)


def record_or_error(path: Path) -> np.ndarray | str:
    try:
        return read_image(path, 8)
    except UserError as error:
        return str(error)


def in_new_process(code: str, path: Path) -> tuple[str, str]:
    """What a few lines print to stdout and stderr; sys.argv[1] is the path."""
    command = [sys.executable, "-c", f"import sys; from data import images; {code}", path]
    process = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return process.stdout, process.stderr


def test_without_its_package_a_heif_is_refused(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    code = (
        "import importlib; sys.modules['pillow_heif'] = None; importlib.reload(images); "
        "print(images.ImageFiles([images.Path(sys.argv[1])], 8).read_all())"
    )
    out, _ = in_new_process(code, tmp_path / "a.heic")
    assert re.search(r"NotAnImage.* \(JPEG, PNG, .*AVIF\); convert", out)


def test_pillow_prints_nothing(tmp_path):
    # Its log has "More samples per pixel than can be".
    (tmp_path / "log.tif").write_bytes(tiff({256: 16, 257: 16, 277: 60_000}))
    (tmp_path / "warning.tif").write_bytes(tiff_with_tiles(16)[:100])  # "Truncated File Read"
    code = "print(len(images.ImageFiles([*images.Path(sys.argv[1]).iterdir()], 8).read_all()))"
    assert in_new_process(code, tmp_path) == ("2\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize(
    ("name", "size", "mode", "megabytes"),
    [("a.jpg", (4_000, 3_000), "RGB", 100), ("a.png", (2_000, 1_500), "RGBA", 280)],
)
def test_photos_that_are_read_in_parallel_fit_into_memory(tmp_path, name, size, mode, megabytes):
    Image.new(mode, size).save(tmp_path / name)
    code = (
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]); "
        "before = peak(); paths = [images.Path(sys.argv[1])] * 16; "
        "images.visible_cores = lambda: 16; "
        "assert not images.ImageFiles(paths, 32).read_all(); print(peak() - before)"
    )
    out, _ = in_new_process(code, tmp_path / name)
    assert int(out) < megabytes * 1_000


@pytest.mark.parametrize("name", ["__MACOSX", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini"])
def test_clutter_is_known_by_its_name(name):
    assert is_clutter(name)
    assert not is_clutter(f"cat {name}")


class TestImageFiles:
    @pytest.fixture
    def paths(self, tmp_path):
        for index in range(5):
            Image.new("RGB", (4, 4), (index, 0, 0)).save(tmp_path / f"{index}.png")
        return sorted(tmp_path.iterdir())

    def test_are_indexed_as_an_array_is(self, paths):
        files = ImageFiles(paths, 4)
        assert len(files) == 5
        assert files[[3, 1, 3]][:, 0].tolist() == [3, 1, 3]
        assert files[np.array([4])].dtype == np.uint8
        assert files[1:3][:, 0].tolist() == [1, 2]
        assert files[5:].shape == (0, 48)
        part = files.take([4, 0, 2])
        assert part[:][:, 0].tolist() == [4, 0, 2]
        assert len(part) == 3
        assert part.take(np.array([2, 1]))[[1]][:, 0].tolist() == [0]

    @pytest.mark.parametrize("kept", [0, 2, 4])
    def test_are_read_once_as_far_as_memory_goes(self, paths, monkeypatch, kept):
        monkeypatch.setattr(images, "KEPT_BYTES", kept * 48)
        monkeypatch.setattr(images, "MAX_THREADS", 1)
        files = ImageFiles(paths, 4)
        assert files.read_all() == {}
        for path in paths[: kept + 1]:
            path.unlink()
        assert files[:kept][:, 0].tolist() == [*range(kept)]
        with pytest.raises(UserError, match=rf"{kept}\.png: cannot be read \(No such file"):
            files.take([4, kept])[:]
