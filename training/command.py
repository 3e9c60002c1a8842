"""What the project's commands share: their flags, their output, their signals, and how they end."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from data import DataError, printable
from training import RunError, Stopped

URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")  # a drive of Windows has one letter
# Without the underscores, spaces and digits of other scripts that int() and float() accept.
NUMBERS = {
    int: re.compile("[0-9]{1,20}"),
    float: re.compile(r"([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?"),
}


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong flag is answered in one sentence, and lost output is an error."""

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        """Parses some arguments, or those of this process, which is then the command's own."""
        if args is None:
            restart_unless_usable()
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        tell(f"{self.prog}: error: {printable(message)}; see --help.")
        sys.exit(2)

    def print_help(self, file: TextIO | None = None) -> None:
        """Prints the help; ends the program if that fails, which argparse would ignore."""

        def show(_: argparse.Namespace) -> int:
            print(self.format_help(), end="", file=file)
            return 0

        if code := run_command(self.prog, show, argparse.Namespace()):
            sys.exit(code)


def positive(kind: type, most: float, least: float = 0) -> Callable[[str], float]:
    """An argparse type: a number of that kind (int or float) above 0, from least to most."""

    def parse(text: str) -> float:
        if NUMBERS[kind].fullmatch(text):
            number = kind(text)
            if number > 0 and least <= number <= most:
                return number
        what = "a whole number" if kind is int else "a number"
        start = f"from {least:,} to" if least else "above 0 and up to"
        raise argparse.ArgumentTypeError(f"{text!a} is not {what} {start} {most:,}")

    return parse


def seed(text: str) -> int:
    """An argparse type: a whole number that fits 32 bits."""
    if NUMBERS[int].fullmatch(text) and int(text) < 2**31:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!a} is not a whole number from 0 to {2**31 - 1:,}")


def local_path(text: str) -> Path:
    """An argparse type: a file or folder on this machine; `~` is the user's home folder."""
    return Path(local_name(text))


def local_name(text: str) -> str:
    """What `local_path` makes of a text, but not yet a Path, which makes "./digits" into "digits".

    Raises:
      argparse.ArgumentTypeError: it is empty, a URL, or below a home folder that is not known.
    """
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!a} does not name a file or folder")
    if URL.match(text):
        raise argparse.ArgumentTypeError(
            f"{printable(text)!r} is a URL; give a file or folder on this machine"
        )
    name = os.path.expanduser(text)
    if name.startswith("~") and not os.path.lexists(name):
        raise argparse.ArgumentTypeError(
            f"{printable(text)!r}: there is no such home folder; write the full path, or ./~ for a "
            "name that begins so"
        )
    return name


def restart_unless_usable() -> None:
    """Starts this program again if Python was started in a way that TensorFlow cannot work with.

    TensorFlow's file names are UTF-8, so with others (LC_ALL=C and PYTHONUTF8=0) it would not find
    the files that Python writes; and without docstrings (PYTHONOPTIMIZE=2) tf-keras cannot be
    imported. Both are settled when Python starts.
    """
    main = sys.modules["__main__"]
    is_usable = sys.flags.optimize < 2 and sys.getfilesystemencoding() == "utf-8"
    if is_usable or hasattr(sys, "ps1") or not getattr(main, "__file__", None):
        return
    # A module is run by its name, a file (or a console script) by its path.
    program = ["-m", main.__spec__.name] if main.__spec__ else [main.__file__]
    command = [sys.executable, "-X", "utf8", *program, *sys.argv[1:]]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    if os.name == "nt":  # where exec would not wait for the new process
        sys.exit(subprocess.run(command, env=environment).returncode)
    os.execve(sys.executable, command, environment)


def with_flags(error: DataError, flags: argparse.Namespace) -> str:
    """A sentence about data, with the flags that its parameters of `data.load` are given by.

    What would work instead is left out where the command has no such flags.
    """
    sentence = str(error)
    if error.argument:
        sentence = f"{flag_of(error.argument)} {sentence}"
    instead = {flag_of(name): value for name, value in (error.instead or {}).items()}
    if instead and all(hasattr(flags, flag.removeprefix("--")) for flag in instead):
        advice = " ".join(f"{flag} {value}".strip() for flag, value in instead.items())
        head, colon, listed = sentence.partition(":\n")
        sentence = f"{head.removesuffix('.')}; use {printable(advice)}{colon}{listed}"
    return sentence


def flag_of(parameter: str) -> str:
    """The flag for a parameter of `data.load` or `data.hold_out`."""
    return "--dataset" if parameter == "name" else f"--{parameter}"


def run_command(
    name: str, command: Callable[[argparse.Namespace], int], flags: argparse.Namespace
) -> int:
    """Runs a command; whatever goes wrong ends it in one sentence.

    Returns:
      The command's exit code; 2 for what only the user can fix, 128 + its number after a signal
      (130 after Ctrl-C), 1 when nobody reads the output any more.
    """
    prepare_output()
    try:
        code = command(flags)
        sys.stdout.flush()  # a disk may be full only now
        return code
    except Stopped as stopped:
        tell(str(stopped), sys.stdout)
        return 128 + stopped.signal
    except DataError as error:
        tell(f"{name}: error: {with_flags(error, flags)}")
        return 2
    except RunError as error:
        tell(f"{name}: error: {error}")
        return 2
    except BrokenPipeError:  # `python train.py | head`: nobody reads on
        return 1
    except OSError as error:  # `python train.py > log` on a full disk
        if is_hung_up(error):
            return 128 + signal.SIGHUP
        where = error.filename or "the output"
        tell(
            f"{name}: error: {where}: {error.strerror or error}; free some space or fix the "
            "permissions, and try again."
        )
        return 2
    except KeyboardInterrupt:  # outside of a training, which saves its work and ends in order
        tell(f"{name}: stopped")
        return 128 + signal.SIGINT
    finally:
        discard_what_cannot_be_written()


def is_hung_up(error: OSError) -> bool:
    """Whether a write has failed because the terminal is closed; SIGHUP may not have come yet."""
    try:
        is_terminal = any(stat.S_ISCHR(os.fstat(number).st_mode) for number in (1, 2))
    except OSError:
        return False
    return is_terminal and error.errno == errno.EIO and error.filename is None


def prepare_output() -> None:
    """Lets stdout and stderr take any text, whatever the caller's encoding, and any warning pass.

    What an encoding lacks is shown as Python would write it (PYTHONIOENCODING=ascii: "\\u732b").
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # one was closed: `train.py >&-`
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # PYTHONWARNINGS=error is for those who test a library; here it would end the run.
    if any(action == "error" for action, *_ in warnings.filters):
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does by default


def tell(text: str, stream: TextIO | None = None) -> None:
    """Prints a message, to stderr by default, whose names may come from anyone."""
    lines = map(printable, text.split("\n"))
    with contextlib.suppress(OSError, ValueError):  # nobody is there to be told
        print(*lines, sep="\n", file=stream or sys.stderr, flush=True)


def discard_what_cannot_be_written() -> None:
    """Empties stdout and stderr; Python would fail at its exit if one of them were still full."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            if stream in (sys.__stdout__, sys.__stderr__):  # and not a notebook's, say
                send_to_devnull(stream)


def send_to_devnull(stream: TextIO) -> None:
    """Discards what is, and will be, written to a stream of this process."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)


class Interruption:
    """Notes that the user or the system wants the process to end.

    A context manager. The first signal is noted for whoever asks. A second one of the same kind
    ends the process at once; in a notebook it interrupts the cell instead. A signal that the parent
    process ignores stays ignored. Outside of the main thread Python allows no handlers, and the
    thread that is there decides.

    Attributes:
      received: the signal that came, or None.
    """

    # Ctrl-C; a request by the system; a closed terminal or lost connection; on Windows, Ctrl-Break.
    SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")

    def __init__(self):
        self.received: signal.Signals | None = None
        self._handlers = {}
        self._terminals = []

    def __enter__(self) -> Interruption:
        for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
            with contextlib.suppress(ValueError):  # it is closed
                if stream.isatty():  # which a terminal that is gone would deny
                    self._terminals.append(stream)
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in self.SIGNALS):
                if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if self.received.name == "SIGHUP":
            # It may come twice, from the shell and from the system; and writing to a terminal that
            # is gone would end the process before it has saved its work.
            for stream in self._terminals:
                send_to_devnull(stream)
            return
        is_interactive = hasattr(sys, "ps1")
        signal.signal(number, self._handlers[number] if is_interactive else signal.SIG_DFL)
