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


class TestClaims:
    """In the stored notebook and in one that has just been executed."""

    def test_a_3x3_kernel_has_9_times_the_weights(self, notebook):
        assert printed(notebook, '"large"') == "45,000 weights against 5,000: 9x\n"

    def test_a_3x3_kernel_reaches_9_outputs_and_a_1x1_kernel_one(self, notebook):
        text = printed(notebook, "ones_initializer")
        assert re.findall(r"(\dx\d) reaches (\d+) of 25", text) == [("1x1", "1"), ("3x3", "9")]

    def test_the_plain_layer_has_45100_parameters(self, notebook):
        assert printed(notebook, '"plain"') == "45,100\n"

    def test_with_an_intermediate_layer_510_9610_and_nearly_5(self, notebook):
        text = printed(notebook, '"intermediate"')
        assert [line.split()[-1] for line in text.splitlines()] == ["510", "9,610", "4.69", "True"]

    def test_the_concatenation_doubles_the_channels(self, notebook):
        assert printed(notebook, "by_hand:").endswith("64 channels doubled to 128\n")

    def test_by_hand_and_with_the_class_the_operations_are_the_same(self, notebook):
        text = printed(notebook, "as with_class:")
        assert text.endswith("same operations as by hand: True\n")
        assert re.search(r"^fire1/expand3x3/kernel +\[3, 3, 32, 64\] +18,432$", text, re.MULTILINE)
        assert re.search(r"^fire1 +22,688$", text, re.MULTILINE)

    def test_keras_layers_do_not_share_weights_and_lose_the_scopes(self, notebook):
        ours, shared, keras, doubled, model = printed(notebook, "KerasModel(").splitlines()
        assert ours == "SqueezeNetModel: 6 variables"
        assert keras == "KerasModel: 12 variables"
        assert "fire1_1" in doubled
        assert "fire1_1" not in shared
        assert model == "Keras model: squeeze/kernel:0 squeeze/bias:0"

    def test_the_net_has_146570_parameters(self, notebook):
        assert printed(notebook, '"final_conv"').split()[-1] == "146,570"

    def test_larger_squeeze_ratios_have_more_parameters(self, notebook):
        _, *rows = printed(notebook, "OtherModel(").splitlines()
        filters, ratios, _, more_ratios, counts, _ = zip(*map(str.split, rows), strict=True)
        assert filters == ("4", "16", "32", "64")
        assert ratios == ("0.031", "0.125", "0.250", "0.500")
        assert more_ratios == ("0.016", "0.062", "0.125", "0.250")
        assert counts == ("22,810", "75,850", "146,570", "288,010")

    def test_names_what_is_on_both_photos(self, notebook):
        lines = printed(notebook, "PHOTOS").splitlines()
        assert [line.split(",")[0] for line in lines] == ["flower.jpg", "china.jpg"]
        assert all(re.search(r", [a-z]+ \d+%, [a-z]+ \d+%, [a-z]+ \d+%$", line) for line in lines)


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
