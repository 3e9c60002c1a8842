"""The notebook: it runs from top to bottom, and its claims stand in its outputs."""

import json
import os
import re
import signal
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import PROJECT

NOTEBOOK = PROJECT / "docs" / "fire_module.ipynb"
NUM_STEPS = 4  # in place of the notebook's own, which train for a minute


def stop_tensorboard(temporary_folder) -> None:
    """Ends the TensorBoards that were started with this folder as TMPDIR."""
    for info in (temporary_folder / ".tensorboard-info").glob("*.info"):
        os.kill(json.loads(info.read_text(encoding="utf-8"))["pid"], signal.SIGTERM)


@pytest.fixture(scope="module")
def stored():
    """The notebook as it is stored."""
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook, executed here with fewer steps, in a folder from which it finds the project."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTEBOOK_STEPS", str(NUM_STEPS))
        for variable in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(variable, str(folder))
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        try:
            client.execute()
        finally:
            stop_tensorboard(folder)
    return notebook


@pytest.fixture(params=["stored", "executed"])
def notebook(request):
    return request.getfixturevalue(request.param)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook, containing: str) -> str:
    """What the one code cell whose source contains a text has printed."""
    (cell,) = [cell for cell in code_cells(notebook) if containing in cell.source]
    streams = [output.text for output in cell.outputs if output.output_type == "stream"]
    return "".join(streams)


PHOTO = r", [a-z]+ \d+%, [a-z]+ \d+%, [a-z]+ \d+%\n"
# By what only its cell contains: what each claim of the notebook comes to.
CLAIMS = {
    '"large"': r"45,000 weights against 5,000: 9x\n",
    "ones_initializer": r"1x1 reaches 1 of 25 .*\n(.*\n){5}3x3 reaches 9 of 25 .*\n(.*\n){5}",
    '"plain"': r"45,100\n",
    '"intermediate"': r".* 510\n.* 9,610\n.* 4\.69\n.* True\n",
    "by_hand:": r"(.*\n)+64 channels doubled to 128\n",
    "as with_class:": r"(.*\n)+fire1/expand3x3/kernel +\[3, 3, 32, 64\] +18,432\n(.*\n)"
    r"fire1 +22,688\nsame operations as by hand: True\n",
    # Keras layers do not share their weights, and lose their scopes.
    "KerasModel(": r"SqueezeNetModel: 6 variables\n(?!.*fire1_1).*\nKerasModel: 12 variables\n"
    r".*fire1_1.*\nKeras model: squeeze/kernel:0 squeeze/bias:0\n",
    '"final_conv"': r"(.*\n)+total +146,570\n",
    "OtherModel(": r".*\n +4  0\.031 and 0\.016 +22,810 .*\n +16  0\.125 and 0\.062 +75,850 .*\n"
    r" +32  0\.250 and 0\.125 +146,570 .*\n +64  0\.500 and 0\.250 +288,010 .*\n",
    "PHOTOS": rf"flower\.jpg{PHOTO}china\.jpg{PHOTO}",
}


@pytest.mark.parametrize("containing", CLAIMS)
def test_every_claim_is_right(notebook, containing):
    assert re.fullmatch(CLAIMS[containing], printed(notebook, containing))


class TestOutputs:
    def test_every_cell_ran_in_order_without_an_error(self, notebook):
        cells = code_cells(notebook)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]

    def test_draws_the_fire_module_the_curves_and_the_photos(self, notebook):
        drawing = [
            cell.source
            for cell in code_cells(notebook)
            if any("image/png" in output.get("data", {}) for output in cell.outputs)
        ]
        assert len(drawing) == 3
        assert "draw_fire_module" in drawing[0]

    def test_opens_tensorboard(self, notebook):
        (cell,) = [cell for cell in code_cells(notebook) if "%tensorboard" in cell.source]
        html = [output["data"].get("text/html", "") for output in cell.outputs]
        assert "tensorboard-frame" in "".join(html)

    def test_the_stored_training_has_learned(self, stored):
        lines = printed(stored, "STEPS = ").splitlines()
        number = r"([\d.]+)"
        (_, loss, _), *_, (last_step, _, accuracy) = (
            re.fullmatch(rf"step +{number}  loss {number}  test accuracy {number}%", line).groups()
            for line in lines
        )
        assert float(loss) == pytest.approx(2.303, abs=0.2)  # as the text below it says
        assert last_step == "600"
        assert float(accuracy) > 90

    def test_the_executed_training_took_the_steps_it_was_told(self, executed):
        steps = re.findall(r"^step +(\d+)", printed(executed, "STEPS = "), re.MULTILINE)
        assert steps == [str(step) for step in range(1, NUM_STEPS + 1)]


def test_is_small_and_names_no_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 500_000
    assert not re.search(r"/(home|Users|root|tmp|work)/", text)
    assert sys.prefix not in text
