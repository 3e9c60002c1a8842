"""The rooms of the project (CONTRIBUTING.md): imports lead downwards, and no room is too large."""

import ast

import pytest

from tests.conftest import PROJECT

# From the lowest to the highest: a room imports only those before it.
ROOMS = (
    *("squeezenet_model", "base", "data", "imagenet", "saved", "training"),
    *("evaluation", "reporting", "cluster", "exports", "train", "command", "tools"),
)
INDEPENDENT = {"reporting", "cluster", "exports"}  # these three do not import each other


def files_of(room):
    folder = PROJECT / room
    return sorted(folder.glob("*.py")) if folder.is_dir() else [PROJECT / f"{room}.py"]


def imported_rooms(path):
    """The rooms that a file imports, whether at its top or within functions."""
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names} & {*ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_lower_ones(room):
    higher = {*ROOMS[ROOMS.index(room) + 1 :]}
    forbidden = higher | (INDEPENDENT - {room} if room in INDEPENDENT else set())
    found = {path.name: imported_rooms(path) & forbidden for path in files_of(room)}
    assert not any(found.values()), found


def test_every_module_of_the_product_is_in_a_room():
    tracked = {path.stem for path in PROJECT.glob("*.py")}
    tracked |= {path.parent.name for path in PROJECT.glob("*/__init__.py")}
    assert tracked - {"tests", "benchmarks"} == {*ROOMS}


def test_no_room_holds_more_than_a_fifth_of_the_statements():
    sizes = {room: sum(map(count_statements, files_of(room))) for room in ROOMS}
    assert max(sizes.values()) <= 0.2 * sum(sizes.values()), sizes


def count_statements(path):
    """The statements of a file but docstrings, which are strings that stand alone."""
    return sum(
        isinstance(node, ast.stmt)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
