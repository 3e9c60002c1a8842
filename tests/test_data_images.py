"""Image files of every kind become records; what is not an image is named."""

import io
import os
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data import DataError, images
from data.images import Budget, ImageFiles, is_clutter, looks_like_an_image, read_image, try_to_read
from tests.conftest import PROJECT

RED, BLUE = (255, 0, 0), (0, 0, 255)
LOSSY = 12  # by how much a JPEG's values may be off
FORMATS = ["jpg", "png", "gif", "bmp", "tiff", "webp", "avif"]


def pixels(path, dim):
    """What read_image gives, as [dim, dim, 3]."""
    record = read_image(path, dim)
    assert record.dtype == np.uint8
    assert record.shape == (3 * dim * dim,)
    return record.reshape(3, dim, dim).transpose(1, 2, 0).astype(int)


@pytest.fixture
def halves():
    """An image of 60 x 40 whose upper half is red, the lower one blue."""
    image = Image.new("RGB", (60, 40), RED)
    image.paste(BLUE, (0, 20, 60, 40))
    return image


def assert_red_over_blue(got, tolerance=LOSSY):
    half = len(got) // 2
    np.testing.assert_allclose(
        got[: half - 2], np.broadcast_to(RED, got[: half - 2].shape), atol=tolerance
    )
    np.testing.assert_allclose(
        got[half + 2 :], np.broadcast_to(BLUE, got[half + 2 :].shape), atol=tolerance
    )


class TestFormats:
    @pytest.mark.parametrize("name", [*FORMATS, "jpeg", "tif"])
    def test_in_color(self, halves, tmp_path, name):
        path = tmp_path / f"halves.{name}"
        halves.save(path)
        assert_red_over_blue(pixels(path, 32))

    def test_the_name_says_nothing(self, halves, tmp_path):
        path = tmp_path / "halves.txt"
        halves.save(path, "PNG")
        assert_red_over_blue(pixels(path, 32))

    @pytest.mark.parametrize("mode", ["L", "1", "LA"])
    def test_gray(self, tmp_path, mode):
        path = tmp_path / "gray.png"
        Image.new("L", (8, 8), 255).convert(mode).save(path)
        assert (pixels(path, 8) == 255).all()

    def test_gray_of_16_bits(self, tmp_path):
        path = tmp_path / "gray.png"
        Image.fromarray(np.full([8, 8], 0x8123, np.uint16)).save(path)
        assert (pixels(path, 8) == 0x81).all()

    def test_color_of_16_bits(self, tmp_path):
        path = tmp_path / "deep.png"
        path.write_bytes(png_of_16_bits([0x8123, 0x4000, 0xFF00]))
        np.testing.assert_allclose(pixels(path, 8)[0, 0], [0x81, 0x40, 0xFF], atol=1)

    def test_palette(self, halves, tmp_path):
        path = tmp_path / "palette.png"
        halves.convert("P", palette=Image.Palette.ADAPTIVE).save(path)
        assert_red_over_blue(pixels(path, 32))

    def test_cmyk(self, halves, tmp_path):
        path = tmp_path / "print.jpg"
        halves.convert("CMYK").save(path, quality=95)
        assert_red_over_blue(pixels(path, 32), tolerance=20)

    @pytest.mark.parametrize("name", ["png", "tiff", "webp", "avif"])
    def test_transparent_pixels_are_white(self, tmp_path, name):
        path = tmp_path / f"a.{name}"
        Image.new("RGBA", (8, 8), (*RED, 0)).save(path)
        assert (pixels(path, 8) == 255).all()
        Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(path)
        np.testing.assert_allclose(pixels(path, 8), 127, atol=2)

    def test_transparent_gray_is_white(self, tmp_path):
        Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "la.png")
        assert (pixels(tmp_path / "la.png", 8) == 255).all()

    def test_a_transparent_palette(self, tmp_path):
        image = Image.new("P", (8, 8), 0)
        image.putpalette([*RED, *BLUE])
        image.save(tmp_path / "p.png", transparency=0)
        assert (pixels(tmp_path / "p.png", 8) == 255).all()

    def test_of_an_animation_the_first_frame(self, tmp_path):
        first, second = (Image.new("RGB", (8, 8), color) for color in (RED, BLUE))
        first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
        assert (pixels(tmp_path / "two.gif", 8) == RED).all()

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "jpeg"])
    def test_tiff_in_its_usual_compressions(self, halves, tmp_path, compression):
        halves.save(tmp_path / "a.tif", compression=compression)
        assert_red_over_blue(pixels(tmp_path / "a.tif", 32))

    def test_of_a_tiff_the_first_page(self, tmp_path):
        first, second = (Image.new("RGB", (8, 8), color) for color in (RED, BLUE))
        first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
        assert (pixels(tmp_path / "two.tif", 8) == RED).all()

    def test_tiff_in_cmyk_and_gray_of_16_bits(self, halves, tmp_path):
        halves.convert("CMYK").save(tmp_path / "print.tif")
        assert_red_over_blue(pixels(tmp_path / "print.tif", 32), tolerance=20)
        Image.fromarray(np.full([8, 8], 0x8123, np.uint16)).save(tmp_path / "gray.tif")
        assert (pixels(tmp_path / "gray.tif", 8) == 0x81).all()

    @pytest.mark.parametrize(
        ("mode", "what"), [("F", "floats"), ("I", "32-bit integers"), ("LAB", "Lab colors")]
    )
    def test_tiff_whose_values_have_no_clear_meaning_is_refused(self, tmp_path, mode, what):
        Image.new(mode, (8, 8)).save(tmp_path / "a.tif")
        with pytest.raises(DataError, match=f"stores its pixels as {what}; convert it to RGB"):
            read_image(tmp_path / "a.tif", 8)


def png_of_16_bits(color):
    """A PNG of 8 x 8 with 16 bits a value, which Pillow cannot write."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    row = b"\0" + struct.pack(">3H", *color) * 8
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", 8, 8, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * 8))
        + chunk(b"IEND", b"")
    )


class TestGeometry:
    def test_an_image_of_the_right_size_stays_as_it_is(self, tmp_path):
        values = np.random.default_rng(0).integers(0, 256, [32, 32, 3], np.uint8)
        Image.fromarray(values).save(tmp_path / "a.png")
        np.testing.assert_array_equal(pixels(tmp_path / "a.png", 32), values)

    @pytest.mark.parametrize("size", [(90, 30), (30, 90), (900, 300)])
    def test_the_central_square_is_seen(self, tmp_path, size):
        image = Image.new("RGB", size, BLUE)
        side = min(size)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        image.paste(RED, (left, top, left + side, top + side))
        image.save(tmp_path / "a.png")
        assert (pixels(tmp_path / "a.png", 16)[1:-1, 1:-1] == RED).all()

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("name", ["jpg", "png", "tiff", "webp", "avif"])
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
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(tmp_path / f"a.{name}", exif=exif, quality=95)
        assert_red_over_blue(pixels(tmp_path / f"a.{name}", 32))

    def test_odd_exif_data_do_not_matter(self, halves, tmp_path):
        exif = Image.Exif()
        exif.update({0x0112: 3, 0x010E: "a title"})
        halves.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "a.jpg", exif=exif)
        content = (tmp_path / "a.jpg").read_bytes()
        # A text said to be a fraction: what ImageOps.exif_transpose stumbles over.
        entry = content.index(b"\x01\x0e\x00\x02")
        odd = content[: entry + 2] + b"\x00\x05" + content[entry + 4 :]
        (tmp_path / "odd.jpg").write_bytes(odd)
        assert_red_over_blue(pixels(tmp_path / "odd.jpg", 32))

    def test_a_large_jpeg_looks_like_itself_as_png(self, halves, tmp_path):
        large = halves.resize((3_000, 2_000))
        large.save(tmp_path / "a.jpg", quality=95)
        large.save(tmp_path / "a.png")
        jpeg, png = (pixels(tmp_path / name, 32) for name in ("a.jpg", "a.png"))
        np.testing.assert_allclose(jpeg, png, atol=LOSSY)

    @pytest.mark.parametrize("size", [(33, 50), (97, 96), (700, 500), (1_201, 3_000), (5_000, 7)])
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
    def test_large_images_are_resized_as_pillow_does_it(self, tmp_path, monkeypatch, size, mode):
        monkeypatch.setattr(images, "STRIP_PIXELS", 10_000)
        noise = np.random.default_rng(0).integers(0, 256, [size[1], size[0], 4], np.uint8)
        image = Image.fromarray(noise).convert(mode)
        image.save(tmp_path / "a.png")
        on_white = Image.new("RGBA", size, "white")
        rgb = Image.alpha_composite(on_white, image.convert("RGBA")).convert("RGB")
        side = min(size)
        left, top = (size[0] - side) / 2, (size[1] - side) / 2
        box = (left, top, left + side, top + side)
        bicubic = Image.Resampling.BICUBIC
        expected = np.asarray(rgb.resize((32, 32), bicubic, box, reducing_gap=3.0)).astype(int)
        np.testing.assert_array_equal(pixels(tmp_path / "a.png", 32), expected)

    @pytest.mark.parametrize("dim", [32, 224, 256, 1_024])
    def test_a_photo_of_12_megapixels_keeps_its_details(self, tmp_path, dim):
        stripes = np.zeros([3_000, 4_000, 3], np.uint8)
        period = 3_000 // dim * 8
        stripes[:, np.arange(4_000) % period < period // 2] = 255
        Image.fromarray(stripes).save(tmp_path / "a.jpg", quality=95)
        values = pixels(tmp_path / "a.jpg", dim)
        assert values.min() < 20
        assert values.max() > 235
        assert 110 < values.mean() < 145


class TestWhatCannotBeUsed:
    def error_of(self, path):
        with pytest.raises(DataError) as caught:
            read_image(path, 32)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert message.isprintable()
        return message

    def test_is_named(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_text("not an image")
        assert "is not an image in one of the formats JPEG, PNG" in self.error_of(path)

    def test_is_missing(self, tmp_path):
        assert "No such file" in self.error_of(tmp_path / "a.jpg")

    def test_is_a_folder(self, tmp_path):
        assert "cannot be read (Is a directory)" in self.error_of(tmp_path)

    def test_is_empty(self, tmp_path):
        (tmp_path / "a.png").touch()
        assert "is not an image" in self.error_of(tmp_path / "a.png")

    @pytest.mark.parametrize("name", FORMATS)
    def test_is_cut_off(self, tmp_path, name):
        whole = tmp_path / f"whole.{name}"
        noise = np.random.default_rng(0).integers(0, 256, [64, 64, 3], np.uint8)
        Image.fromarray(noise).save(whole)
        part = tmp_path / f"part.{name}"
        part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        self.error_of(part)

    def test_has_a_name_that_is_printed_as_one_harmless_line(self, tmp_path):
        path = tmp_path / "a\n\x1b[2J\u202e.png"
        path.touch()
        with pytest.raises(DataError) as caught:
            read_image(path, 32)
        assert r"a\n\x1b[2J\u202e.png: is not an image" in str(caught.value)

    def test_is_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert "it is not a regular file" in self.error_of(tmp_path / "pipe.jpg")

    def test_is_an_endless_device(self, tmp_path):
        (tmp_path / "a.png").symlink_to("/dev/zero")
        assert "it is not a regular file" in self.error_of(tmp_path / "a.png")

    def test_is_a_link_to_itself(self, tmp_path):
        (tmp_path / "a.png").symlink_to("a.png")
        assert "cannot be read (Too many levels" in self.error_of(tmp_path / "a.png")


class TestDamagedAnywhere:
    """Whatever the bytes are, an image is read or named: no other error, and nothing printed."""

    @pytest.fixture(scope="class")
    @classmethod
    def contents(cls):
        """A small file of each format, and of some of its variants."""
        exif = Image.Exif()
        exif.update({0x0112: 6, 0x010E: "title", 0x011A: 72.0})
        image = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
        variants = {name: {} if name in ("gif", "bmp") else {"exif": exif} for name in FORMATS}
        contents = [content_of(image, name, **options) for name, options in variants.items()]
        return [
            *contents,
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
        number=st.integers(0, 15),
        changes=st.lists(
            st.tuples(st.integers(0, 1_500), st.integers(0, 255)), min_size=1, max_size=4
        ),
    )
    def test_with_wrong_bytes(self, contents, tmp_path_factory, number, changes):
        content = bytearray(contents[number])
        for position, value in changes:
            content[position % len(content)] = value
        self.check(tmp_path_factory, bytes(content))

    @given(number=st.integers(0, 15), length=st.integers(0, 1_500))
    def test_cut_off(self, contents, tmp_path_factory, number, length):
        self.check(tmp_path_factory, contents[number][: length % len(contents[number])])

    @given(number=st.integers(0, 15), at=st.integers(0, 1_500), inserted=st.binary(max_size=8))
    def test_with_more_bytes(self, contents, tmp_path_factory, number, at, inserted):
        at %= len(contents[number])
        self.check(tmp_path_factory, contents[number][:at] + inserted + contents[number][at:])

    @pytest.mark.parametrize("compression", ["group4", "tiff_lzw", "tiff_deflate", "jpeg"])
    def test_without_a_word_from_the_libraries_below(self, tmp_path, capfd, compression):
        mode = "1" if compression == "group4" else "RGB"
        noise = Image.effect_noise((64, 64), 80).convert(mode)
        content = content_of(noise, "tiff", compression=compression)
        for start in range(20, len(content) - 200, 97):
            (tmp_path / "a.tif").write_bytes(content[:start] + b"\xab" * 40 + content[start + 40 :])
            try_to_read(tmp_path / "a.tif", 8)
        assert capfd.readouterr() == ("", "")

    def check(self, tmp_path_factory, content):
        broken = tmp_path_factory.getbasetemp() / "broken"
        broken.write_bytes(content)
        got = try_to_read(broken, 8)
        if isinstance(got, DataError):
            assert str(got).startswith(f"{broken}: ")
            assert str(got).isprintable()
        else:
            assert got.shape == (192,)


def content_of(image, name, **options):
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, "jpeg" if name == "jpg" else name, **options)
    return file.getvalue()


def png_header(width, height, color_type=2):
    """A PNG that claims such a size, and has the content of a small one."""
    header = struct.pack(">2I5B", width, height, 8, color_type, 0, 0, 0)
    png = png_of_16_bits([0, 0, 0])
    return png[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + png[33:]


def tiff_with_tiles(side):
    """A gray TIFF of 16 x 16, stored as the corner of one tile."""
    tags = {
        256: 16,
        257: 16,
        258: 8,
        259: 1,
        262: 1,
        277: 1,
        322: side,
        323: side,
        324: 512,
        325: 256,
    }
    entries = b"".join(struct.pack("<2H2L", tag, 4, 1, value) for tag, value in tags.items())
    ifd = struct.pack("<H", len(tags)) + entries + bytes(4)
    return (b"II*\0" + struct.pack("<L", 8) + ifd).ljust(512, b"\0") + bytes([7]) * 256


class TestMemory:
    """An image takes no more than MOST_BYTES to decode, and all at the same time no more either."""

    def error_of(self, path, dim=32):
        with pytest.raises(DataError, match="to be decoded safely; make it smaller") as caught:
            read_image(path, dim)
        return str(caught.value)

    @pytest.mark.parametrize("size", [(100_000, 100_000), (13_000, 13_000), (2_000_000, 70)])
    def test_too_many_pixels_are_refused(self, tmp_path, size):
        (tmp_path / "bomb.png").write_bytes(png_header(*size))
        assert "has too many pixels" in self.error_of(tmp_path / "bomb.png")

    @pytest.mark.parametrize("name", FORMATS)
    def test_is_bounded_in_every_format(self, tmp_path, monkeypatch, name):
        Image.new("RGB", (400, 300)).save(tmp_path / f"a.{name}")
        read_image(tmp_path / f"a.{name}", 150)
        monkeypatch.setattr(images, "MOST_BYTES", 400_000)
        assert "(400 x 300)" in self.error_of(tmp_path / f"a.{name}", 150)

    def test_of_a_jpeg_is_that_of_its_reduced_size(self, tmp_path, monkeypatch):
        monkeypatch.setattr(images, "MOST_BYTES", 400_000)
        Image.new("RGB", (1_600, 1_200)).save(tmp_path / "a.jpg")
        assert read_image(tmp_path / "a.jpg", 32).shape == (3_072,)

    def test_of_a_progressive_jpeg_is_that_of_its_full_size(self, tmp_path, monkeypatch):
        monkeypatch.setattr(images, "MOST_BYTES", 400_000)
        Image.new("RGB", (1_600, 1_200)).save(tmp_path / "a.jpg", progressive=True)
        self.error_of(tmp_path / "a.jpg")

    def test_a_progressive_jpeg_of_hundreds_of_scans_is_refused(self, tmp_path):
        content = content_of(Image.new("L", (64, 64)), "jpeg", progressive=True)
        last = content.rindex(b"\xff\xda")
        bomb = content[:last] + content[last:-2] * 200 + content[-2:]
        (tmp_path / "a.jpg").write_bytes(bomb)
        assert "has too many scans" in self.error_of(tmp_path / "a.jpg")

    def test_a_tiff_of_huge_tiles_is_refused(self, tmp_path):
        (tmp_path / "a.tif").write_bytes(tiff_with_tiles(16))
        assert read_image(tmp_path / "a.tif", 16).tolist() == [7] * 768
        (tmp_path / "a.tif").write_bytes(tiff_with_tiles(65_520))
        self.error_of(tmp_path / "a.tif")

    def test_a_file_of_implausible_size_is_not_read(self, tmp_path):
        Image.new("RGB", (8, 8)).save(tmp_path / "a.bmp")
        os.truncate(tmp_path / "a.bmp", 1 << 40)  # a sparse file
        assert "has more than 256 MB" in self.error_of(tmp_path / "a.bmp")

    @pytest.fixture
    def peak_of(self, tmp_path):
        """Runs a line of code in a new process; gives the bytes by which its memory has grown."""
        if sys.platform != "linux":
            pytest.skip("reads /proc/self/status")

        def run(line):
            code = (
                "import sys; from concurrent.futures import ThreadPoolExecutor as Threads\n"
                "from data import images\n"
                "status = lambda: open('/proc/self/status').read()\n"
                "peak = lambda: int(status().split('VmHWM:')[1].split()[0])\n"
                f"before = peak(); {line}; print(peak() - before)"
            )
            command = [sys.executable, "-c", code, tmp_path / "a.png"]
            process = subprocess.run(
                command, cwd=PROJECT, capture_output=True, text=True, check=True
            )
            return int(process.stdout) * 1_024

        return run

    def test_of_a_large_transparent_png_is_not_taken_many_times_over(self, peak_of, tmp_path):
        Image.new("RGBA", (5_000, 5_000)).save(tmp_path / "a.png")
        assert peak_of("images.read_image(sys.argv[1], 32)") < 5_000 * 5_000 * 4 * 1.3

    @pytest.mark.parametrize("missing", [0, 1_000])
    def test_of_threads_is_given_back_to_the_system(self, peak_of, tmp_path, missing):
        Image.new("RGBA", (3_000, 3_000)).save(tmp_path / "a.png")
        os.truncate(tmp_path / "a.png", (tmp_path / "a.png").stat().st_size - missing)
        grown = peak_of(
            "images.DECODING = images.Budget(40_000_000); "
            "list(Threads(8).map(images.try_to_read, [sys.argv[1]] * 8, [32] * 8))"
        )
        assert grown < 4 * 3_000 * 3_000 * 4  # far from 8 images

    def test_is_shared_by_threads(self):
        budget, inside, most = Budget(10), [], []

        def work(size):
            with budget.take(size):
                inside.append(size)
                most.append(sum(inside))
                os.sched_yield()
                inside.remove(size)

        threads = [threading.Thread(target=work, args=(size,)) for size in [4, 3, 10, 5, 1, 6] * 5]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(most) == 30
        assert max(most) <= 10

    def test_is_given_back_after_an_error(self, tmp_path, monkeypatch):
        budget = Budget(images.MOST_BYTES)
        monkeypatch.setattr(images, "DECODING", budget)
        content = content_of(Image.effect_noise((64, 64), 50), "png")
        (tmp_path / "a.png").write_bytes(content[:1_000])
        for _ in range(3):
            assert isinstance(try_to_read(tmp_path / "a.png", 32), DataError)
        assert budget._left == images.MOST_BYTES


@pytest.mark.parametrize("name", FORMATS)
def test_a_glance_tells_images_from_other_files(halves, tmp_path, name):
    halves.save(tmp_path / f"a.{name}")
    assert looks_like_an_image((tmp_path / f"a.{name}").read_bytes()[:64])
    assert not looks_like_an_image(b"hello")
    assert not looks_like_an_image(b"")


def test_a_glance_does_not_take_other_files_of_its_family_for_avif():
    assert not looks_like_an_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    assert not looks_like_an_image(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(40))
    assert looks_like_an_image(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + bytes(40))


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
        assert files.shape == (5, 48)
        assert files[[3, 1, 3]][:, 0].tolist() == [3, 1, 3]
        assert files[np.array([4])][:, 0].tolist() == [4]
        assert files[1:3][:, 0].tolist() == [1, 2]
        assert files[5:].shape == (0, 48)
        part = files.take([4, 0, 2])
        assert part[:][:, 0].tolist() == [4, 0, 2]
        assert part.shape == (3, 48)
        assert part.take(np.array([1, 2]))[[1]][:, 0].tolist() == [2]

    def test_that_are_taken_share_what_is_kept(self, paths):
        files = ImageFiles(paths, 4)
        first, second = files.take([0, 1]), files.take([1, 2])
        first[:]
        paths[1].unlink()
        assert second[:][:, 0].tolist() == [1, 2]

    @pytest.mark.parametrize("kept", [0, 2, 5])
    def test_are_read_once_as_far_as_memory_goes(self, paths, monkeypatch, kept):
        monkeypatch.setattr(images, "KEPT_BYTES", kept * 48)
        files = ImageFiles(paths, 4)
        expected = files[:]
        for path in paths[:kept]:
            path.unlink()
        np.testing.assert_array_equal(files[:], expected)
        paths[-1].unlink(missing_ok=True)
        if kept < 5:
            with pytest.raises(DataError, match="No such file"):
                files[:]

    def test_that_are_damaged_are_all_named_at_once(self, paths):
        for index in (1, 3):
            paths[index].write_text("nothing")
        with pytest.raises(DataError, match=r"2 image files(.|\n)*1\.png(.|\n)*3\.png"):
            ImageFiles(paths, 4)[[0, 1]]
        with pytest.raises(DataError, match=r"2 image files(.|\n)*1\.png(.|\n)*3\.png"):
            ImageFiles(paths, 4).take([2, 3])[:]

    def test_that_fail_only_once_are_an_error_all_the_same(self, paths, monkeypatch):
        results = iter([DataError("a moment ago")])
        monkeypatch.setattr(
            images, "try_to_read", lambda path, dim: next(results, np.zeros(48, np.uint8))
        )
        with pytest.raises(DataError, match="a moment ago"):
            ImageFiles(paths, 4)[[0]]
