"""Untrusted text is printed as one line that controls nothing."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("a\r\tb", "a\\r\\tb"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),  # the one-byte form of ESC [
        ("\x00\x7f\x85", "\\x00\\x7f\\x85"),
        ("gpj.\u202etxt\u2066", "gpj.\\u202etxt\\u2066"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("cat\u200b\ufeff\xad", "cat\\u200b\\ufeff\\xad"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("caf\udce9", "caf\\udce9"),  # a byte that is not UTF-8, as os.listdir gives it
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_what_is_invisible_or_controls_the_terminal_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "photo 1.jpg",
        "C:\\photos",
        "\u732b",  # cat, in Chinese
        "\u0642\u0637\u0629",  # and in Arabic
        "Zo\xeb",
        "Zoe\u0308",  # as macOS writes it
        "\U0001f431",
        "10\u202fAM",  # macOS puts this space into the names of screenshots
        "a\xa0b\u3000c",
    ],
)
def test_what_people_write_stays(text):
    assert printable(text) == text


def test_takes_paths_and_errors():
    assert printable(Path("a\n") / "b") == "a\\n/b"
    assert printable(ValueError("\x1b")) == "\\x1b"


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_one_encodable_line_and_stays_so(text):
    shown = printable(text)
    shown.encode()  # would raise for a lone surrogate
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character).startswith("C") for character in shown)
    assert printable(shown) == shown
