"""What every room builds on: errors, files, how programs start and end, how TensorFlow is loaded.

Imports nothing of the project but, in runtime.py, squeezenet_model.
"""

import unicodedata


class UserError(Exception):
    """Something that only the user can fix, told in one printable sentence: what is wrong, and
    what to do. It is raised where the problem is found, and printed by `base.program.run`."""

    def __init__(self, message: str):
        super().__init__(printable(message))


class Stopped(Exception):
    """A signal, given by its number, has ended the training; the message says how to resume."""

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal


def printable(text: object) -> str:
    """Text of unknown origin, such as a file's name, made safe to print in one line.

    Letters of all scripts, symbols and spaces stay. Line breaks, escape sequences, whatever is
    invisible or reverses the direction of writing, and bytes that are not UTF-8 are shown as Python
    would write them ("\\n", "\\x1b").
    """
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


def reason(error: BaseException) -> str:
    """What went wrong, for the brackets of a sentence: the first line of an error's message.

    (TensorFlow's Python side wraps the errors of its C++ side into others, pages long.)
    """
    if hasattr(error, "node_def") and hasattr(error.__context__, "node_def"):
        error = error.__context__ or error
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return str(text).strip().partition("\n")[0][:200] or type(error).__name__
