"""The notebook: it runs from top to bottom with the solutions of its exercises, its claims stand in
its outputs, and each check says what is wrong with a wrong answer."""

import itertools
import os
import re
import signal
import subprocess
import sys

import nbclient
import nbformat
import pytest

from base.files import read_json
from tests.conftest import PROJECT

NOTEBOOK = PROJECT / "docs" / "fire_module.ipynb"
NUM_STEPS = 10  # in place of the notebook's own, which train for minutes
MISSING = r"should be .*, but is missing; you have the"
# Answers to the exercises: its number, what is changed in its solution, and the check's words.
WRONG = (
    (0, '"squeeze"', '"first"', rf"variable .*/kernel {MISSING} variable fire1/first/kernel"),
    (0, "squeezed_inputs, e", "inputs, e", r"variable fire1/expand1x1/kernel .* but is .*64, 64\)"),
    (0, "axis=-1", "axis=1", r"operation fire1/concat .*, 12, 12, 128\), but .*, 24, 12, 64\)"),
    (0, "        return", "    return", rf"operation fire1/concat/axis {MISSING} .* concat/axis"),
    (0, "return", "result =", "the result should be fire1/concat:0, but is None"),
    (1, " + 64", "", "squeeze: 4,096 is too few; only the biases are missing"),
    (1, "3 * 3 * 64", "3 * 3 * 128", "expand3x3: 73,792 is too many"),
    (2, "16", "17", "17 .* 12,113 parameters, 769 more than half of 22,688"),
    (2, "16", "15", "15 .* 10,703 parameters, 641 fewer than half of 22,688"),
    (3, '"squeeze"', '"first"', rf"variable .*/kernel {MISSING} variable fire1/first/kernel"),
    (3, "32", "64", r"variable fire1/squeeze/kernel .* \(1, 1, 64, 32\), but is .*64, 64\)"),
)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def exercises(notebook) -> list[tuple]:
    """Each cell that waits for an answer, its last line, and the solution folded away below it."""
    return [
        (
            cell,
            cell.source.splitlines()[-1],
            re.match(r"<details>.*?```python\n(.*?)```.*</details>$", below.source, re.DOTALL)[1],
        )
        for cell, below in itertools.pairwise(notebook.cells)
        if "\nlesson.check_" in cell.source
    ]


@pytest.fixture(scope="module")
def stored():
    """The notebook as it is stored."""
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook, executed here with the solutions, fewer steps and, at its end, wrong answers;
    in a folder from which it finds the project."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    found = exercises(notebook)
    for number, right, wrong, _ in WRONG:
        _, check, solution = found[number]
        assert right in solution
        notebook.cells.append(
            nbformat.v4.new_code_cell(f"{solution.replace(right, wrong)}\n{check}")
        )
    for cell, check, solution in found:
        cell.source = f"{solution}\n{check}"
    (training,) = [cell for cell in code_cells(notebook) if "STEPS = " in cell.source]
    training.source = re.sub(r"(?<=STEPS = )\d+", str(NUM_STEPS), training.source)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(variable, str(folder))
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        try:
            return nbclient.execute(
                notebook,
                cwd=str(NOTEBOOK.parent),
                timeout=300,
                kernel_name="python3",
                coalesce_streams=True,
            )
        finally:
            for info in (folder / ".tensorboard-info").glob("*.info"):
                os.kill(read_json(info)["pid"], signal.SIGTERM)


@pytest.fixture(params=["stored", "executed"])
def notebook(request):
    return request.getfixturevalue(request.param)


def text(cell) -> str:
    """What a cell has printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def printed(notebook, containing: str) -> str:
    """What the first code cell whose source contains a text has printed."""
    return text(next(cell for cell in code_cells(notebook) if containing in cell.source))


PHOTO = r", [a-z]+ \d+%, [a-z]+ \d+%, [a-z]+ \d+%\n"
ACCURACIES = r"( +\d+\.\d%){2}\n"
# By what only its cell contains: what each claim of the notebook comes to.
CLAIMS = {
    '"large"': r"45,000 weights against 5,000: 9x\n",
    "ones_initializer": r"1x1 reaches 1 of 25 .*\n(.*\n){5}3x3 reaches 9 of 25 .*\n(.*\n){5}",
    '"intermediate"': r"510 \+ 9,100 = 9,610\nfewer by a factor of 4\.69\n",
    "variable.op.name:25": r"(.*\n)+fire1/expand3x3/kernel +\[3, 3, 32, 64\] +18,432\n(.*\n)"
    r"fire1 +22,688\n64 channels in, 128 out\n",
    '"plain 3x3 convolution", "fire1"': r"fewer by a factor of 3\.26\n",
    "two fire modules": r"two fire modules, 6 variables\n",
    '"final_conv"': r"(.*\n)+total +146,570\n",
    "halfway =": r".* after [\d,]+ steps  after [\d,]+\n"
    rf" +0\.031 +22,810{ACCURACIES} +0\.125 +75,850{ACCURACIES}"
    rf" +0\.250 +146,570{ACCURACIES} +0\.500 +288,010{ACCURACIES}",
    "PHOTOS": rf"flower\.jpg{PHOTO}china\.jpg{PHOTO}",
}


@pytest.mark.parametrize("containing", CLAIMS)
def test_every_claim_is_right(notebook, containing):
    assert re.fullmatch(CLAIMS[containing], printed(notebook, containing))


def test_each_exercise_waits_for_an_answer_in_the_stored_notebook(stored):
    assert all(text(cell).startswith("Not yet: ") for cell, *_ in exercises(stored))
    assert printed(stored, "check_reuse") == (  # the broken scope
        "Not yet: variable fire1_1/squeeze/kernel should be absent, but is of shape "
        "(1, 1, 64, 32).\n"
    )


def test_each_solution_is_right(executed):
    said = [text(cell) for cell in code_cells(executed) if "\nlesson.check_" in cell.source]
    assert [words[:6] for words in said[: -len(WRONG)]] == ["Right!"] * 4


@pytest.mark.parametrize("place", range(len(WRONG)))
def test_each_check_names_what_is_wrong(executed, place):
    said = text(executed.cells[place - len(WRONG)])
    assert re.fullmatch(f"Not yet: {WRONG[place][-1]}\\.\n", said)


def test_every_cell_ran_in_order_without_an_error_or_a_warning(notebook):
    for number, cell in enumerate(code_cells(notebook), start=1):
        kinds = {output.get("name", output.output_type) for output in cell.outputs}
        assert (cell.execution_count, kinds & {"error", "stderr"}) == (number, set())


def test_draws_the_arithmetic_the_module_the_images_and_the_trainings(notebook):
    assert [
        re.search(r"lesson\.(bars|draw_fire_module|show_images|plot)\(", cell.source)[1]
        for cell in code_cells(notebook)
        if any("image/png" in output.get("data", {}) for output in cell.outputs)
    ] == [
        *("bars", "bars", "draw_fire_module", "bars"),
        *("show_images", "plot", "show_images", "plot", "show_images"),
    ]


def test_opens_tensorboard(notebook):
    (cell,) = [cell for cell in code_cells(notebook) if "%tensorboard" in cell.source]
    assert any("tensorboard-frame" in str(output["data"]) for output in cell.outputs)


def test_the_stored_training_has_learned(stored):
    accuracies, loss = printed(stored, "curve, answers").splitlines()
    assert int(accuracies.split()[-1].removesuffix("%")) > 90
    assert float(loss.split()[1]) == pytest.approx(2.303, abs=0.2)  # as the text below it says


def test_the_stored_narrow_net_learns_more_slowly_and_is_still_learning(stored):
    table = printed(stored, "halfway =").replace("%", "").splitlines()[1:]
    halfway, at_the_end = zip(*(map(float, row.split()[2:]) for row in table), strict=True)
    assert max(halfway[1:]) - halfway[0] > max(at_the_end[1:]) - at_the_end[0] > 10


def test_starts_in_the_projects_folder_too(stored):
    code = "\n".join(cell.source for cell in code_cells(stored)[:2])
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


def test_is_small_and_names_no_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 500_000
    assert not re.search(r"/(home|Users|root|tmp|work)/", text)
    assert sys.prefix not in text


def test_every_link_to_a_file_leads_to_one(stored):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", "".join(cell.source for cell in stored.cells))
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []
