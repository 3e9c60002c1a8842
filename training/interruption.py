"""Ctrl-C and SIGTERM, turned into an orderly end."""

from __future__ import annotations

import signal
from types import FrameType


class Interruption:
    """Notes that the user (SIGINT) or the system (SIGTERM) wants the process to end.

    A context manager, for the main thread. The first signal is noted for whoever asks; a second
    one of the same kind ends the process at once.

    Attributes:
      received: the signal that came, or None.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._handlers = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)
