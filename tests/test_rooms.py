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
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module)
    return {name.split(".")[0] for name in names} & {*ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_lower_ones(room):
    allowed = {*ROOMS[: ROOMS.index(room) + 1]}
    if room in INDEPENDENT:
        allowed -= INDEPENDENT - {room}
    found = {path.name: imported_rooms(path) for path in files_of(room)}
    assert {name: rooms - allowed for name, rooms in found.items() if rooms - allowed} == {}


def test_every_module_of_the_product_is_in_a_room():
    tracked = {path.stem for path in PROJECT.glob("*.py")}
    tracked |= {path.parent.name for path in PROJECT.glob("*/__init__.py")}
    assert tracked - {"tests", "benchmarks"} == {*ROOMS}


def test_no_room_holds_more_than_a_fifth_of_the_statements():
    sizes = {room: sum(map(count_statements, files_of(room))) for room in ROOMS}
    assert max(sizes.values()) <= 0.2 * sum(sizes.values()), sizes


def count_statements(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docstrings = [
        node
        for node in nodes
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return sum(isinstance(node, ast.stmt) for node in nodes) - len(docstrings)
