"""What TensorBoard itself says of a run: it is started, and asked over HTTP."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest


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


@pytest.fixture(scope="module")
def server(trained):
    """TensorBoard on the folder above the trained run, when it has read it."""
    server = Server(trained.run_dir.parent)
    try:
        deadline = time.monotonic() + 30
        while (
            "confusion_matrix" not in str(server.plugin("images")) and time.monotonic() < deadline
        ):
            time.sleep(0.2)
        yield server
    finally:
        server.stop()


def test_finds_train_and_eval_as_runs(server):
    assert set(json.loads(server.ask("runs"))) == {"digits/train", "digits/eval"}


def test_has_both_curves_in_one_chart(server):
    tags = server.plugin("scalars")
    for run in ("digits/train", "digits/eval"):
        assert {"loss", "accuracy"} <= set(tags[run])


def test_has_a_histogram_of_every_variable_grouped_by_scope(server):
    tags = set(server.plugin("histograms")["digits/eval"])
    assert len(tags) == 28
    for layer in ("squeeze", "expand1x1", "expand3x3"):
        assert {f"fire1/{layer}/kernel", f"fire1/{layer}/bias"} <= tags
    points = server.plugin("histograms", "histograms", run="digits/eval", tag="fire1/squeeze/bias")
    assert [step for _, step, _ in points] == [0, 150, 300, 375]


def test_has_the_images(server):
    tags = server.plugin("images")
    assert set(tags["digits/train"]) == {"augmented"}
    assert set(tags["digits/eval"]) == {"conv1/filters", "confusion_matrix", "worst"}
    shown = server.plugin("images", "images", run="digits/eval", tag="conv1/filters", sample=0)
    assert [image["step"] for image in shown] == [0, 150, 300, 375]
    png = server.ask(f"plugin/images/individualImage?{shown[0]['query']}&")
    assert png.startswith(b"\x89PNG")


def test_has_settings_and_scopes_as_text(server):
    assert set(server.plugin("text")["digits/train"]) == {"settings", "scopes"}
    settings = server.plugin("text", "text", run="digits/train", tag="settings")[0]["text"]
    assert re.search(r"<td>learning_rate</td>\s*<td>0\.02</td>", settings)
    scopes = server.plugin("text", "text", run="digits/train", tag="scopes")[0]["text"]
    assert "<td>146,570</td>" in scopes


def test_shows_the_chapters_net_and_nothing_else(server):
    graph = server.ask("plugin/graphs/graph", run="digits/train", conceptual="false").decode()
    tops = {name.split("/")[0] for name in re.findall(r'^  name: "(.*)"', graph, re.MULTILINE)}
    assert tops == {
        *("input", "labels", "conv1", "pool1", "fire1", "fire2", "pool2", "fire3", "fire4"),
        *("dropout", "final_conv", "average_pool", "logits", "probs", "loss"),
        *("predictions", "accuracy"),
    }


def test_compares_settings_in_its_hparams_tab(server):
    body = json.dumps({"experimentName": "", "includeMetrics": True}).encode()
    url = f"{server._address}/data/plugin/hparams/experiment"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        experiment = json.load(response)
    names = {hparam["name"] for hparam in experiment["hparamInfos"]}
    assert names == {"dataset", "learning_rate", "num_epochs", "recipe", "squeeze_ratio"}
    assert "accuracy" in {metric["name"]["tag"] for metric in experiment["metricInfos"]}
