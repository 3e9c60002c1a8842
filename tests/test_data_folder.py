"""A folder of your own images as a data set."""

import os
import re
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from base import UserError
from base.files import MARKER
from data import folder as data_folder
from data.folder import File


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


def count(dataset):
    """The images in all splits."""
    return len(dataset.train.labels) + len(dataset.test.labels)


def shades(split):
    return sorted(split.records[:][:, 0].tolist())


def test_is_a_data_set_of_its_class_folders(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    dataset = data.load("pets")
    assert dataset.name == str(folder)
    assert dataset.class_names == ("cat", "dog")
    assert (dataset.original_dim, dataset.resize_dim) == (32, 24)
    assert dataset.mirrored
    counts = [np.bincount(split.labels) for split in (dataset.train, dataset.test)]
    assert sum(counts).tolist() == [10, 5]
    for split in (dataset.train, dataset.test):
        assert split.labels.dtype == np.int32
        records = split.records[:]
        assert records.shape == (len(split.labels), 3_072)
        assert ((records.mean(axis=1) > 150) == (split.labels == 1)).all()
    assert capsys.readouterr().err == ""


def test_is_resized_as_asked_and_can_be_held_out(folder):
    divided = data.hold_out(data.load(str(folder), dims=(64, 40)), 3)
    assert (divided.original_dim, divided.resize_dim) == (64, 40)
    assert len(divided.train.labels) == 9
    assert divided.validation.records[:].shape == (3, 3 * 64 * 64)
    assert not set(shades(divided.train)) & set(shades(divided.validation))


class TestDivision:
    def test_is_that_of_earlier_versions(self, tmp_path):
        """Or a resumed run would be tested on images it was trained on."""
        digests = {
            0: "959e0f81d0630297d2cdaa11ea8405a2",
            100: "c93a07b92ab22b6f1b366bdfd2741f24",
            16_384: "1a77783991a333f11a7a558c9c68d857",
            20_000: "17f4efe22d0bfe0a3555936814f87148",
            40_000: "b76ba4551f71d11dd87308940aca53ad",
        }
        for size, expected in digests.items():
            (tmp_path / "a").write_bytes(bytes(index % 251 for index in range(size)))
            assert data_folder.digest(tmp_path / "a").hex() == expected
        first_bytes = [0, 37, 74, 111, 148, 185, 222, 3, 40, 77, 114, 151, 188, 225, 6]
        files = {
            File(Path(str(index)), index // 6, "all"): bytes([first]) + bytes(15)
            for index, first in enumerate(first_bytes)
        }
        divided = data_folder.divide(files)
        test = [int(file.path.name) for file in files if divided[file] == "test"]
        assert test == [0, 1, 7, 8, 14]
        fewer = data_folder.divide(dict([*files.items()][:10]))
        assert fewer.items() <= divided.items()  # no image moves when others come

    def test_depends_on_what_is_in_the_files_not_on_their_names(self, folder):
        before = shades(data.load(str(folder)).test)
        for index, path in enumerate(sorted((folder / "cat").iterdir())):
            path.rename(path.with_name(f"x{9 - index}{path.suffix}"))
        folder.rename(folder.with_name("elsewhere"))
        assert shades(data.load(str(folder.with_name("elsewhere"))).test) == before


def test_is_recognized_by_its_images_wherever_it_lies(folder):
    before = data.load(str(folder)).digest
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    assert data.load(str(elsewhere)).digest == before
    next((elsewhere / "cat").iterdir()).unlink()
    assert data.load(str(elsewhere)).digest != before


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

    @pytest.mark.parametrize(
        "names",
        [
            *("train test", "Training Testing", "train val test", "train Valid test"),
            *("seg_train seg_test", "train2017 val2017 test2017", "myTrainSet myTestset"),
            *("train images/Train test-images/test", "training_set val test1"),
        ],
    )
    def test_say_what_is_for_testing_and_validation(self, parts, capsys, names):
        train, *validation, test = re.split(" (?=[^i])", names)
        dataset = data.load(str(parts(train, test, *validation)))
        assert dataset.class_names == ("cat", "dog")
        assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [0, 1]
        assert shades(dataset.train) == [0, 1]
        assert shades(dataset.test) == [10, 11]
        assert shades(dataset.evaluation_set) == ([20, 21] if validation else [10, 11])
        assert (dataset.validation is not None) == bool(validation)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("left_out", [[], ["test/1.png"], ["pred/pred/1.png"]])
    def test_without_classes_to_test_on_may_have_val_instead(self, parts, capsys, left_out):
        folder = parts("train", "val")
        for path in left_out:
            draw(folder / path, 100)
        dataset = data.load(str(folder))
        assert (shades(dataset.test), dataset.validation) == ([10, 11], None)
        first, *others = capsys.readouterr().err.splitlines()
        assert first == f"{folder}/val: is used for the test, as no test folder has classes"
        assert [line.rpartition("/")[2] for line in others] == [path[:4] for path in left_out]

    @pytest.mark.parametrize(
        "names", ["invalid valid", "bus train", "bullet_train steam_train", "bus test_tube trainee"]
    )
    def test_may_as_well_be_classes(self, tmp_path, names):
        for number, name in enumerate(names.split()):
            for index in range(2):
                draw(tmp_path / name / f"{index}.png", 10 * number + index)
        assert " ".join(data.load(str(tmp_path)).class_names) == names

    @pytest.mark.parametrize(
        "paths", ["train/cat bus", "test/cat", "train test bus", "train valid bus", "train train2"]
    )
    def test_that_may_as_well_be_classes_are_asked_about(self, tmp_path, paths):
        for number, path in enumerate(paths.split()):
            draw(tmp_path / path / "1.png", number)
        name = paths[:5].strip("/")
        with pytest.raises(
            UserError, match=f"'{name}' in it may be a split or a class; if .* give"
        ):
            data.load(str(tmp_path))

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
        assert count(data.load(str(folder))) == 4
        (line,) = capsys.readouterr().err.splitlines()
        for path in ("loose.png", "more", "test/unsorted.png"):
            assert f"{folder / path}" in line
        assert "outside the class folders" in line


class TestClassFolders:
    def test_are_read_at_any_depth_in_an_order_that_never_changes(self, folder, capsys):
        names = ("b/a/1", "b/a/2", "b/3", "a/4", "c 2024/5")
        for index, name in enumerate(names):
            draw(folder / "cat" / f"{name}.png", 100 + index)
        found = data_folder.find_files(folder / "cat", defaultdict(list))
        paths = [path.stem for path in found]
        assert paths == [*map(str, range(10)), "5", "3", "1", "2", "4"]
        assert count(data.load(str(folder))) == 20
        assert capsys.readouterr().err == ""

    def test_are_the_same_however_their_names_are_written(self, tmp_path):
        for number, path in enumerate(
            ("train/caf\xe9", "train/tea ", "test/cafe\u0301", "test/tea")
        ):
            draw(tmp_path / path / "1.png", number)
        assert data.load(str(tmp_path)).class_names == ("caf\xe9", "tea ")
        draw(tmp_path / "test/tea /1.png", 9)
        with pytest.raises(UserError, match=r"test: holds two folders called 'tea ?', of"):
            data.load(str(tmp_path))

    def test_are_not_what_this_project_has_written(self, folder, capsys):
        for path in ("runs/pets/1.png", "cat/heatmaps/1.png"):
            draw(folder / path, 99)
            (folder / path).with_name(MARKER).touch()
        (folder / "runs" / MARKER).touch()
        assert (count(data.load(str(folder))), capsys.readouterr().err) == (15, "")

    def test_and_images_may_be_links_to_elsewhere(self, folder, tmp_path):
        (folder / "dog").rename(tmp_path / "elsewhere")
        (folder / "dog").symlink_to(tmp_path / "elsewhere")
        draw(tmp_path / "x.png", 99)
        (folder / "cat" / "x.png").symlink_to(tmp_path / "x.png")
        assert count(data.load(str(folder))) == 16


@pytest.mark.parametrize(
    ("path", "target", "reason"),
    [
        *(("self", target, "links to folders that contain them") for target in (".", "..")),
        *(
            ("cat/link", target, "links to folders within class folders")
            for target in (".", "..", "../..", "../dog")
        ),
        *(("link", target, "outside the class folders") for target in ("link", "nothing")),
        *(("dog/a.png", target, "unusable") for target in ("a.png", "nothing", "/dev/zero")),
    ],
)
def test_links_that_lead_back_or_nowhere_are_left_out(folder, capsys, path, target, reason):
    (folder / path).symlink_to(target)
    dataset = data.load(str(folder))
    assert dataset.class_names == ("cat", "dog")
    assert count(dataset) == 15
    assert f"1 left out, {reason}: {folder}/{path}" in capsys.readouterr().err


def test_clutter_of_operating_systems_is_ignored_without_a_word(folder, capsys):
    for path in ("__MACOSX/cat/1.png", "cat/._2.png", "cat/.ipynb_checkpoints/3.png", ".git/4.png"):
        draw(folder / path, 99)
    dataset = data.load(str(folder))
    assert dataset.class_names == ("cat", "dog")
    assert count(dataset) == 15
    assert capsys.readouterr().err == ""


def break_image(path: Path, size: int):
    """Cuts off a part of an image that is too large for its digest to show it."""
    noise = np.random.default_rng(0).integers(0, 256, [64, 64, 3], np.uint8)
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(noise).save(path)
    os.truncate(path, size)


class TestLeavesOut:
    def test_damaged_images_and_says_so(self, folder, capsys):
        before = data.load(str(folder))
        break_image(folder / "cat" / "broken1.png", 5_001)
        break_image(folder / "dog" / "broken2.png", 5_002)
        after = data.load(str(folder))
        assert shades(after.train) == shades(before.train)
        assert shades(after.test) == shades(before.test)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{folder}: 2 left out, unusable: {folder}/cat/broken1.png: cannot")
        assert "dog/broken2.png: cannot be read (" in line

    def test_a_pipe_without_waiting_for_it(self, folder, capsys):
        os.mkfifo(folder / "cat" / "pipe.jpg")
        assert count(data.load(str(folder))) == 15
        assert f"unusable: {folder}/cat/pipe.jpg: cannot be read (" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("name", "left", "reason", "named"),
        [
            ("cat", 15, "copies of other images", ["cat/z.png"]),
            ("dog", 14, "the same image in several classes", ["cat/0.png", "dog/z.png"]),
        ],
    )
    def test_copies_and_says_so(self, folder, capsys, name, left, reason, named):
        shutil.copy(folder / "cat" / "0.png", folder / name / "z.png")
        assert count(data.load(str(folder))) == left
        paths = ", ".join(f"{folder}/{path}" for path in named)
        assert capsys.readouterr().err == f"{folder}: {len(named)} left out, {reason}: {paths}\n"

    def test_not_what_only_has_the_same_size_and_ends(self, folder, capsys):
        for index in (1, 2):
            image = Image.new("RGB", (200, 100), "white")
            image.putpixel((100, 50), (index, 0, 0))
            image.save(folder / "cat" / f"large{index}.bmp")
        assert count(data.load(str(folder))) == 17
        assert capsys.readouterr().err == ""

    def test_what_is_not_an_image_and_names_the_first_few_printably(self, folder, capsys):
        for index in range(20):
            (folder / "cat" / f"\x1b[2J\n{index}\udcff.txt").write_text("hello")
        data.load(str(folder))
        (line,) = capsys.readouterr().err.splitlines()
        assert ": 20 left out, not an image in RGB, gray, CMYK or palette colors (JPEG," in line
        assert r"cat/\x1b[2J\n0\udcff.txt, " in line
        assert line.endswith(", and 15 more")
        assert line.count(".txt") == 5
        assert line.isprintable()


class TestIsRefused:
    def error_of(self, folder):
        with pytest.raises(UserError) as caught:
            data.load(str(folder))
        return str(caught.value)

    @pytest.mark.parametrize(
        "make",
        [Path.touch, lambda path: os.mkfifo(path), lambda path: path.symlink_to(path)],
        ids=["file", "pipe", "link to itself"],
    )
    def test_when_it_is_no_folder(self, tmp_path, make):
        make(tmp_path / "odd")
        message = "odd: is neither a folder nor one of the data sets cifar10, digits; check"
        assert message in self.error_of(tmp_path / "odd")

    @pytest.mark.parametrize("name", ["", "b\udce9"])
    def test_when_a_name_is_not_in_utf8(self, folder, name):
        odd = folder.with_name("p\udcff")
        folder.rename(odd)
        (odd / name).mkdir(exist_ok=True)
        message = r"p\udcff: it, or a folder in it, has a name that is not in UTF-8; rename it."
        assert self.error_of(odd).endswith(message)

    def test_with_two_folders_for_a_split(self, tmp_path):
        for path in ("train/cat", "train/dog", "test/cat", "test/dog", "val/cat", "valid/cat"):
            (tmp_path / path).mkdir(parents=True)
        message = "which both mean the validation split; remove or rename one"
        assert message in self.error_of(tmp_path)

    def test_with_fewer_than_two_classes(self, tmp_path):
        draw(tmp_path / "1.png", 1)
        assert "holds no class folders; at least 2" in self.error_of(tmp_path)
        draw(tmp_path / "cat" / "1.png", 1)
        message = f"holds 1 class folder; at least 2 .* \\(if they are in {tmp_path}/cat, give that"
        assert re.search(message, self.error_of(tmp_path))

    @pytest.mark.parametrize("images", [0, 1])
    def test_with_too_few_images_of_a_class(self, folder, capsys, images):
        (folder / "bird\n").mkdir()
        (folder / "bird\n" / "notes.txt").write_text("hello")
        for index in range(images):
            draw(folder / "bird\n" / f"{index}.png", 77)
        message = rf"the class 'bird\n' has no image in the {('test', 'train')[images]} split; add"
        assert message in self.error_of(folder)
        assert r"bird\n/notes.txt" in capsys.readouterr().err  # which may be why

    def test_with_a_class_that_is_not_tested(self, tmp_path):
        for shade, path in enumerate(("train/cat", "train/dog", "test/cat")):
            draw(tmp_path / path / "1.png", shade)
        assert "the class 'dog' has no image in the test split" in self.error_of(tmp_path)

    def test_when_a_folder_cannot_be_read(self, folder, monkeypatch):
        def refuse(path):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "scandir", refuse)
        assert f"{folder}: cannot be read (Permission denied); fix" in self.error_of(folder)
