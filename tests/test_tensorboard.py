"""Starts TensorBoard on two runs, and checks over HTTP what it shows."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest

from tests.conftest import train_here

SECOND_RUN = (
    *("--recipe", "chapter", "--run_dir", "runs/chapter"),
    *("--num_epochs", 1, "--eval_every", 100),
)


class Server:
    """A TensorBoard on a free port of this machine."""

    def __init__(self, logdir):
        flags = ("--logdir", logdir, "--port", "0", "--host", "127.0.0.1", "--load_fast", "false")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", *map(str, flags)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for line in self._process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self._address = found[0]
                return
        raise AssertionError("TensorBoard did not start")

    def stop(self):
        self._process.kill()
        self._process.communicate()

    def ask(self, path, **query) -> bytes:
        """The answer to a request for a path of /data."""
        url = f"{self._address}/data/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.read()

    def plugin(self, name, path="tags", **query):
        """The JSON that a plugin answers."""
        return json.loads(self.ask(f"plugin/{name}/{path}", **query))

    def hparams(self, path, **body):
        """The JSON that the HParams tab gets."""
        request = urllib.request.Request(
            f"{self._address}/data/plugin/hparams/{path}",
            json.dumps({"experimentName": "", **body}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


@pytest.fixture(scope="module")
def server(trained):
    """TensorBoard on the parent folder of two runs of different recipes, once it has read both."""
    second = train_here(*SECOND_RUN, cwd=trained.run_dir.parents[1])
    assert second.returncode == 0, second.stderr
    server = Server(trained.run_dir.parent)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            tags = server.plugin("images")
            if all("worst" in tags.get(f"{run}/eval", ()) for run in ("digits", "chapter")):
                break
            time.sleep(0.2)
        yield server
    finally:
        server.stop()


def test_finds_train_and_eval_as_runs(server):
    runs = {"digits/train", "digits/eval", "chapter/train", "chapter/eval"}
    assert set(json.loads(server.ask("runs"))) == runs


def test_has_both_curves_in_one_chart(server):
    tags = server.plugin("scalars")
    for run in ("digits/train", "digits/eval"):
        assert {"loss", "accuracy"} <= set(tags[run])


def test_has_a_histogram_of_every_variable_grouped_by_scope(server):
    tags = set(server.plugin("histograms")["digits/eval"])
    assert len(tags) == 28
    for layer in ("1_squeeze", "2_expand1x1", "3_expand3x3"):
        assert {f"scope2_fire1/{layer}/kernel", f"scope2_fire1/{layer}/bias"} <= tags
    tag = "scope2_fire1/1_squeeze/bias"
    points = server.plugin("histograms", "histograms", run="digits/eval", tag=tag)
    assert [step for _, step, _ in points] == [0, 150, 300, 375]


def test_has_the_curves_of_each_scope_in_both_runs(server):
    tags = server.plugin("scalars")
    for run in ("digits", "chapter"):
        for scope in ("scope1_conv1", "scope3_fire2/1_squeeze", "scope6_final_conv"):
            for measure in ("norm", "update_ratio", "gradient_norm"):
                assert f"{scope}/kernel/{measure}" in tags[f"{run}/train"]
            assert f"{scope}/activation/zeros" in tags[f"{run}/eval"]
    tag = "scope1_conv1/kernel/update_ratio"
    points = server.plugin("scalars", "scalars", run="digits/train", tag=tag)
    assert [step for _, step, _ in points] == [*range(20, 375, 20), 375]


def test_has_one_chart_for_each_fire_module(server):
    layout = server.plugin("custom_scalars", "layout")
    titles = [category["title"] for category in layout["category"]]
    assert titles[0] == "update-to-weight ratio"
    for category in layout["category"]:
        charts = category["chart"]
        assert [chart["title"] for chart in charts] == ["fire1", "fire2", "fire3", "fire4"]
    found = []
    for tag in layout["category"][0]["chart"][0]["multiline"]["tag"]:
        lines = server.plugin("custom_scalars", "scalars", run="chapter/train", tag=tag)
        found += lines["tag_to_events"]
    layers = ("1_squeeze", "2_expand1x1", "3_expand3x3")
    assert found == [f"scope2_fire1/{layer}/kernel/update_ratio" for layer in layers]


def test_has_the_images(server):
    tags = server.plugin("images")
    assert set(tags["digits/train"]) == {"augmented"}
    assert set(tags["digits/eval"]) == {"scope1_conv1/filters", "confusion_matrix", "worst"}
    filters = {"run": "digits/eval", "tag": "scope1_conv1/filters", "sample": 0}
    shown = server.plugin("images", "images", **filters)
    assert [image["step"] for image in shown] == [0, 150, 300, 375]
    png = server.ask(f"plugin/images/individualImage?{shown[0]['query']}&")
    assert png.startswith(b"\x89PNG")


def test_has_settings_and_scopes_as_text(server):
    assert set(server.plugin("text")["digits/train"]) == {"settings", "scopes"}
    settings = server.plugin("text", "text", run="digits/train", tag="settings")[0]["text"]
    assert re.search(r"<td>learning_rate</td>\s*<td>0\.02</td>", settings)
    scopes = server.plugin("text", "text", run="digits/train", tag="scopes")[0]["text"]
    assert "<td>146,570</td>" in scopes
    assert re.search(r"<td>(\u2003|&emsp;)expand3x3</td>", scopes)  # indented


def test_shows_the_chapters_net_and_nothing_else(server):
    graph = server.ask("plugin/graphs/graph", run="digits/train", conceptual="false").decode()
    tops = {name.split("/")[0] for name in re.findall(r'^  name: "(.*)"', graph, re.MULTILINE)}
    assert tops == {
        *("input", "labels", "conv1", "pool1", "fire1", "fire2", "pool2", "fire3", "fire4"),
        *("dropout", "final_conv", "average_pool", "logits", "probs", "loss"),
        *("predictions", "accuracy"),
    }


class TestTheHparamsTab:
    def test_has_columns_that_every_run_fills(self, server):
        experiment = server.hparams("experiment", includeMetrics=True)
        names = {hparam["name"] for hparam in experiment["hparamInfos"]}
        assert names == {"learning_rate", "num_epochs", "recipe", "squeeze_ratio"}
        metrics = [metric["name"]["tag"] for metric in experiment["metricInfos"]]
        assert metrics == ["accuracy", "loss"]
        for trial in self.trials(server).values():
            assert set(trial["hparams"]) == names

    def test_has_a_trial_for_each_run_named_after_it(self, server, trained):
        trials = self.trials(server)
        folder = "in runs"
        assert set(trials) == {f"digits {folder}", f"chapter {folder}"}
        assert trials[f"digits {folder}"]["hparams"]["recipe"] == "tuned"
        assert trials[f"chapter {folder}"]["hparams"]["recipe"] == "chapter"

    def test_shows_the_last_accuracy_and_loss(self, server, trained):
        results = json.loads((trained.run_dir / "results.json").read_text())
        for metric in self.trials(server)["digits in runs"]["metricValues"]:
            assert metric["value"] == pytest.approx(results[metric["name"]["tag"]])

    @staticmethod
    def trials(server):
        """The session groups by name."""
        groups = server.hparams(
            "session_groups",
            includeMetrics=True,
            startIndex=0,
            sliceSize=10,
            allowedStatuses=["STATUS_UNKNOWN"],
            colParams=[],
        )["sessionGroups"]
        return {group["name"]: group for group in groups}
