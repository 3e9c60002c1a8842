"""What the project's commands share: their flags, their signals, and how they end."""

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from base import Stopped, UserError, printable


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong flag is answered in one sentence, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        self.exit(2, f"{self.prog}: error: {printable(message)}; see --help.\n")

    def print_help(self, file: Any = None) -> None:
        """Prints the help; unlike argparse, raises OSError for a closed pipe or a full disk."""
        print(self.format_help(), end="", file=file, flush=True)


def number(kind: type, minimum: float, maximum: float) -> Callable[[str], float]:
    """An argparse type: a number of that kind (int or float) from minimum to maximum."""

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if "_" not in text and minimum <= (value := kind(text)) <= maximum:
                return value
        raise argparse.ArgumentTypeError(
            f"{text!a} is not a {'whole ' * (kind is int)}number from {minimum:,} to {maximum:,}"
        )

    return parse


SMALLEST = 1e-12  # above 0, for flags that take any positive number
seed = number(int, 0, 2**31 - 1)


def local_name(text: str) -> str:
    """An argparse type: the name of a file or folder on this machine; `~` is the home folder."""
    if not text or "\0" in text or re.match("[A-Za-z][A-Za-z0-9+.-]+:/", text):  # but C:/
        raise argparse.ArgumentTypeError(f"{text!a} is not a file or folder on this machine")
    return os.path.expanduser(text)


def local_path(text: str) -> Path:
    """The same as a path. (That of "./digits" is "digits".)"""
    return Path(local_name(text))


def run(name: str, command: Callable[[], int | None]) -> int:
    """Runs a command; whatever goes wrong ends it in one sentence.

    Returns its exit code: its own, or 0; 2 for what only the user can fix; 128 and the number of a
    signal (130 for Ctrl-C, 129 for a closed terminal); 1 when nobody reads the output any more.
    """
    prepare_output()
    try:
        code = command() or 0
        sys.stdout.flush()  # a disk may be full only now
    except UserError as error:
        code = 2
        report(f"{name}: error: {error}")
    except Stopped as stopped:
        code = 128 + stopped.signal
        with contextlib.suppress(OSError):
            print(stopped, flush=True)
    except KeyboardInterrupt:  # outside of a training, which saves its work first
        code = 128 + signal.SIGINT
        report(f"{name}: stopped")
    except OSError as error:  # the output is gone: a closed pipe or terminal, a full disk
        code = {errno.EPIPE: 1, errno.EIO: 129}.get(error.errno or 0, 2)
        if code != 1:  # even for EIO: it may as well be a broken disk
            where = f"{printable(error.filename or 'the output')}: {error.strerror or error}"
            report(f"{name}: error: {where}; fix that, and run the same command again.")
    discard_lost_output()
    return code


def report(text: str) -> None:
    """Prints a line on stderr, if that can take it."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def prepare_output() -> None:
    """Lets stdout and stderr take any text, in any encoding, even if they are closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # or files would take their place
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):  # a notebook's has no encoding
            stream.reconfigure(errors="backslashreplace")


def discard_lost_output() -> None:
    """Empties stdout and stderr; Python would fail at its exit if one of them were still full."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Interruption:
    """Notes that the user or the system wants the process to end; a context manager.

    The signal is noted in `received`. A second Ctrl-C ends the process at once; in a notebook it
    interrupts the cell instead. A signal that the parent process ignores stays ignored. Outside of
    the main thread Python allows no handlers.
    """

    KEYS = ("SIGINT", "SIGBREAK")  # Ctrl-C, and on Windows Ctrl-Break
    # A request by the system; a closed terminal or lost connection; a batch system's warnings that
    # the time is up. All of these may come twice: `timeout` and systemd send them to each process
    # of a group, and their parents pass them on.
    SENT = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    SIGNALS = tuple(getattr(signal, name) for name in (*KEYS, *SENT) if hasattr(signal, name))

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self, step: int, total_steps: int) -> None:
        """Raises Stopped if the training, whose newest step is saved, has been interrupted."""
        if self.received and step < total_steps:
            saved = f"at step {step} of {total_steps}, which is saved" if step else "before step 1"
            raise Stopped(f"stopped {saved}; run the same command again to resume", self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if self.received.name in self.KEYS:
            again = self._handlers[number] if hasattr(sys, "ps1") else signal.SIG_DFL
            signal.signal(number, again)
