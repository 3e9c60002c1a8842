"""More than one machine: a process's place in a cluster, as the variable TF_CONFIG says."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from typing import NamedTuple

from training import RunError

JOBS = ("chief", "worker", "ps", "evaluator")
WAIT_SECONDS = 120.0  # for members of the cluster that are still starting
POLL_SECONDS = 0.5


class Cluster(NamedTuple):
    """A cluster, and which of its tasks this process is.

    Attributes:
      addresses: "host:port" of each task, by job: chief (one), worker (any number), ps.
      job: of this process, one of JOBS.
      index: of this process in its job.
    """

    addresses: dict[str, list[str]]
    job: str
    index: int

    @property
    def name(self) -> str:
        """Of this process, for people."""
        return "chief" if self.job == "chief" else f"{self.job} {self.index}"

    @property
    def num_workers(self) -> int:
        """How many processes train, the chief among them."""
        return 1 + len(self.addresses["worker"])

    @property
    def worker_index(self) -> int:
        """Of this process among those that train; the chief's is 0."""
        return 0 if self.job == "chief" else 1 + self.index


def read_cluster(config: str | None) -> Cluster | None:
    """What TF_CONFIG says, in TensorFlow's own format.

    https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable

    Args:
      config: the variable's value.

    Returns:
      None for a process on its own: no value, no cluster in it, or one with a chief alone.

    Raises:
      RunError: it makes no sense.
    """
    if not config:
        return None
    try:
        content = json.loads(config)
        if not content.get("cluster"):
            return None
        addresses = {job: content["cluster"].get(job, []) for job in JOBS[:3]}
        if not all(isinstance(own, list) for own in addresses.values()):
            raise TypeError("addresses that are no list")
        unknown = set(content["cluster"]) - set(JOBS)
        job, index = content["task"]["type"], content["task"]["index"]
    except (ValueError, RecursionError) as error:
        raise RunError(f"TF_CONFIG: is not JSON ({error}); correct it, or unset it.") from error
    except (AttributeError, LookupError, TypeError):
        raise RunError(
            'TF_CONFIG: is not of the form {"cluster": {"chief": ["host:port"], "worker": [...], '
            '"ps": [...]}, "task": {"type": "worker", "index": 0}}; correct it, or unset it.'
        ) from None
    if unknown or job not in JOBS:
        wrong = ", ".join(sorted(map(str, unknown))) or job
        raise RunError(f"TF_CONFIG: there is no job {wrong!r}; choose from {', '.join(JOBS)}.")
    check_addresses(addresses)
    most = 1 if job == "evaluator" else len(addresses[job])
    if type(index) is not int or not 0 <= index < most:
        raise RunError(
            f"TF_CONFIG: there is no {job} {index!r}, as the cluster has {most}; correct the index."
        )
    if job == "chief" and not addresses["worker"] and not addresses["ps"]:
        return None
    if not addresses["ps"] and job != "evaluator":
        raise RunError("TF_CONFIG: the cluster has no ps, which holds the variables; add one.")
    return Cluster(addresses, job, index)


def check_addresses(addresses: dict[str, list[str]]) -> None:
    """Raises RunError for addresses that cannot be those of a cluster."""
    if len(addresses["chief"]) != 1:
        raise RunError(f"TF_CONFIG: the cluster has {len(addresses['chief'])} chiefs; name one.")
    every = [address for own in addresses.values() for address in own]
    for address in every:
        if not is_address(str(address)):
            raise RunError(f"TF_CONFIG: {address!r} is no address; write it as host:port.")
        if every.count(address) > 1:
            raise RunError(f"TF_CONFIG: {address} is named twice; give each task its own port.")


def is_address(text: str) -> bool:
    """Whether it is a host and a port, as far as can be told without asking the network."""
    host, _, port = text.rpartition(":")
    try:
        named = bool(host.encode("idna"))
    except UnicodeError:
        return False
    return named and bool(re.fullmatch("[0-9]{1,5}", port)) and 0 < int(port) < 65_536


def answers(address: str) -> bool:
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def wait_for_members(cluster: Cluster, seconds: float = WAIT_SECONDS) -> None:
    """Waits until every chief, worker and ps listens.

    Raises:
      RunError: one of them does not in that time.
    """
    ends = time.monotonic() + seconds
    for job, addresses in cluster.addresses.items():
        for index, address in enumerate(addresses):
            told = False
            while not answers(address):
                if time.monotonic() > ends:
                    raise RunError(
                        f"{job} {index} at {address}: did not come up within {seconds:.0f} "
                        "seconds; start it, or correct TF_CONFIG."
                    )
                if not told:
                    print(f"{cluster.name}: waits for {job} {index} at {address}", flush=True)
                told = True
                time.sleep(POLL_SECONDS)


def lost_members(cluster: Cluster) -> str:
    """Those of the ps that do not answer, for people."""
    for _ in range(3):
        lost = [
            f"ps {index} at {address}"
            for index, address in enumerate(cluster.addresses["ps"])
            if not answers(address)
        ]
        if lost:
            break
        time.sleep(POLL_SECONDS)  # a process that dies may close its port last
    return ", ".join(lost) or "a ps, which has been started again meanwhile,"
