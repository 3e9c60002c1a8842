"""Untrusted text is printed as one line that controls nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import UserError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),  # the one-byte form of ESC [
        ("gpj.\u202etxt\u2066", "gpj.\\u202etxt\\u2066"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("cat\u200b\ufeff\xad", "cat\\u200b\\ufeff\\xad"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("caf\udce9", "caf\\udce9"),  # a byte that is not UTF-8, as os.listdir gives it
    ],
)
def test_what_is_invisible_or_controls_the_terminal_is_escaped(text, shown):
    assert printable(text) == shown
    assert str(UserError(text)) == shown  # so that no file's name can forge a line


@pytest.mark.parametrize(
    "text",
    [
        "C:\\photos\\photo 1.jpg",
        "\u732b \u0642\u0637\u0629 \U0001f431",  # cats, in Chinese, Arabic and as a symbol
        "Zo\xeb Zoe\u0308",  # the latter as macOS writes it
        "10\u202fAM a\xa0b\u3000c",  # macOS puts the first space into the names of screenshots
    ],
)
def test_what_people_write_stays(text):
    assert printable(text) == text


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_one_encodable_line_and_stays_so(text):
    shown = printable(text)
    shown.encode()  # would raise for a lone surrogate
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character).startswith("C") for character in shown)
    assert printable(shown) == shown
