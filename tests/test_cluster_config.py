"""TF_CONFIG: how it is read, and the errors for invalid values."""

import json

import pytest
import yaml

import train
from cluster.config import read_config
from tests.conftest import PROJECT

CLUSTER = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}


def config(job="worker", index=0, **changes):
    return json.dumps({"cluster": CLUSTER | changes, "task": {"type": job, "index": index}})


def test_names_the_tasks_that_train_the_chief_first():
    found = read_config(config("worker", 1))
    assert found.tasks == {"chief": "a:1", "worker 0": "b:2", "worker 1": "c:3"}
    assert (found.job, found.index) == ("worker", 1)


def test_takes_tf1s_older_name_for_the_chief():
    cluster = {"master": ["a:1"], "worker": ["b:2"]}
    text = json.dumps({"cluster": cluster, "task": {"type": "master", "index": 0}})
    assert read_config(text) == ({"chief": ["a:1"], "worker": ["b:2"]}, "chief", 0)


def test_knows_an_evaluator():
    assert read_config(config("evaluator")).job == "evaluator"


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "{}", '{"cluster": {}}'),
        json.dumps({"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}),
    ],
)
def test_a_single_process_is_not_a_cluster(text):
    assert read_config(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not of the form"),
        ('{"cluster": 1}', "is not of the form"),
        ('{"cluster": {"chief": 7}, "task": {"type": "chief", "index": 0}}', "is not of the form"),
        (json.dumps({"cluster": CLUSTER}), "is not of the form"),
        (config("boss"), "there is no job 'boss'"),
        (config(boss=["e:5"]), "there is no job 'boss'"),
        (config(["chief"]), "is not of the form"),
        (config("worker", 2), "there is no worker 2, only 2"),
        (config("worker", -1), "there is no worker -1"),
        (config("worker", "0"), "there is no worker '0'"),
        (config("worker", True), "there is no worker True"),
        (config("evaluator", 1), "there is no evaluator 1"),
        (config(chief=[]), "has 0 chiefs"),
        (config(chief=["a:1", "e:5"]), "has 2 chiefs"),
        (config(ps=["d:4"]), "parameter servers, but none are needed"),
        (config("ps"), "parameter servers, but none are needed"),
        (config(worker=["d"]), "'d' is not an address"),
        (config(worker=["d:0"]), "'d:0' is not an address"),
        (config(worker=["d:65536"]), "'d:65536' is not an address"),
        (config(worker=[4]), "4 is not an address"),
        (config(worker=["d..example:4"]), "'d..example:4' is not an address"),
        (config(worker=["d:" + "4" * 5_000]), "is not an address"),
        (config(worker="d:4"), "is not of the form"),
        (config(worker=["a:1"]), "a:1 occurs twice"),
    ],
)
def test_an_invalid_value_is_one_sentence(monkeypatch, capsys, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    assert train.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train.py: error: TF_CONFIG: ")
    assert words in error
    assert error.count("\n") == 1


class TestTheExampleForKubernetes:
    @pytest.fixture
    def documents(self):
        text = (PROJECT / "docs" / "kubernetes.yaml").read_text()
        return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}

    def test_gives_every_pod_its_task(self, documents):
        cluster = documents["ConfigMap", "squeezenet"]["data"]["cluster"]
        service = documents["Service", "squeezenet"]["metadata"]["name"]
        for job in ("chief", "worker"):
            spec = documents["Job", f"squeezenet-{job}"]["spec"]
            (container,) = spec["template"]["spec"]["containers"]
            values = {each["name"]: each.get("value") for each in container["env"]}
            assert spec["completions"] == spec["parallelism"]
            assert spec["template"]["spec"]["subdomain"] == service
            for index in range(spec["completions"]):
                # As Kubernetes puts earlier variables into later ones.
                text = values["TF_CONFIG"].replace("$(CLUSTER)", cluster)
                place = read_config(text.replace("$(INDEX)", str(index)))
                assert (place.job, place.index) == (job, index)
                address = place.addresses[job][index]
                assert address == f"squeezenet-{job}-{index}.{service}:2222"
            assert len(place.addresses[job]) == spec["completions"]

    def test_admits_only_the_cluster(self, documents):
        spec = documents["NetworkPolicy", "squeezenet"]["spec"]
        (rule,) = spec["ingress"]
        assert rule["from"] == [{"podSelector": spec["podSelector"]}]
        for job in ("chief", "worker"):
            labels = documents["Job", f"squeezenet-{job}"]["spec"]["template"]["metadata"]["labels"]
            assert labels == spec["podSelector"]["matchLabels"]
