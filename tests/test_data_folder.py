"""A folder of your own images as a data set."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data import DataError
from data import folder as data_folder
from tests.conftest import PROJECT


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


class TestFoldersForTheSplits:
    """train and test, and perhaps val."""

    @pytest.fixture
    def parts(self, tmp_path):
        """A folder with an image of each class for each of these splits, in shades of their own."""

        def make(*splits):
            for number, split in enumerate(splits):
                draw(tmp_path / split / "cat" / "1.png", 10 * number)
                draw(tmp_path / split / "dog" / "1.png", 10 * number + 1)
            return tmp_path

        return make

    def test_say_what_is_for_testing(self, parts):
        dataset = data.load(str(parts("train", "test")))
        assert dataset.class_names == ("cat", "dog")
        assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [0, 1]
        assert shades(dataset.train) == [0, 1]
        assert shades(dataset.test) == [10, 11]
        assert dataset.validation is None

    @pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
    def test_say_what_is_for_validation(self, parts, name, capsys):
        dataset = data.load(str(parts("train", name, "test")))
        assert shades(dataset.train) == [0, 1]
        assert shades(dataset.validation) == shades(dataset.evaluation_set) == [10, 11]
        assert shades(dataset.test) == [20, 21]
        assert dataset.evaluation_name == "validation"
        assert capsys.readouterr().err == ""

    def test_may_be_capitalized_or_end_in_ing(self, parts):
        dataset = data.load(str(parts("Training", "Testing")))
        assert dataset.class_names == ("cat", "dog")
        assert shades(dataset.test) == [10, 11]

    def test_for_validation_leave_nothing_to_hold_out(self, parts):
        dataset = data.load(str(parts("train", "val", "test")))
        with pytest.raises(DataError, match=r"^1: the data set has 2 validation images") as error:
            data.hold_out(dataset, 1)
        assert error.value.argument == "held_out"

    def test_may_hold_a_copy_in_one_split_only(self, parts, capsys):
        folder = parts("train", "val", "test")
        shutil.copy(folder / "test/cat/1.png", folder / "val/cat/2.png")
        shutil.copy(folder / "test/cat/1.png", folder / "train/cat/2.png")
        shutil.copy(folder / "val/dog/1.png", folder / "train/dog/2.png")
        dataset = data.load(str(folder))
        assert [len(s.labels) for s in (dataset.train, dataset.validation, dataset.test)] == [2] * 3
        err = capsys.readouterr().err
        for path in ("val/cat/2.png", "train/cat/2.png", "train/dog/2.png"):
            assert path in err

    def test_what_lies_beside_or_in_them_is_named(self, parts, capsys):
        folder = parts("train", "test")
        draw(folder / "loose.png", 100)
        draw(folder / "more" / "cat" / "1.png", 101)
        draw(folder / "test" / "unsorted.png", 102)
        assert len(data.load(str(folder)).test.labels) == 2
        (line,) = capsys.readouterr().err.splitlines()
        for path in ("loose.png", "more", "test/unsorted.png"):
            assert f"{folder / path}" in line
        assert "outside the class folders" in line

    def test_classes_may_be_called_valid_and_invalid(self, tmp_path):
        for shade, name in enumerate(("valid", "invalid")):
            for index in range(2):
                draw(tmp_path / name / f"{index}.png", 10 * shade + index)
        assert data.load(str(tmp_path)).class_names == ("invalid", "valid")


class TestFoldersWithinAClass:
    def test_are_read_at_any_depth(self, folder, capsys):
        draw(folder / "cat" / "tabby" / "young" / "1.png", 101)
        draw(folder / "cat" / "tabby" / "2.png", 102)
        draw(folder / "dog" / "photos 2024" / "3.png", 103)
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 18
        assert dataset.class_names == ("cat", "dog")
        assert capsys.readouterr().err == ""

    def test_are_read_in_the_same_order_each_time(self, folder):
        for index in range(20):
            draw(folder / "cat" / f"{index}" / "a.png", 100 + index)
        first, second = (data.load(str(folder)).train.records[:] for _ in range(2))
        np.testing.assert_array_equal(first, second)

    @pytest.mark.parametrize("target", [".", "..", "../..", "../dog"])
    def test_are_not_followed_through_links(self, folder, capsys, target):
        (folder / "cat" / "link").symlink_to(target)
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        assert "links to folders within class folders: " in (err := capsys.readouterr().err)
        assert "cat/link" in err


class TestLinks:
    def test_to_images_and_class_folders_elsewhere_are_followed(self, folder, tmp_path):
        shutil.move(folder / "dog", tmp_path / "elsewhere")
        (folder / "dog").symlink_to(tmp_path / "elsewhere")
        draw(tmp_path / "x.png", 99)
        (folder / "cat" / "x.png").symlink_to(tmp_path / "x.png")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 16

    @pytest.mark.parametrize("target", [".", "..", "../pets"])
    def test_to_the_folder_itself_are_not_a_class(self, folder, capsys, target):
        (folder / "self").symlink_to(target)
        dataset = data.load(str(folder))
        assert dataset.class_names == ("cat", "dog")
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        assert "links to folders that contain them: " in capsys.readouterr().err

    def test_to_themselves_or_to_nothing_are_left_out(self, folder, capsys):
        for path in (folder / "loop", folder / "cat" / "loop.png"):
            path.symlink_to(path.name)
        (folder / "a").symlink_to("b")
        (folder / "b").symlink_to("a")
        (folder / "dog" / "gone.png").symlink_to("nothing.png")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        err = capsys.readouterr().err
        for name in ("a", "b", "loop", "cat/loop.png", "dog/gone.png"):
            assert f"{folder / name}" in err


class TestClutter:
    @pytest.mark.parametrize(
        "path",
        [
            *("__MACOSX/cat/._1.png", "@eaDir/cat.png", "$RECYCLE.BIN/1.png", "lost+found/a"),
            *("cat/Thumbs.db", "cat/desktop.ini", "cat/.DS_Store", "cat/._1.png", "Icon\r"),
            *("cat/.ipynb_checkpoints/1.png", "dog/__macosx/1.png", ".git/config", "Thumbs.db"),
        ],
    )
    def test_of_operating_systems_is_ignored_without_a_word(self, folder, capsys, path):
        draw(folder / "x.png", 99)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "x.png").rename(folder / path)
        dataset = data.load(str(folder))
        assert dataset.class_names == ("cat", "dog")
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        assert capsys.readouterr().err == ""


def break_image(path: Path):
    """Cuts off the second half of an image that is too large for its digest to show it."""
    noise = np.random.default_rng(0).integers(0, 256, [64, 64, 3], np.uint8)
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(noise).save(path)
    os.truncate(path, path.stat().st_size // 2)


def error_when_read(records) -> str | None:
    """What is wrong with a split's records."""
    try:
        records[:]
    except DataError as error:
        return str(error)


class TestDamagedImages:
    @pytest.fixture
    def damaged(self, tmp_path):
        """A folder with a damaged image in each split."""
        for number, split in enumerate(("train", "val", "test")):
            for index in range(3):
                draw(tmp_path / split / "cat" / f"{index}.png", 50 * number + index)
                draw(tmp_path / split / "dog" / f"{index}.png", 50 * number + index + 10)
            break_image(tmp_path / split / "dog" / f"broken{number}.png")
            with open(tmp_path / split / "dog" / f"broken{number}.png", "ab") as file:
                file.write(bytes([number]))  # not copies of each other
        return tmp_path

    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    def test_of_all_splits_are_named_when_one_is_read(self, damaged, split):
        dataset = data.load(str(damaged))
        with pytest.raises(DataError, match="3 image files cannot be used") as error:
            getattr(dataset, split).records[:]
        for path in ("train/dog/broken0", "val/dog/broken1", "test/dog/broken2"):
            assert path in str(error.value)

    def test_are_named_whatever_was_held_out(self, folder):
        for index in range(3):
            break_image(folder / "cat" / f"broken{index}.png")
            os.truncate(folder / "cat" / f"broken{index}.png", 5_000 + index)
        dataset = data.hold_out(data.load(str(folder)), 4)
        parts = [dataset.train.records, dataset.validation.records, dataset.test.records]
        errors = [error for part in parts if (error := error_when_read(part))]
        assert errors
        assert all("3 image files cannot be used" in error for error in errors)

    def test_can_be_skipped_and_are_named(self, damaged, capsys):
        dataset = data.load(str(damaged), skip_damaged=True)
        for split in (dataset.train, dataset.validation, dataset.test):
            assert split.labels.tolist() == [0, 0, 0, 1, 1, 1]
            assert split.records[:].shape == (6, 3_072)
        (line,) = capsys.readouterr().err.splitlines()
        assert "3 left out, damaged: " in line
        assert all(f"broken{number}.png" in line for number in range(3))

    def test_that_are_skipped_leave_the_others_in_their_splits(self, folder):
        before = data.load(str(folder))
        break_image(folder / "cat" / "broken.png")
        after = data.load(str(folder), skip_damaged=True)
        assert shades(after.train) == shades(before.train)
        assert shades(after.test) == shades(before.test)

    def test_are_not_enough_for_a_class(self, folder):
        for index in range(3):
            break_image(folder / "bird" / f"{index}.png")
            os.truncate(folder / "bird" / f"{index}.png", 5_000 + index)
        with pytest.raises(DataError, match="the class 'bird' has no image in the train split"):
            data.load(str(folder), skip_damaged=True)


class TestLeavesOut:
    def test_what_is_not_an_image_and_says_so(self, folder, capsys):
        (folder / "cat" / "notes.txt").write_text("hello")
        (folder / "cat" / "empty.jpg").touch()
        (folder / "cat" / ".hidden").write_text("hello")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "not readable as JPEG, PNG" in err
        assert "cat/empty.jpg, " in err
        assert "cat/notes.txt\n" in err
        assert "hidden" not in err

    def test_copies_and_says_so(self, folder, capsys):
        shutil.copy(folder / "cat" / "0.png", folder / "cat" / "z.png")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        assert "copies of other images: " in (err := capsys.readouterr().err)
        assert "cat/z.png" in err

    def test_the_same_image_in_two_classes_and_says_so(self, folder, capsys):
        shutil.copy(folder / "cat" / "0.png", folder / "dog" / "z.png")
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 14
        err = capsys.readouterr().err
        assert "the same image in several classes" in err
        assert "cat/0.png" in err
        assert "dog/z.png" in err

    def test_loose_images_and_says_so(self, folder, capsys):
        draw(folder / "loose.png", 1)
        (folder / "labels.csv").touch()
        dataset = data.load(str(folder))
        assert len(dataset.train.labels) + len(dataset.test.labels) == 15
        pattern = r"outside the class folders: \S+labels\.csv, \S+loose\.png\n"
        assert re.search(pattern, capsys.readouterr().err)

    def test_pipes_without_waiting_for_them(self, folder, capsys):
        os.mkfifo(folder / "cat" / "pipe.jpg")
        data.load(str(folder))
        assert "cat/pipe.jpg" in capsys.readouterr().err

    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/random", "/dev/stdin", "/dev/tty"])
    def test_devices_without_reading_them(self, folder, capsys, device):
        (folder / "cat" / "device.jpg").symlink_to(device)
        data.load(str(folder))
        assert "cat/device.jpg" in capsys.readouterr().err

    def test_sockets(self, folder, capsys):
        with contextlib.chdir(folder / "cat"), socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.jpg")
        data.load(str(folder))
        assert "cat/socket.jpg" in capsys.readouterr().err

    def test_under_names_that_are_printed_as_one_harmless_line(self, folder, capsys):
        for name in (
            "a\nerror: forged.txt",
            "b\x1b[2J.txt",
            "c\r.txt",
            "d\u202egpj.txt",
            "e\udcff",
        ):
            (folder / "cat" / name).write_text("hello")
        data.load(str(folder))
        (line,) = capsys.readouterr().err.splitlines()
        assert line.isprintable()
        assert r"a\nerror: forged.txt" in line
        assert r"e\udcff" in line

    def test_even_if_an_error_follows(self, folder, capsys):
        for path in (folder / "dog").iterdir():
            path.write_text("hello")
        with pytest.raises(DataError, match="the class 'dog' has no image"):
            data.load(str(folder))
        assert "dog/0.png" in capsys.readouterr().err

    def test_names_only_the_first_few_and_says_how_to_list_all(self, folder, capsys):
        for index in range(20):
            (folder / "cat" / f"{index}.txt").write_text("hello")
        data.load(str(folder))
        err = capsys.readouterr().err
        assert f"and 15 more (python -m data.folder {folder} lists all)\n" in err


class TestTheList:
    """`python -m data.folder`"""

    def test_has_a_line_for_everything_that_is_left_out(self, folder, capsys):
        for index in range(20):
            (folder / "cat" / f"{index}.txt").write_text("hello")
        break_image(folder / "dog" / "broken.png")
        draw(folder / "loose\n.png", 99)
        assert data_folder.main([str(folder)]) == 0
        out = capsys.readouterr().out.splitlines()
        assert sum(": not readable as JPEG" in line for line in out) == 20
        assert f"{folder}/dog/broken.png: damaged" in out
        assert rf"{folder}/loose\n.png: outside the class folders" in out
        assert len(out) == 22

    def test_comes_before_the_error_if_there_is_one(self, folder, capsys):
        shutil.rmtree(folder / "dog")
        (folder / "loose.txt").touch()
        assert data_folder.main([str(folder)]) == 2
        printed = capsys.readouterr()
        assert printed.out == f"{folder}/loose.txt: outside the class folders\n"
        assert "holds 1 class folder;" in printed.err

    def test_is_a_command(self, folder):
        command = [sys.executable, "-m", "data.folder"]
        process = subprocess.run([*command, folder], cwd=PROJECT, capture_output=True, text=True)
        assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
        process = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        assert (process.returncode, process.stdout) == (2, "")
        assert process.stderr == "usage: python -m data.folder FOLDER\n"


class TestUnbalancedClasses:
    def dataset(self, *counts):
        labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
        split = data.Split(np.zeros([len(labels), 3_072], np.uint8), labels)
        names = ("ant", "bee\n", "cat")[: len(counts)]
        return data.Dataset(split, split, names, 32, 24, True)

    def test_get_the_same_say_by_weights(self):
        weights = data.class_weights(self.dataset(10, 100, 40))
        assert weights.dtype == np.float32
        np.testing.assert_allclose(weights * [10, 100, 40], [50, 50, 50], rtol=1e-6)

    def test_weigh_1_if_they_are_balanced(self):
        np.testing.assert_array_equal(data.class_weights(self.dataset(7, 7)), [1, 1])

    def test_without_images_weigh_nothing(self):
        np.testing.assert_allclose(data.class_weights(self.dataset(5, 0, 15)), [2, 0, 2 / 3])

    def test_are_described_from_more_than_10_to_1(self):
        assert data.describe_imbalance(self.dataset(10, 100, 40)) is None
        assert data.describe_imbalance(self.dataset(40, 4_004, 400)) == (
            r"the classes are unbalanced: 4,004 training images of bee\n, but 40 of ant; weighting "
            "the classes may help"
        )


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
        assert str(caught.value).isprintable()
        return caught.value

    def test_when_it_is_not_there(self, tmp_path):
        error = self.error_of(tmp_path / "nothing")
        assert "nothing: is neither a folder nor one of the data sets cifar10, digits" in str(error)
        assert error.argument == "name"

    def test_when_it_is_a_file(self, tmp_path):
        (tmp_path / "a.jpg").touch()
        assert "is neither a folder nor" in str(self.error_of(tmp_path / "a.jpg"))

    def test_when_it_is_a_link_to_itself(self, tmp_path):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        error = self.error_of(data.full_name(tmp_path / "loop"))
        assert "is neither a folder nor" in str(error)

    def test_when_its_name_is_not_in_utf8(self, folder):
        odd = folder.with_name("p\udcff")
        folder.rename(odd)
        assert r"p\udcff: it, or a folder in it, has a name that is not" in str(self.error_of(odd))

    def test_when_a_class_has_a_name_that_is_not_in_utf8(self, folder):
        (folder / "b\udce9").mkdir()
        assert "has a name that is not in UTF-8" in str(self.error_of(folder))

    def test_with_a_harmless_line_whatever_its_name(self, tmp_path):
        assert r"a\n\x1b[31m: is neither" in str(self.error_of(tmp_path / "a\n\x1b[31m"))
        (tmp_path / "c" / "x\ny").mkdir(parents=True)
        draw(tmp_path / "c" / "z" / "1.png", 1)
        assert r"the class 'x\ny' has no image" in str(self.error_of(tmp_path / "c"))

    def test_without_a_folder_for_testing_but_with_advice(self, folder):
        draw(folder / "train" / "cat" / "1.png", 1)
        error = self.error_of(folder)
        assert "holds a folder 'train' but none called 'test'" in str(error)
        assert error.instead == {"name": str(folder / "train")}

    def test_without_a_folder_for_training(self, folder):
        draw(folder / "test" / "cat" / "1.png", 1)
        assert "holds a folder 'test' but none called 'train'" in str(self.error_of(folder))

    def test_with_two_folders_for_a_split(self, tmp_path):
        for path in ("train/cat", "train/dog", "test/cat", "test/dog", "val/cat", "valid/cat"):
            (tmp_path / path).mkdir(parents=True)
        error = self.error_of(tmp_path)
        assert "holds the folders val and valid, which both mean the validation split" in str(error)

    def test_without_classes(self, tmp_path):
        draw(tmp_path / "1.png", 1)
        assert "holds no class folders; at least 2" in str(self.error_of(tmp_path))

    def test_with_one_class(self, tmp_path):
        draw(tmp_path / "cat" / "1.png", 1)
        error = self.error_of(tmp_path)
        assert "holds 1 class folder; at least 2" in str(error)
        assert error.instead is None

    def test_when_the_classes_are_a_folder_deeper_but_with_advice(self, folder):
        error = self.error_of(folder.parent)
        assert "holds 1 class folder; at least 2" in str(error)
        assert error.instead == {"name": str(folder)}

    def test_with_an_empty_class(self, folder):
        (folder / "bird").mkdir()
        message = "the class 'bird' has no image in the train split"
        assert message in str(self.error_of(folder))

    def test_with_too_few_images_to_keep_one_for_testing(self, folder):
        draw(folder / "bird" / "1.png", 77)
        message = "the class 'bird' has no image in the train split"
        assert message in str(self.error_of(folder))

    def test_with_a_class_that_is_not_tested(self, tmp_path):
        for shade, path in enumerate(("train/cat", "train/dog", "test/cat")):
            draw(tmp_path / path / "1.png", shade)
        message = "the class 'dog' has no image in the test split"
        assert message in str(self.error_of(tmp_path))

    def test_with_a_data_dir(self, folder):
        with pytest.raises(DataError, match=r"^elsewhere: does not go with a folder") as error:
            data.load(str(folder), Path("elsewhere"))
        assert error.value.argument == "data_dir"


def test_names_are_read_as_utf8_whatever_the_locale(tmp_path):
    """Under LC_ALL=C, Python takes other letters of file names for bytes that are not text."""
    names = ("Zo\xeb", "\u732b")
    for shade, name in enumerate(names):
        for index in range(2):
            draw(tmp_path / name / f"{index}.png", 10 * shade + index)
    code = "import sys, data; print(ascii(data.load(sys.argv[1]).class_names))"
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=PROJECT,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
    )
    assert process.stdout == ascii(names) + "\n", process.stderr


def test_other_data_sets_cannot_be_resized():
    with pytest.raises(DataError, match=r"^64: the images of digits have 32 x 32") as error:
        data.load("digits", original_dim=64)
    assert error.value.argument == "original_dim"


def test_images_can_be_held_out(folder):
    divided = data.hold_out(data.load(str(folder)), 3)
    assert len(divided.train.labels) == 9
    assert divided.validation.records[:].shape == (3, 3_072)
    assert not set(shades(divided.train)) & set(shades(divided.validation))
