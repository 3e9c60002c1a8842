"""A folder of your own images as a data set."""

import os
import re
import shutil
from collections import defaultdict
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import data
from base import UserError
from base.files import MARKER
from data import folder as data_folder
from data.folder import File


def draw(folder: Path, *paths: str, start: int = 0):
    """Gray images in a folder, each of a shade and size of its own, counted from start."""
    for shade, path in enumerate(paths, start):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10 + shade, 10), (shade, shade, shade)).save(folder / path)


def draw_splits(folder: Path, *splits: str):
    """An image of a cat and one of a dog for each split: 0 and 1, 2 and 3, 4 and 5."""
    draw(folder, *(f"{split}/{name}/1.png" for split in splits for name in ("cat", "dog")))


@pytest.fixture
def folder(tmp_path):
    """Ten dark images of cats, and five light ones of dogs, in several formats."""
    cats = (f"cat/{index}.{('png', 'jpg', 'bmp')[index % 3]}" for index in range(10))
    draw(tmp_path / "pets", *cats)
    draw(tmp_path / "pets", *(f"dog/{index}.png" for index in range(5)), start=200)
    return tmp_path / "pets"


def count(dataset):
    """The images in all splits."""
    return len(dataset.train.labels) + len(dataset.test.labels)


def shades(split):
    return sorted(split.records[:][:, 0].tolist())


def assert_is_as_before(dataset):
    """The data set has the images and classes of `folder`, as if nothing had been added."""
    assert dataset.class_names == ("cat", "dog")
    assert count(dataset) == 15


def assert_refused(folder, sentence):
    with pytest.raises(UserError, match=sentence):
        data.load(str(folder))


def test_is_a_data_set_of_its_class_folders(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    dataset = data.load("pets")
    assert (dataset.name, dataset.class_names) == (str(folder), ("cat", "dog"))
    assert (dataset.original_dim, dataset.resize_dim, dataset.mirrored) == (32, 24, True)
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    assert np.bincount(labels).tolist() == [10, 5]
    for split in (dataset.train, dataset.test):
        assert split.labels.dtype == np.int32
        records = split.records[:]
        assert records.shape == (len(split.labels), 3_072)
        assert ((records.mean(axis=1) > 150) == (split.labels == 1)).all()
    assert capsys.readouterr().err == ""


def test_is_resized_as_asked_and_can_be_held_out(folder):
    divided = data.hold_out(data.load(str(folder), dims=(64, 40)), 3)
    assert (divided.original_dim, divided.resize_dim) == (64, 40)
    assert count(divided) == 12
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
        in_test = {file.path.name for file in files if divided[file] == "test"}
        assert in_test == {"0", "1", "7", "8", "14"}
        fewer = data_folder.divide(dict([*files.items()][:10]))
        assert fewer.items() <= divided.items()  # no image moves when others come

    def test_depends_on_what_is_in_the_files_not_on_their_names(self, folder):
        before = shades(data.load(str(folder)).test)
        for index, path in enumerate(sorted((folder / "cat").iterdir())):
            path.rename(path.with_name(f"x{9 - index}{path.suffix}"))
        assert shades(data.load(str(folder)).test) == before

    def test_and_identity_are_those_of_the_images_wherever_they_lie(self, folder):
        before = data.load(str(folder))
        elsewhere = folder.rename(folder.with_name("elsewhere"))
        moved = data.load(str(elsewhere))
        assert (moved.digest, shades(moved.test)) == (before.digest, shades(before.test))
        (elsewhere / "dog" / "0.png").unlink()
        assert data.load(str(elsewhere)).digest != before.digest


class TestFoldersForTheSplits:
    """train and test, and perhaps val."""

    @pytest.mark.parametrize(
        "names",
        [
            *("train test", "Training Testing", "train val test", "train Valid test"),
            *("seg_train seg_test", "train2017 val2017 test2017", "myTrainSet myTestset"),
            *("train images/Train test-images/test", "training_set val test1"),
        ],
    )
    def test_say_what_is_for_testing_and_validation(self, tmp_path, capsys, names):
        train, *validation, test = re.split(" (?=[^i])", names)
        draw_splits(tmp_path, train, test, *validation)
        dataset = data.load(str(tmp_path))
        assert dataset.class_names == ("cat", "dog")
        assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [0, 1]
        assert (shades(dataset.train), shades(dataset.test)) == ([0, 1], [2, 3])
        assert shades(dataset.evaluation_set) == ([4, 5] if validation else [2, 3])
        assert (dataset.validation is not None) == bool(validation)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("left_out", [[], ["test/1.png"], ["pred/pred/1.png"]])
    def test_without_classes_to_test_on_may_have_val_instead(self, tmp_path, capsys, left_out):
        draw_splits(tmp_path, "train", "val")
        draw(tmp_path, *left_out, start=100)
        dataset = data.load(str(tmp_path))
        assert (shades(dataset.test), dataset.validation) == ([2, 3], None)
        first, *others = capsys.readouterr().err.splitlines()
        assert first == f"{tmp_path}/val: is used for the test, as no test folder has classes"
        assert [line.rpartition("/")[2] for line in others] == [path[:4] for path in left_out]

    @pytest.mark.parametrize(
        "names", ["invalid valid", "bus train", "bullet_train steam_train", "bus test_tube trainee"]
    )
    def test_may_as_well_be_classes(self, tmp_path, names):
        draw(tmp_path, *(f"{name}/{index}.png" for name in names.split() for index in range(2)))
        assert " ".join(data.load(str(tmp_path)).class_names) == names

    def test_may_hold_a_copy_in_one_split_only(self, tmp_path, capsys):
        draw_splits(tmp_path, "train", "val", "test")
        copies = {
            "val/cat/2": "test/cat/1",
            "train/cat/2": "test/cat/1",
            "train/dog/2": "val/dog/1",
        }
        for path, original in copies.items():
            shutil.copy(tmp_path / f"{original}.png", tmp_path / f"{path}.png")
        dataset = data.load(str(tmp_path))
        assert [len(s.labels) for s in (dataset.train, dataset.validation, dataset.test)] == [2] * 3
        assert {*re.findall(r"(\w+/\w+/\d)\.png", capsys.readouterr().err)} == {*copies}

    def test_what_lies_beside_or_in_them_is_named(self, tmp_path, capsys):
        draw_splits(tmp_path, "train", "test")
        draw(tmp_path, "loose.png", "more/cat/1.png", "test/unsorted.png", start=100)
        assert count(data.load(str(tmp_path))) == 4
        named = ", ".join(f"{tmp_path}/{name}" for name in ("loose.png", "more", "test/unsorted"))
        line = f"{tmp_path}: 3 left out, outside the class folders: {named}.png\n"
        assert capsys.readouterr().err == line


class TestClassFolders:
    def test_are_read_at_any_depth_in_an_order_that_never_changes(self, folder, capsys):
        names = ("b/a/1", "b/a/2", "b/3", "a/4", "c 2024/5")
        draw(folder / "cat", *(f"{name}.png" for name in names), start=100)
        found = data_folder.find_files(folder / "cat", defaultdict(list))
        assert [path.stem for path in found] == [*map(str, range(10)), "5", "3", "1", "2", "4"]
        assert count(data.load(str(folder))) == 20
        assert capsys.readouterr().err == ""

    def test_are_the_same_however_their_names_are_written(self, tmp_path):
        draw(tmp_path, "train/caf\xe9/1.png", "train/tea /1.png")
        draw(tmp_path, "test/cafe\u0301/1.png", "test/tea/1.png", start=2)
        assert data.load(str(tmp_path)).class_names == ("caf\xe9", "tea ")

    def test_are_not_what_this_project_has_written(self, folder, capsys):
        draw(folder, "runs/pets/1.png", "cat/heatmaps/1.png", start=99)
        for path in ("runs", "runs/pets", "cat/heatmaps"):
            (folder / path / MARKER).touch()
        assert_is_as_before(data.load(str(folder)))
        assert capsys.readouterr().err == ""

    def test_and_images_may_be_links_to_elsewhere(self, folder, tmp_path):
        (folder / "dog").rename(tmp_path / "elsewhere")
        (folder / "dog").symlink_to(tmp_path / "elsewhere")
        draw(tmp_path, "x.png", start=99)
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
    assert_is_as_before(data.load(str(folder)))
    assert f"1 left out, {reason}: {folder}/{path}" in capsys.readouterr().err


def test_clutter_of_operating_systems_is_ignored_without_a_word(folder, capsys):
    paths = "__MACOSX/cat/1.png", "cat/._2.png", "cat/.ipynb_checkpoints/3.png", ".git/4.png"
    draw(folder, *paths, start=99)
    assert_is_as_before(data.load(str(folder)))
    assert capsys.readouterr().err == ""


class TestLeavesOut:
    def test_damaged_images_and_says_so(self, folder, capsys):
        before = data.load(str(folder))
        noise = np.random.default_rng(0).integers(0, 256, [64, 64, 3], np.uint8)
        for name, size in (("cat/cut1.png", 5_001), ("dog/cut2.png", 5_002)):
            Image.fromarray(noise).save(folder / name)
            os.truncate(folder / name, size)  # which is too large for its digest to show it
        after = data.load(str(folder))
        assert shades(after.train) == shades(before.train)
        assert shades(after.test) == shades(before.test)
        cut = [rf"{folder}/{name}\.png: cannot be read \(.*\)" for name in ("cat/cut1", "dog/cut2")]
        line = rf"{folder}: 2 left out, unusable: {', '.join(cut)}\n"
        assert re.fullmatch(line, capsys.readouterr().err)

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
        expected = (
            r"/\S+: 20 left out, not an image in RGB, gray, CMYK or palette colors \(JPEG,.*\): "
            r"(/\S+/cat/\\x1b\[2J\\n\d+\\udcff\.txt, ){5}and 15 more\n"
        )
        assert re.fullmatch(expected, capsys.readouterr().err)


class TestIsRefused:
    @pytest.mark.parametrize(
        "make",
        [Path.touch, lambda path: os.mkfifo(path), lambda path: path.symlink_to(path)],
        ids=["file", "pipe", "link to itself"],
    )
    def test_when_it_is_no_folder(self, tmp_path, make):
        make(tmp_path / "odd")
        assert_refused(tmp_path / "odd", r"odd: is neither a folder nor .* cifar10, digits; ch")

    @pytest.mark.parametrize("name", ["", "b\udce9"])
    def test_when_a_name_is_not_in_utf8(self, folder, name):
        odd = folder.rename(folder.with_name("p\udcff"))
        (odd / name).mkdir(exist_ok=True)
        assert_refused(odd, r"p\\udcff: it, or a folder in it, has a name that is not in UTF-8;")

    @pytest.mark.parametrize(
        ("folders", "sentence"),
        [
            (".", "holds no class folders; at least 2"),
            (". cat", r"holds 1 class folder; at least 2 .* \(if they are in /\S+/cat, give that"),
            ("train/cat train/dog test/cat", "the class 'dog' has no image in the test split; add"),
            (
                "train/a train/b val/a valid/a test/a",
                "both mean the validation split; remove or re",
            ),
            *(
                (folders, f"'{name}' in it may be a split or a class; if .* give")
                for name, folders in (
                    ("train", "train/cat bus"),
                    ("train", "train test bus"),
                    ("train", "train valid bus"),
                    ("train", "train train2"),
                    ("test", "test/cat"),
                )
            ),
        ],
    )
    def test_when_its_folders_are_no_clear_classes(self, tmp_path, folders, sentence):
        draw(tmp_path, *(f"{folder}/1.png" for folder in folders.split()))
        assert_refused(tmp_path, sentence)

    def test_when_two_classes_have_names_that_only_look_different(self, folder):
        draw(folder, "dog /1.png")
        assert_refused(folder, r"pets: holds two folders called 'dog ?', of")

    @pytest.mark.parametrize(("images", "split"), [(0, "test"), (1, "train")])
    def test_when_a_class_has_too_few_images(self, folder, capsys, images, split):
        (folder / "bird\n").mkdir()
        (folder / "bird\n" / "notes.txt").write_text("hello")
        draw(folder, *["bird\n/0.png"] * images, start=77)
        assert_refused(folder, rf"class 'bird\\n' has no image in the {split} split;")
        assert r"bird\n/notes.txt" in capsys.readouterr().err  # which may be why

    def test_when_it_cannot_be_read(self, folder, monkeypatch):
        refused = PermissionError(13, "Permission denied", str(folder))
        monkeypatch.setattr(os, "scandir", Mock(side_effect=refused))
        assert_refused(folder, rf"{folder}: cannot be read \(Permission denied\); fix")
