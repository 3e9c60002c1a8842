"""The command that shows a run in TensorBoard is one that the shell can run."""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from reporting import console
from reporting.console import tensorboard_command


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """A folder for the programs "python", which runs, and "tensorboard"."""
    (tmp_path / "python").touch(mode=0o755)
    fake = SimpleNamespace(platform="linux", executable=str(tmp_path / "python"))
    monkeypatch.setattr(console, "sys", fake)
    monkeypatch.setenv("PATH", "/nowhere")
    return tmp_path


needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="on Windows programs end in .exe")


@needs_posix
@pytest.mark.parametrize("in_path", [False, True])
@pytest.mark.parametrize("is_there", [False, True])
def test_tensorboard_is_started_as_it_is_found(monkeypatch, programs, is_there, in_path):
    if is_there:
        (programs / "tensorboard").touch(mode=0o755)
    if in_path:
        monkeypatch.setenv("PATH", str(programs))
    program = "tensorboard" if is_there else "python"
    rest = [] if is_there else ["-m", "tensorboard.main"]
    expected = shlex.join([program if in_path else str(programs / program), *rest])
    assert tensorboard_command(Path("a b")) == f"{expected} --logdir 'a b'"
    monkeypatch.chdir(programs.parent)
    assert tensorboard_command(Path("run")).startswith((program, f"{programs.name}/{program}"))


@needs_posix
def test_a_tensorboard_of_another_python_is_not_used(monkeypatch, programs):
    (programs / "other").mkdir()
    for name in ("python", "tensorboard"):
        (programs / "other" / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(programs / "other"))
    python = shlex.quote(str(programs / "python"))
    assert tensorboard_command(Path("run")) == f"{python} -m tensorboard.main --logdir run"


def test_windows_has_quotes_of_its_own(monkeypatch):
    fake = SimpleNamespace(platform="win32", executable=r"C:\My Python\python.exe")
    monkeypatch.setattr(console, "sys", fake)
    expected = r'"C:\My Python\python.exe" -m tensorboard.main --logdir "my runs"'
    assert tensorboard_command(Path("my runs")) == expected
