"""What the project's commands share: flags that are answered in one sentence, and how they end."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable

from data import DataError, printable
from training import RunError, Stopped


class Parser(argparse.ArgumentParser):
    """argparse, with a wrong flag answered by one sentence in place of the whole usage."""

    def error(self, message: str) -> None:
        """Ends the program with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}; see --help.\n")


def positive(kind: type, most: float) -> Callable[[str], float]:
    """An argparse type: a number of that kind, over 0 and not over most."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
            if 0 < number <= most:
                return number
        except ValueError:
            pass
        what = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} above 0 and up to {most:,}")

    return parse


def seed(text: str) -> int:
    """An argparse type: a whole number that fits 32 bits."""
    if text.isascii() and text.isdigit() and int(text) < 2**31:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {2**31 - 1:,}")


def with_flags(error: DataError) -> str:
    """A sentence about data, with the flags that its parameters of `data.load` are given by."""
    sentence = str(error)
    if error.argument:
        sentence = f"{flag_of(error.argument)} {sentence}"
    if error.instead:
        flags = (f"{flag_of(name)} {value}" for name, value in error.instead.items())
        sentence = f"{sentence}; use {printable(' '.join(flags))}"
    return sentence


def flag_of(parameter: str) -> str:
    """The flag for a parameter of `data.load` or `data.hold_out`."""
    return "--dataset" if parameter == "name" else f"--{parameter}"


def run_command(
    name: str, command: Callable[[argparse.Namespace], int], flags: argparse.Namespace
) -> int:
    """Runs a command; what goes wrong ends it in one sentence.

    Returns:
      The command's exit code; 2 for what only the user can mend, 130 after Ctrl-C.
    """
    try:
        return command(flags)
    except Stopped as stopped:
        print(stopped)
        return 128 + stopped.signal
    except DataError as error:
        print(f"{name}: error: {with_flags(error)}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `python train.py | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # `python train.py > log` on a full disk
        where = error.filename or "the output"
        print(
            f"{name}: error: {where}: {error.strerror or error}; mend it and try again.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # outside of a training, which ends in order
        print(f"{name}: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
