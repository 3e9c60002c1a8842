"""The digits: no download, CIFAR-10's layout, one fixed split."""

from pathlib import Path

import numpy as np
import pytest

import data


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_have_the_same_layout_as_cifar10(digits):
    for split, size in ((digits.train, 1_500), (digits.test, 297)):
        assert split.records.shape == (size, 3_072)
        assert split.records.dtype == np.uint8
        assert split.labels.shape == (size,)
        assert split.labels.dtype == np.int32
    assert digits.class_names == tuple("0123456789")


def test_are_gray_with_a_border_to_move_about_in(digits):
    red, green, blue = digits.train.records.reshape(-1, 3, 32, 32).transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)
    assert red.max() == 255
    assert not red[:, :4].any()
    assert not red[:, :, -4:].any()


def test_are_split_with_the_same_share_of_each_class(digits):
    train, test = (
        np.bincount(split.labels) / len(split.labels) for split in (digits.train, digits.test)
    )
    np.testing.assert_allclose(train, test, atol=0.005)


def test_are_split_the_same_way_every_time_without_overlap(digits):
    again = data.load("digits")
    np.testing.assert_array_equal(digits.test.records, again.test.records)
    np.testing.assert_array_equal(digits.train.labels, again.train.labels)
    train = {record.tobytes() for record in digits.train.records}
    assert not any(record.tobytes() in train for record in digits.test.records)


def test_take_no_folder():
    with pytest.raises(data.DataError, match=r"^a: the digits .* leave it out") as error:
        data.load("digits", Path("a"))
    assert error.value.argument == "data_dir"


def test_cannot_skip_damaged_images():
    with pytest.raises(data.DataError, match=r"^is for folders of your own images") as error:
        data.load("digits", skip_damaged=True)
    assert error.value.argument == "skip_damaged"


class TestAFolderOfTheSameName:
    @pytest.fixture(autouse=True)
    def shadowed(self, tmp_path, monkeypatch):
        for path in ("digits/a", "digits/b"):
            (tmp_path / path).mkdir(parents=True)
        monkeypatch.chdir(tmp_path)

    def test_is_not_used_and_that_is_said(self, capsys):
        assert data.load("digits").class_names == tuple("0123456789")
        assert "digits: loading the built-in data set" in (err := capsys.readouterr().err)
        assert "./digits is the folder" in err

    @pytest.mark.parametrize("name", ["./digits", "digits/", "../{}/digits"])
    def test_is_used_when_it_is_called_a_folder(self, name, tmp_path, capsys):
        name = name.format(tmp_path.name)
        with pytest.raises(data.DataError, match="the class 'a' has no image"):
            data.load(data.full_name(name))
        assert "built-in" not in capsys.readouterr().err

    def test_elsewhere_does_not_matter(self, monkeypatch, tmp_path, capsys):
        monkeypatch.chdir(tmp_path / "digits")
        data.load("digits")
        assert capsys.readouterr().err == ""


def test_must_not_be_mirrored(digits):
    assert not digits.mirrored


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(data.DataError, match=r"mnist: .* cifar10, digits"):
        data.load("mnist")


class TestHoldingOut:
    def test_takes_its_share_of_every_class_and_loses_nothing(self, digits):
        rest = data.hold_out(digits, 300)
        held_out = rest.validation
        assert (len(rest.train.labels), len(held_out.labels)) == (1_200, 300)
        assert rest.test is digits.test
        np.testing.assert_allclose(np.bincount(held_out.labels), 30, atol=2)
        together = np.concatenate([rest.train.records, held_out.records])
        assert sorted(map(bytes, together)) == sorted(map(bytes, digits.train.records))

    def test_takes_the_same_ones_each_time(self, digits):
        first, second = (data.hold_out(digits, 300).validation for _ in range(2))
        np.testing.assert_array_equal(first.records, second.records)

    @pytest.mark.parametrize("size", [1, 9, 1_495, 1_500, 10_000])
    def test_more_or_fewer_than_there_can_be_are_refused(self, digits, size):
        with pytest.raises(data.DataError, match=f"^{size}: .* give another number") as error:
            data.hold_out(digits, size)
        assert error.value.argument == "held_out"
