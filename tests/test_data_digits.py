"""The digits: no download, CIFAR-10's layout, one fixed split. And what all data sets share."""

import re
from pathlib import Path

import numpy as np
import pytest

import data
from base import UserError


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_have_the_same_layout_as_cifar10(digits):
    for split, size in ((digits.train, 1_500), (digits.test, 297)):
        assert (split.records.shape, split.labels.shape) == ((size, 3_072), (size,))
        assert split.records.dtype == np.uint8
        assert split.labels.dtype == np.int32
    assert (digits.name, digits.class_names) == ("digits", tuple("0123456789"))
    assert not digits.mirrored


def test_are_gray_with_a_border_to_move_about_in(digits):
    images = digits.train.records.reshape(-1, 3, 32, 32)
    assert (images == images[:, :1]).all()
    assert images.max() == 255
    assert not images[:, :, :4].any()
    assert not images[..., -4:].any()


def test_are_split_the_same_way_every_time_without_overlap(digits):
    again = data.load("digits")
    np.testing.assert_array_equal(digits.test.records, again.test.records)
    np.testing.assert_array_equal(digits.train.labels, again.train.labels)
    train = {record.tobytes() for record in digits.train.records}
    assert not any(record.tobytes() in train for record in digits.test.records)
    in_train, in_test = (np.bincount(each.labels) for each in (digits.train, digits.test))
    np.testing.assert_allclose(in_train / 1_500, in_test / 297, atol=0.005)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"data_dir": Path("a")}, "^a: .* cifar10, which digits does not use; leave it out"),
        ({"dims": (64, 48)}, "^digits: has images of 32 x 32 pixels"),
    ],
    ids=["folder", "size"],
)
def test_take_no_folder_and_no_other_size(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        data.load("digits", **arguments)


class TestAFolderOfTheSameName:
    @pytest.fixture(autouse=True)
    def shadowed(self, tmp_path, monkeypatch):
        (tmp_path / "digits" / "a").mkdir(parents=True)
        (tmp_path / "digits" / "b").mkdir()
        monkeypatch.chdir(tmp_path)

    def test_is_not_used_and_that_is_said(self, capsys):
        assert data.load("digits").class_names == tuple("0123456789")
        assert re.match("digits: loading the built-in .* ./digits is", capsys.readouterr().err)

    @pytest.mark.parametrize("name", ["./digits", "digits/", "../{}/digits"])
    def test_is_used_when_it_is_called_a_folder(self, name, tmp_path, capsys):
        with pytest.raises(UserError, match="the class 'a' has no image"):
            data.load(name.format(tmp_path.name))
        assert "built-in" not in capsys.readouterr().err


class TestHoldingOut:
    def test_takes_its_part_of_every_class_and_loses_nothing(self, digits):
        rest = data.hold_out(digits, 300)
        held_out = rest.validation
        assert (len(rest.train.labels), len(held_out.labels)) == (1_200, 300)
        assert rest.test is digits.test
        assert rest.evaluation_set is held_out
        assert (digits.evaluation_name, rest.evaluation_name) == ("test", "validation")
        np.testing.assert_allclose(np.bincount(held_out.labels), 30, atol=2)
        together = np.concatenate([rest.train.records, held_out.records])
        assert sorted(map(bytes, together)) == sorted(map(bytes, digits.train.records))
        again = data.hold_out(digits, 300)
        np.testing.assert_array_equal(held_out.records, again.validation.records)
        with pytest.raises(UserError, match="has 300 validation images of its own; hold out none"):
            data.hold_out(rest, 1)

    @pytest.mark.parametrize("size", [1, 9, 1_495, 1_500, 10_000])
    def test_more_or_fewer_than_there_can_be_are_refused(self, digits, size):
        with pytest.raises(UserError, match=f"^digits: {size:,} of 1,500 .* give another number"):
            data.hold_out(digits, size)


class TestUnbalancedClasses:
    def dataset(self, *counts):
        labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
        split = data.Split(np.zeros([len(labels), 3_072], np.uint8), labels)
        return data.Dataset("", split, split, ("ant", "bee\n", "cat")[: len(counts)], 32, 24, True)

    @pytest.mark.parametrize(
        ("counts", "weights"),
        [((10, 100, 40), (5, 0.5, 1.25)), ((7, 7), (1, 1)), ((5, 0, 15), (2, 0, 2 / 3))],
    )
    def test_get_the_same_say_by_weights(self, counts, weights):
        found = data.class_weights(self.dataset(*counts))
        np.testing.assert_allclose(found, np.float32(weights), rtol=1e-6, strict=True)
