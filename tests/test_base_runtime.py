"""TensorFlow loads quietly in any process: a command's, a notebook's."""

import contextlib
import gc
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest

import base.runtime
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
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT, text=True)
    assert re.fullmatch(".*; restart the kernel to train at full speed.\n", shown)


def test_says_how_to_install_a_tensorflow_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "squeezenet_model", None)
    with pytest.raises(UserError, match=r"; run `pip install -r requirements\.txt`"):
        load_tensorflow_quietly()
    assert gc.isenabled()  # as before


def test_says_how_to_name_a_folder_for_temporary_files_if_there_is_none(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(UserError, match=r"^No usable .* in \['/nowhere'\]; set TMPDIR to a folder"):
        load_tensorflow_quietly()


def test_only_unwanted_lines_of_stderr_are_dropped_and_only_within(capfd):
    with contextlib.suppress(OSError), filtered_stderr("I0000 "):
        os.write(2, b"I0000 chatter\nwanted\nI 0000 wanted too\n")
        raise OSError("body")
    os.write(2, b"I0000 afterwards\n")
    assert capfd.readouterr().err == "wanted\nI 0000 wanted too\nI0000 afterwards\n"


@pytest.mark.parametrize(
    ("cpuinfo", "precision"),
    [
        (["flags\t\t: fpu avx2 avx512_bf16\n"], "bfloat16"),
        (["flags\t\t: fpu amx_bf16\n"], "bfloat16"),
        (["flags\t\t: fpu avx512f bf16\n"], "float32"),
        (FileNotFoundError, "float32"),
    ],
)
def test_bfloat16_is_fast_where_linux_says_so(monkeypatch, cpuinfo, precision):
    monkeypatch.setattr(base.runtime, "BFLOAT16_FLAGS", {"avx512_bf16", "amx_bf16"})
    monkeypatch.setattr(Path, "read_text", Mock(side_effect=cpuinfo))
    assert base.runtime.fast_precision() == precision
