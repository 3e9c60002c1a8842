"""Ctrl-C and SIGTERM: the first is noted, the second ends the process."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import PROJECT
from training.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted(number):
    with Interruption() as interruption:
        assert interruption.received is None
        os.kill(os.getpid(), number)
        assert interruption.received == number


def test_the_handlers_from_before_are_back_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_the_process_at_once():
    code = (
        "import os, signal\n"
        "from training.interruption import Interruption\n"
        "with Interruption() as interruption:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print(interruption.received.name, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert process.returncode == -signal.SIGINT
    assert process.stdout == "SIGINT\n"
    assert process.stderr == ""
