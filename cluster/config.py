"""The environment variable TF_CONFIG: which tasks train together, and which one this process is."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from training import RunError

START_SECONDS = 120.0  # to wait for all tasks to start
JOBS = ("chief", "worker", "evaluator")
TODAY = {"master": "chief"}  # TF1's older name
FORM = (
    '{"cluster": {"chief": ["host:port"], "worker": ["host:port", ...]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class Config(NamedTuple):
    """The content of TF_CONFIG."""

    addresses: dict[str, list[str]]  # "host:port" of each task that trains: one chief, and workers
    job: str  # of this process, one of JOBS
    index: int  # of this process among the tasks of its job

    @property
    def tasks(self) -> dict[str, str]:
        """The address of each task that trains, by its display name; the chief is the first."""
        workers = {f"worker {i}": address for i, address in enumerate(self.addresses["worker"])}
        return {"chief": self.addresses["chief"][0], **workers}


def read_config(text: str | None) -> Config | None:
    """Reads the value of TF_CONFIG, in TensorFlow's own format.

    https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable

    Returns:
      None for a single process: no value, no cluster in it, or a cluster of one.

    Raises:
      RunError: the value is invalid; the message says what to correct.
    """
    try:
        content = json.loads(text or "{}")
        cluster, task = content.get("cluster"), content.get("task")
        if not cluster:
            return None
        cluster = {TODAY.get(job, job): own for job, own in cluster.items()}
        if not all(isinstance(own, list) for own in cluster.values()):
            raise TypeError("addresses that are not a list")
        job, index = TODAY.get(task["type"], task["type"]), task["index"]
    except (ValueError, RecursionError) as error:
        raise RunError(f"TF_CONFIG: is not JSON ({error}); correct it, or unset it.") from None
    except (AttributeError, LookupError, TypeError):
        raise RunError(f"TF_CONFIG: is not of the form {FORM}; correct it, or unset it.") from None
    if "ps" in (*cluster, job):
        raise RunError("TF_CONFIG: names parameter servers, but none are needed; remove job ps.")
    if unknown := [name for name in (*cluster, job) if name not in JOBS]:
        raise RunError(f"TF_CONFIG: there is no job {unknown[0]!r}; use {', '.join(JOBS)}.")
    addresses = {job: cluster.get(job, []) for job in ("chief", "worker")}
    check_addresses(addresses)
    count = 1 if job == "evaluator" else len(addresses[job])
    if type(index) is not int or not 0 <= index < count:
        raise RunError(f"TF_CONFIG: there is no {job} {index!r}, only {count}; correct the index.")
    return Config(addresses, job, index) if addresses["worker"] or job == "evaluator" else None


def check_addresses(addresses: dict[str, list[str]]) -> None:
    """Raises RunError for addresses that are not those of a cluster."""
    if (count := len(addresses["chief"])) != 1:
        raise RunError(f"TF_CONFIG: the cluster has {count} chiefs; name exactly one.")
    every = addresses["chief"] + addresses["worker"]
    for address in every:
        if not is_address(str(address)):
            raise RunError(f"TF_CONFIG: {address!r} is not an address; write it as host:port.")
        if every.count(address) > 1:
            raise RunError(f"TF_CONFIG: {address} occurs twice; give each task its own port.")


def is_address(text: str) -> bool:
    """Whether the text looks like a host and a port; does not use the network."""
    host, _, port = text.rpartition(":")
    try:
        is_host = bool(host.encode("idna"))
    except UnicodeError:
        return False
    return is_host and bool(re.fullmatch("[0-9]{1,5}", port)) and 0 < int(port) < 65_536
