"""TF_CONFIG: how it is read, and the errors for invalid values."""

import json
import re

import pytest
import yaml

from base import UserError
from cluster.config import read_config
from tests.conftest import PROJECT

CLUSTER = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
TASKS = {"chief": "a:1", "worker 0": "b:2", "worker 1": "c:3"}
WITHOUT_CHIEF = {"chief": "b:2", "worker 1": "c:3"}

ALONE = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'


def config(job="worker", index=0, **changes):
    return json.dumps({"cluster": CLUSTER | changes, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    ("text", "tasks", "name"),
    [
        (config("chief"), TASKS, "chief"),
        (config("worker", 1), TASKS, "worker 1"),
        (config("worker", "1"), TASKS, "worker 1"),  # TensorFlow takes it, too
        (config("evaluator"), TASKS, "evaluator"),
        # Without a chief, worker 0 is the chief.
        (config("worker", 0, chief=[]), WITHOUT_CHIEF, "chief"),
        (config("worker", 1, chief=[]), WITHOUT_CHIEF, "worker 1"),
        (config("evaluator", 0, chief=[]), WITHOUT_CHIEF, "evaluator"),
        *(
            (config(worker=[address]), {"chief": "a:1", "worker 0": address}, "worker 0")
            for address in ("a.example.:2222", "10.0.0.1:65535", "[::1]:1")
        ),
    ],
)
def test_names_this_task_and_all_that_train(text, tasks, name):
    assert read_config(text) == (tasks, name, name.split()[0])


@pytest.mark.parametrize(
    "text", [None, "", "{}", '{"cluster": {}}', config("chief", worker=[]), ALONE]
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
        (config(chief=7), "is not of the form"),
        (config(worker="d:4"), "is not of the form"),
        (json.dumps({"cluster": CLUSTER}), "is not of the form"),
        (config(["chief"]), "there is no job ['chief']"),
        (config("boss"), "there is no job 'boss'"),
        (config(boss=["e:5"]), "there is no job 'boss'"),
        (config(ps=["d:4"]), "there is no job 'ps'"),
        (config("worker", 2), "there is no worker 2, only 2"),
        (config("worker", -1), "there is no worker -1"),
        (config("worker", "2"), "there is no worker '2'"),
        (config("worker", 0.0), "there is no worker 0.0"),
        (config("worker", True), "there is no worker True"),
        (config("evaluator", 1), "there is no evaluator 1"),
        (config("chief", chief=[]), "there is no chief 0, only 0"),
        (config(chief=[], worker=[]), "has 0 chiefs"),
        (config(chief=["a:1", "e:5"]), "has 2 chiefs"),
        *(
            (config(worker=[address]), "is not an address")
            for address in (
                *("d", "d:", ":4", "d:x", "d:0", "d:65536", "d:" + "4" * 5_000, 4, None, "a b:4"),
                *("d..example:4", "d" * 64 + ":4", "::1:4", "http://d:4", "d:4\n", "d\0:4", "é:4"),
            )
        ),
        (config(worker=["a:1"]), "a:1 occurs twice"),
    ],
)
def test_an_invalid_value_is_one_sentence(text, words):
    with pytest.raises(UserError, match=f"^TF_CONFIG: .*{re.escape(words)}"):
        read_config(text)


class TestTheExampleForKubernetes:
    @pytest.fixture
    def documents(self):
        text = (PROJECT / "docs" / "kubernetes.yaml").read_text()
        return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}

    def test_gives_every_pod_its_task(self, documents):
        cluster = documents["ConfigMap", "squeezenet"]["data"]["cluster"]
        service = documents["Service", "squeezenet"]["metadata"]["name"]
        hosts = {}
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
                hosts[place.name] = f"squeezenet-{job}-{index}.{service}:2222"
        assert [*hosts.items()] == [*place.tasks.items()]

    def test_admits_only_the_cluster(self, documents):
        spec = documents["NetworkPolicy", "squeezenet"]["spec"]
        (rule,) = spec["ingress"]
        assert rule["from"] == [{"podSelector": spec["podSelector"]}]
        for job in ("chief", "worker"):
            labels = documents["Job", f"squeezenet-{job}"]["spec"]["template"]["metadata"]["labels"]
            assert labels == spec["podSelector"]["matchLabels"]
