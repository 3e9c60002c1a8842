"""The examples run as they are."""

import re

import pytest

import data
from examples import plain_loop


def test_the_plain_loop_takes_steps_and_measures_the_accuracy(capsys):
    accuracy = plain_loop.train(data.load("digits"), range(2), batch_size=8)
    assert re.fullmatch(r"step 0: loss 2\.[23]\d\d\n", capsys.readouterr().out)
    assert 0 < accuracy < 0.5  # chance is 0.1


@pytest.mark.slow
def test_the_plain_loop_trains_the_chapters_net():
    assert plain_loop.train(data.load("digits"), range(801)) > 0.9
