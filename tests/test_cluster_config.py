"""What TF_CONFIG says, and what is said when it makes no sense."""

import json
import socket

import pytest
import yaml

import train
from cluster.config import Cluster, lost_members, read_cluster, wait_for_members
from tests.conftest import PROJECT
from training import RunError

CLUSTER = {"chief": ["a:1"], "worker": ["b:2", "c:3"], "ps": ["d:4"]}


def config(job="worker", index=0, **changes):
    return json.dumps({"cluster": CLUSTER | changes, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    ("job", "index", "name", "worker_index"),
    [("chief", 0, "chief", 0), ("worker", 0, "worker 0", 1), ("worker", 1, "worker 1", 2)],
)
def test_is_a_place_among_those_that_train(job, index, name, worker_index):
    cluster = read_cluster(config(job, index))
    assert cluster.addresses == CLUSTER
    assert (cluster.name, cluster.num_workers) == (name, 3)
    assert cluster.worker_index == worker_index


@pytest.mark.parametrize("job", ["ps", "evaluator"])
def test_knows_the_tasks_that_do_not_train(job):
    assert read_cluster(config(job)).job == job


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "{}", '{"cluster": {}}'),
        json.dumps({"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}),
    ],
)
def test_a_process_on_its_own_is_no_cluster(text):
    assert read_cluster(text) is None


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
        (config(["chief"]), "there is no job"),
        (config("worker", 2), "there is no worker 2, as the cluster has 2"),
        (config("worker", -1), "there is no worker -1"),
        (config("worker", "0"), "there is no worker '0'"),
        (config("worker", True), "there is no worker True"),
        (config("evaluator", 1), "there is no evaluator 1"),
        (config(chief=[]), "has 0 chiefs"),
        (config(chief=["a:1", "e:5"]), "has 2 chiefs"),
        (config(ps=[]), "has no ps"),
        (config(ps=["d"]), "'d' is no address"),
        (config(ps=["d:0"]), "'d:0' is no address"),
        (config(ps=["d:65536"]), "'d:65536' is no address"),
        (config(ps=[4]), "4 is no address"),
        (config(ps=["d..example:4"]), "'d..example:4' is no address"),
        (config(ps=["d:" + "4" * 5_000]), "is no address"),
        (config(ps="d:4"), "is not of the form"),
        (config(ps=["a:1"]), "a:1 is named twice"),
    ],
)
def test_nonsense_is_one_sentence(monkeypatch, capsys, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    assert train.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train.py: error: TF_CONFIG: ")
    assert words in error
    assert error.count("\n") == 1


def test_asynchronous_is_for_clusters(monkeypatch, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert train.main(["--asynchronous"]) == 2
    assert "--asynchronous" in capsys.readouterr().err


@pytest.fixture
def listening():
    with socket.create_server(("localhost", 0)) as server:
        yield f"localhost:{server.getsockname()[1]}"


@pytest.fixture
def silent():
    """An address that nobody listens at."""
    with socket.create_server(("localhost", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
    return address


def test_a_member_that_does_not_come_up_is_named_with_its_address(listening, silent, capsys):
    cluster = Cluster({"chief": [listening], "worker": [silent], "ps": []}, "chief", 0)
    with pytest.raises(RunError, match=f"worker 0 at {silent}: did not come up within 0 seconds"):
        wait_for_members(cluster, seconds=0.4)
    assert capsys.readouterr().out == f"chief: waits for worker 0 at {silent}\n"


def test_members_that_are_there_are_not_waited_for(listening, capsys):
    wait_for_members(Cluster({"chief": [listening], "worker": [], "ps": []}, "chief", 0))
    assert capsys.readouterr().out == ""


def test_a_lost_ps_is_named(listening, silent):
    cluster = Cluster({"chief": [], "worker": [], "ps": [listening, silent]}, "chief", 0)
    assert lost_members(cluster) == f"ps 1 at {silent}"


def test_a_ps_that_has_just_died_is_named_although_its_port_answers_for_a_moment(monkeypatch):
    looks = iter([True, False])
    monkeypatch.setattr("cluster.config.answers", lambda address: next(looks))
    cluster = Cluster({"chief": [], "worker": [], "ps": ["host:1"]}, "chief", 0)
    assert lost_members(cluster) == "ps 0 at host:1"


def test_a_port_in_use_is_one_sentence(listening):
    from training.replicas import start_server

    cluster = Cluster({"chief": [listening], "worker": [], "ps": []}, "chief", 0)
    with pytest.raises(RunError, match=f"chief: cannot listen at {listening}"):
        start_server(cluster)


class TestTheExampleForKubernetes:
    @pytest.fixture
    def documents(self):
        text = (PROJECT / "docs" / "kubernetes.yaml").read_text()
        return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}

    def test_gives_every_pod_its_place(self, documents):
        cluster = documents["ConfigMap", "squeezenet"]["data"]["cluster"]
        service = documents["Service", "squeezenet"]["metadata"]["name"]
        for job in ("chief", "worker", "ps"):
            spec = documents["Job", f"squeezenet-{job}"]["spec"]
            (container,) = spec["template"]["spec"]["containers"]
            values = {each["name"]: each.get("value") for each in container["env"]}
            assert spec["completions"] == spec["parallelism"]
            assert spec["template"]["spec"]["subdomain"] == service
            for index in range(spec["completions"]):
                # As Kubernetes puts earlier variables into later ones.
                text = values["TF_CONFIG"].replace("$(CLUSTER)", cluster)
                place = read_cluster(text.replace("$(INDEX)", str(index)))
                assert (place.job, place.index) == (job, index)
                address = place.addresses[job][index]
                assert address == f"squeezenet-{job}-{index}.{service}:2222"
            assert len(place.addresses[job]) == spec["completions"]

    def test_lets_in_nobody_but_the_cluster(self, documents):
        spec = documents["NetworkPolicy", "squeezenet"]["spec"]
        (rule,) = spec["ingress"]
        assert rule["from"] == [{"podSelector": spec["podSelector"]}]
        for job in ("chief", "worker", "ps"):
            labels = documents["Job", f"squeezenet-{job}"]["spec"]["template"]["metadata"]["labels"]
            assert labels == spec["podSelector"]["matchLabels"]
