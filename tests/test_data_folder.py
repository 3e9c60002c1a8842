"""A folder of one's own images as a data set."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data import DataError


def draw(path: Path, shade: int, size=(12, 10)):
    """A gray image; another shade is another image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Ten dark images of cats, and five light ones of dogs, in several formats and sizes."""
    folder = tmp_path / "pets"
    for index in range(10):
        name = f"{index}.{('png', 'jpg', 'bmp')[index % 3]}"
        draw(folder / "cat" / name, 10 * index, size=(12 + index, 10))
    for index in range(5):
        draw(folder / "dog" / f"{index}.png", 200 + 10 * index)
    return folder


def test_is_a_data_set_of_its_class_folders(folder):
    dataset = data.load(str(folder))
    assert dataset.class_names == ("cat", "dog")
    assert (dataset.original_dim, dataset.resize_dim) == (32, 24)
    counts = [np.bincount(split.labels) for split in (dataset.train, dataset.test)]
    assert sum(counts).tolist() == [10, 5]
    assert np.min(counts) >= 1
    for split in (dataset.train, dataset.test):
        assert split.labels.dtype == np.int32
        records = split.records[:]
        assert records.shape == (len(split.labels), 3_072)
        assert ((records.mean(axis=1) > 150) == (split.labels == 1)).all()


def test_is_resized_as_asked(folder):
    dataset = data.load(str(folder), original_dim=64)
    assert (dataset.original_dim, dataset.resize_dim) == (64, 48)
    assert dataset.train.records[:1].shape == (1, 3 * 64 * 64)


def shades(split):
    return sorted(split.records[:][:, 0].tolist())


def test_is_divided_by_what_is_in_the_files_not_by_their_names(folder):
    before = shades(data.load(str(folder)).test)
    for index, path in enumerate(sorted((folder / "cat").iterdir())):
        path.rename(path.with_name(f"x{9 - index}{path.suffix}"))
    shutil.move(folder, folder.with_name("elsewhere"))
    assert shades(data.load(str(folder.with_name("elsewhere"))).test) == before


def test_no_image_changes_sides_when_others_come_or_go(folder):
    for index in range(10, 40):
        draw(folder / "cat" / f"{index}.png", 5 * index, size=(index, 7))
    before = data.load(str(folder))
    for index in range(40, 60):
        draw(folder / "cat" / f"{index}.png", index, size=(index, 9))
    after = data.load(str(folder))
    assert len(after.train.labels) + len(after.test.labels) == 65
    assert {*shades(before.test)} <= {*shades(after.test)}
    for index in range(40, 60):
        (folder / "cat" / f"{index}.png").unlink()
    again = data.load(str(folder))
    assert shades(again.test) == shades(before.test)


def test_about_a_fifth_is_for_testing(tmp_path):
    for index in range(400):
        draw(tmp_path / "ab"[index % 2] / f"{index}.png", index % 256, size=(4 + index // 256, 4))
    test = data.load(str(tmp_path)).test
    assert 0.14 < len(test.labels) / 400 < 0.26
    assert np.bincount(test.labels).min() > 20


def test_may_say_itself_what_is_for_testing(tmp_path):
    for name in ("cat", "dog"):
        draw(tmp_path / "train" / name / "1.png", 10 + len(name) + ord(name[0]))
        draw(tmp_path / "test" / name / "1.png", 20 + len(name) + ord(name[0]))
    dataset = data.load(str(tmp_path))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [0, 1]
    assert shades(dataset.train) == [112, 113]
    assert shades(dataset.test) == [122, 123]


class TestLeavesOut:
    def test_what_is_no_image_and_says_so(self, folder, capsys):
        (folder / "cat" / "notes.txt").write_text("hello")
        (folder / "cat" / "empty.jpg").touch()
        (folder / "cat" / ".hidden").write_text("hello")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "no readable JPEG, PNG" in err
        assert "cat/empty.jpg, " in err
        assert "cat/notes.txt\n" in err
        assert "hidden" not in err

    def test_copies_and_says_so(self, folder, capsys):
        shutil.copy(folder / "cat" / "0.png", folder / "cat" / "z.png")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        assert "copies of other images: " in (err := capsys.readouterr().err)
        assert "cat/z.png" in err

    def test_the_same_image_under_two_classes_and_says_so(self, folder, capsys):
        shutil.copy(folder / "cat" / "0.png", folder / "dog" / "z.png")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 14
        err = capsys.readouterr().err
        assert "the same image under several classes" in err
        assert "cat/0.png" in err
        assert "dog/z.png" in err

    def test_from_training_what_is_for_testing(self, tmp_path, capsys):
        for part in ("train", "test"):
            for shade, name in ((10, "cat"), (200, "dog")):
                draw(tmp_path / part / name / "1.png", shade + len(part))
        shutil.copy(tmp_path / "test" / "cat" / "1.png", tmp_path / "train" / "cat" / "2.png")
        dataset = data.load(str(tmp_path))
        assert len(dataset.train.labels) == len(dataset.test.labels) == 2
        assert "train/cat/2.png" in capsys.readouterr().err

    def test_what_lies_outside_or_too_deep_and_says_so(self, folder, capsys):
        draw(folder / "loose.png", 1)
        draw(folder / "cat" / "deep" / "1.png", 2)
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        err = capsys.readouterr().err
        assert re.search(r"outside of the class folders: \S+loose\.png\n", err)
        assert re.search(r"folders within class folders: \S+cat/deep\n", err)

    def test_pipes_without_waiting_for_them(self, folder, capsys):
        os.mkfifo(folder / "cat" / "pipe.jpg")
        data.load(str(folder))
        assert "cat/pipe.jpg" in capsys.readouterr().err

    def test_names_only_the_first_few(self, folder, capsys):
        for index in range(20):
            (folder / "cat" / f"{index}.txt").write_text("hello")
        data.load(str(folder))
        assert "and 15 more\n" in capsys.readouterr().err


def test_files_of_the_same_size_and_ends_are_not_taken_for_copies(folder, capsys):
    for index in (1, 2):
        image = Image.new("RGB", (200, 100), "white")
        image.putpixel((100, 50), (index, 0, 0))
        image.save(folder / "cat" / f"large{index}.bmp")
    dataset = data.load(str(folder))
    assert len(dataset.train.labels) + len(dataset.test.labels) == 17
    assert capsys.readouterr().err == ""


class TestIsRefused:
    def error_of(self, folder):
        with pytest.raises(DataError) as caught:
            data.load(str(folder))
        return str(caught.value)

    def test_when_it_is_not_there(self, tmp_path):
        message = self.error_of(tmp_path / "nothing")
        assert "nothing: is no folder, and none of the data sets cifar10, digits" in message

    def test_when_it_is_a_file(self, tmp_path):
        (tmp_path / "a.jpg").touch()
        assert "is no folder, and none of" in self.error_of(tmp_path / "a.jpg")

    def test_when_it_is_a_link_to_itself(self, tmp_path):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        assert "is no folder, and none of" in self.error_of(data.full_name(tmp_path / "loop"))

    def test_when_its_name_is_not_in_utf8(self, folder):
        odd = folder.with_name("p\udcff")
        folder.rename(odd)
        assert "is not in UTF-8" in self.error_of(odd)

    def test_with_one_of_train_and_test(self, folder):
        draw(folder / "train" / "cat" / "1.png", 1)
        assert "holds a folder 'train' but none called 'test'" in self.error_of(folder)

    def test_with_one_class(self, tmp_path):
        draw(tmp_path / "cat" / "1.png", 1)
        assert "holds 1 class folders, where at least 2" in self.error_of(tmp_path)

    def test_with_an_empty_class(self, folder):
        (folder / "bird").mkdir()
        assert "there is no image of the class 'bird' to train on" in self.error_of(folder)

    def test_with_too_few_images_to_keep_one_for_testing(self, folder):
        draw(folder / "bird" / "1.png", 77)
        assert "there is no image of the class 'bird' to train on" in self.error_of(folder)

    def test_with_a_class_that_is_not_tested(self, tmp_path):
        for shade, path in enumerate(("train/cat", "train/dog", "test/cat")):
            draw(tmp_path / path / "1.png", shade)
        assert "there is no image of the class 'dog' to test on" in self.error_of(tmp_path)


def test_other_data_sets_cannot_be_resized():
    with pytest.raises(DataError, match="--original_dim 64: the images of digits have 32 x 32"):
        data.load("digits", original_dim=64)


def test_images_can_be_held_out(folder):
    divided = data.hold_out(data.load(str(folder)), 3)
    assert len(divided.train.labels) == 9
    assert divided.validation.records[:].shape == (3, 3_072)
    assert not set(shades(divided.train)) & set(shades(divided.validation))
