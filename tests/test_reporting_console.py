"""The command that shows a run in TensorBoard is one that the shell can run."""

import dataclasses
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data import Split
from reporting.console import print_plan, tensorboard_command
from squeezenet_model import SqueezeNetModel
from tests.conftest import short_schedule
from training.plan import Plan


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """A folder for the programs "python", which runs, and "tensorboard"."""
    (tmp_path / "python").touch(mode=0o755)
    system = SimpleNamespace(platform="linux", executable=str(tmp_path / "python"))
    monkeypatch.setattr("reporting.console.sys", system)
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
    program, *rest = ["tensorboard"] if is_there else ["python", "-m", "tensorboard.main"]
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
    system = SimpleNamespace(platform="win32", executable=r"C:\My Python\python.exe")
    monkeypatch.setattr("reporting.console.sys", system)
    assert tensorboard_command(Path("my runs")) == (
        r'"C:\My Python\python.exe" -m tensorboard.main --logdir "my runs"'
    )


@pytest.mark.parametrize(("counts", "is_told"), [((10, 100, 40), False), ((40, 404, 90), True)])
def test_weights_are_suggested_for_classes_that_differ_by_more_than_10_to_1(
    tiny_dataset, capsys, counts, is_told
):
    labels = np.repeat([0, 1, 2], counts).astype(np.int32)
    dataset = dataclasses.replace(
        tiny_dataset, train=Split(np.zeros([len(labels), 192], np.uint8), labels)
    )
    print_plan(Plan(SqueezeNetModel(8, 6, 3), dataset, short_schedule(), None))
    told = (
        f"the classes are unbalanced: 404 training images of {dataset.class_names[1]}, but 40 of "
        f"{dataset.class_names[0]}; weighting the classes may help (--class_weights)\n"
    )
    assert capsys.readouterr().err == (told if is_told else "")
