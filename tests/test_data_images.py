"""Image files of every kind become records; what is no image is named."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from data import DataError, images
from data.images import ImageFiles, looks_like_an_image, read_image, try_to_read

RED, BLUE = (255, 0, 0), (0, 0, 255)
LOSSY = 12  # by how much a JPEG's values may be off


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
    @pytest.mark.parametrize("name", ["jpg", "jpeg", "png", "gif", "bmp", "webp"])
    def test_in_color(self, halves, tmp_path, name):
        if name == "webp" and not features.check("webp"):
            pytest.skip("this Pillow has no WebP")
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

    def test_transparent_pixels_are_white(self, tmp_path):
        for name, image in {
            "rgba.png": Image.new("RGBA", (8, 8), (*RED, 0)),
            "la.png": Image.new("LA", (8, 8), (0, 0)),
        }.items():
            image.save(tmp_path / name)
            assert (pixels(tmp_path / name, 8) == 255).all(), name

    def test_a_transparent_palette(self, tmp_path):
        image = Image.new("P", (8, 8), 0)
        image.putpalette([*RED, *BLUE])
        image.save(tmp_path / "p.png", transparency=0)
        assert (pixels(tmp_path / "p.png", 8) == 255).all()

    def test_of_an_animation_the_first_frame(self, tmp_path):
        first, second = (Image.new("RGB", (8, 8), color) for color in (RED, BLUE))
        first.save(tmp_path / "two.gif", save_all=True, append_images=[second])
        assert (pixels(tmp_path / "two.gif", 8) == RED).all()


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
    def test_a_photograph_stands_upright(self, halves, tmp_path, orientation):
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
        stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
        assert_red_over_blue(pixels(tmp_path / "a.jpg", 32))

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


class TestWhatIsNoImage:
    def error_of(self, path):
        with pytest.raises(DataError) as caught:
            read_image(path, 32)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message

    def test_is_named(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_text("not an image")
        assert "is no image in one of the formats JPEG, PNG" in self.error_of(path)

    def test_is_missing(self, tmp_path):
        assert "No such file" in self.error_of(tmp_path / "a.jpg")

    def test_is_a_folder(self, tmp_path):
        assert "it is no file" in self.error_of(tmp_path)

    def test_is_empty(self, tmp_path):
        (tmp_path / "a.png").touch()
        assert "is no image" in self.error_of(tmp_path / "a.png")

    @pytest.mark.parametrize("name", ["jpg", "png", "gif", "bmp", "webp"])
    def test_is_cut_off(self, tmp_path, name):
        whole = tmp_path / f"whole.{name}"
        noise = np.random.default_rng(0).integers(0, 256, [64, 64, 3], np.uint8)
        Image.fromarray(noise).save(whole)
        part = tmp_path / f"part.{name}"
        part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        self.error_of(part)

    def test_is_a_decompression_bomb(self, tmp_path, monkeypatch):
        monkeypatch.setattr(images, "MOST_PIXELS", 100)
        Image.new("1", (101, 1)).save(tmp_path / "bomb.png")
        assert "more than 100 pixels" in self.error_of(tmp_path / "bomb.png")

    def test_is_a_real_decompression_bomb(self, tmp_path):
        header = struct.pack(">2I5B", 100_000, 100_000, 8, 2, 0, 0, 0)
        png = png_of_16_bits([0, 0, 0])
        crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
        (tmp_path / "bomb.png").write_bytes(png[:16] + header + crc + png[33:])
        assert "pixels, which may be an attack" in self.error_of(tmp_path / "bomb.png")

    def test_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert "it is no file" in self.error_of(tmp_path / "pipe.jpg")

    @given(position=st.integers(0, 400), value=st.integers(0, 255))
    def test_is_damaged_anywhere(self, tmp_path_factory, position, value):
        folder = tmp_path_factory.getbasetemp()
        for name in ("jpg", "png", "gif", "bmp", "webp"):
            path = folder / f"damaged.{name}"
            if not path.exists():
                exif = Image.Exif()
                exif.update({0x0112: 6, 0x010E: "title", 0x011A: 72.0})
                image = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
                image.save(path, **({} if name in ("gif", "bmp") else {"exif": exif}))
            content = bytearray(path.read_bytes())
            content[position % len(content)] = value
            broken = folder / f"broken.{name}"
            broken.write_bytes(content)
            got = try_to_read(broken, 8)
            if isinstance(got, DataError):
                assert str(got).startswith(f"{broken}: ")
            else:
                assert got.shape == (192,)


@pytest.mark.parametrize("name", ["jpg", "png", "gif", "bmp", "webp"])
def test_a_glance_tells_images_from_other_files(halves, tmp_path, name):
    halves.save(tmp_path / f"a.{name}")
    assert looks_like_an_image((tmp_path / f"a.{name}").read_bytes()[:64])
    assert not looks_like_an_image(b"hello")
    assert not looks_like_an_image(b"")


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
        assert files.take([4, 0])[:][:, 0].tolist() == [4, 0]

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
