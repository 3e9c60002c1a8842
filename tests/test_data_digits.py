"""The digits: no download, CIFAR-10's layout, one fixed split."""

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


def test_must_not_be_mirrored(digits):
    assert not digits.mirrored


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(data.DataError, match=r"imagenet: .* cifar10, digits"):
        data.load("imagenet")


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
        with pytest.raises(data.DataError, match=f"--held_out {size}: .* give another number"):
            data.hold_out(digits, size)
