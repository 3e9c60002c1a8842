"""TensorFlow loads quietly in any process: a command's, a notebook's."""

import contextlib
import gc
import os
import subprocess
import sys

import pytest

from base import UserError
from base.runtime import filtered_stderr, load_tensorflow_quietly
from tests.conftest import PROJECT


def test_works_after_other_use_of_tensorflow_and_says_what_that_costs():
    code = (
        "import io, sys, tensorflow\n"
        "tensorflow.add(1, 2)  # eagerly, as a notebook does\n"
        "sys.stdout, sys.stderr = io.StringIO(), io.StringIO()  # a notebook's have no number\n"
        "from base.runtime import load_tensorflow_quietly\n"
        "load_tensorflow_quietly()\n"
        "sys.__stdout__.write(sys.stdout.getvalue() + sys.stderr.getvalue())\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("\n") == 1
    assert "restart the kernel to train at full speed" in process.stdout


def test_says_how_to_install_a_tensorflow_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "squeezenet_model", None)
    with pytest.raises(UserError, match=r"; run `pip install -r requirements\.txt`"):
        load_tensorflow_quietly()
    assert gc.isenabled()  # as before


def test_only_unwanted_lines_of_stderr_are_dropped_and_only_within(capfd):
    with contextlib.suppress(OSError), filtered_stderr("I0000 "):
        os.write(2, b"I0000 chatter\nwanted\nI 0000 wanted too\n")
        raise OSError("body")
    os.write(2, b"I0000 afterwards\n")
    assert capfd.readouterr().err == "wanted\nI 0000 wanted too\nI0000 afterwards\n"
