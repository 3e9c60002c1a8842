"""`pip install .` installs the whole project, and every command starts at once from any folder."""

import importlib
import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import PROJECT

CONFIG = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = CONFIG["project"]["scripts"]
EXTRAS = CONFIG["project"]["optional-dependencies"]


def test_every_package_and_module_is_installed():
    packages = {path.parent.name for path in PROJECT.glob("*/__init__.py")} | {"pretrained"}
    modules = {path.stem for path in PROJECT.glob("*.py")}
    assert {*CONFIG["tool"]["setuptools"]["packages"]} == packages - {"tests", "benchmarks"}
    assert {*CONFIG["tool"]["setuptools"]["py-modules"]} == modules


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("requirements.txt", [*CONFIG["project"]["dependencies"], *EXTRAS["test"]]),
        ("requirements-export.txt", EXTRAS["export"]),
        ("requirements-notebook.txt", EXTRAS["notebook"]),
    ],
)
def test_the_requirements_are_those_of_the_package_and_its_extras(name, expected):
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    listed = {line.split("#")[0].strip() for line in lines} - {"", "-r requirements.txt"}
    assert listed == {*expected}


@pytest.mark.parametrize("target", COMMANDS.values(), ids=COMMANDS)
def test_every_command_is_installed_and_starts_by_its_path_from_any_folder(target, tmp_path):
    module, function = target.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    path = PROJECT / f"{module.removeprefix('command.').replace('.', '/')}.py"
    command = [sys.executable, str(path), "--help"]
    assert subprocess.check_output(command, cwd=tmp_path, text=True).startswith("usage: ")


def test_the_help_of_training_names_every_default_and_waits_for_no_large_package(tmp_path):
    process = subprocess.run(
        [sys.executable, "-X", "importtime", str(PROJECT / "train.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "argparse" in process.stderr
    assert not re.search(r"\b(tensorflow|numpy|sklearn|scipy|matplotlib|PIL)\b", process.stderr)
    switches = r"--(help|eval_only|watch|summarize_layers|class_weights|no_flip)\b"
    for flag in re.findall(r"^  (--\w+)", process.stdout, re.MULTILINE):
        text = process.stdout.split(f"\n  {flag}")[1].split("\n  --")[0]
        assert re.match(switches, flag) or "(default: " in " ".join(text.split()), flag
