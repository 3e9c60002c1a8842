"""`pip install .` installs the whole project, and every command starts from any folder."""

import importlib
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import PROJECT

CONFIG = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = CONFIG["project"]["scripts"]
NOT_INSTALLED = {"tests", "benchmarks"}


def test_every_package_and_module_is_installed():
    packages = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - NOT_INSTALLED
    modules = {path.stem for path in PROJECT.glob("*.py")}
    assert {*CONFIG["tool"]["setuptools"]["packages"]} == packages | {"pretrained"}
    assert {*CONFIG["tool"]["setuptools"]["py-modules"]} == modules


@pytest.mark.parametrize("target", COMMANDS.values(), ids=COMMANDS)
def test_every_command_is_there(target):
    module, function = target.split(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("target", COMMANDS.values(), ids=COMMANDS)
def test_every_command_starts_by_its_path_from_any_folder(target, tmp_path):
    path = PROJECT / (target.split(":")[0].replace(".", "/") + ".py")
    command = [sys.executable, str(path), "--help"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.stdout.startswith("usage: "), process.stderr
    assert process.returncode == 0
