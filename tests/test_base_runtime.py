"""TensorFlow loads quietly in any process: a command's, a notebook's."""

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest

import base.runtime
from base import UserError
from base.runtime import filtered_stderr, load_tensorflow_quietly, visible_cores
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


@pytest.mark.parametrize(
    ("name", "content", "cores"),
    [
        ("cpu.max", "max 100000\n", 64),
        ("cpu.max", "200000 100000\n", 2),
        ("cpu.max", "150000 100000\n", 2),
        ("cpu.max", "1000 100000\n", 1),
        ("cpu.max", "6500000 100000\n", 64),
        ("own/cpu.max", "200000 100000\n", 2),
        ("own/group/cpu.max", "200000 100000\n", 2),
        ("cpu.max", "", 64),
        ("cpu/cpu.cfs_quota_us", "200000\n", 2),
        ("cpu/cpu.cfs_quota_us", "-1\n", 64),
    ],
)
def test_cores_beyond_a_quota_do_not_count(monkeypatch, tmp_path, name, content, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.setattr(base.runtime, "CGROUPS", tmp_path)
    monkeypatch.setattr(base.runtime, "OWN_CGROUP", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text("1:cpu:/\n0::/own/group\n")
    for each, text in (("cpu/cpu.cfs_period_us", "100000\n"), (name, content)):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(text)
    assert visible_cores() == cores


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
    ("flags", "precision"),
    [("avx2 avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), ("avx512f bf16", "float32")],
)
def test_bfloat16_is_fast_where_linux_says_so(monkeypatch, flags, precision):
    monkeypatch.setattr(base.runtime, "BFLOAT16_FLAGS", {"avx512_bf16", "amx_bf16"})
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags\t\t: fpu {flags}\n")
    assert base.runtime.fast_precision() == precision
    monkeypatch.setattr(Path, "read_text", Mock(side_effect=FileNotFoundError))
    assert base.runtime.fast_precision() == "float32"
