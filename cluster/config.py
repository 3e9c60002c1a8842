"""The environment variable TF_CONFIG: which tasks train together, and which one this process is."""

import json
import re
from typing import NamedTuple

from base import UserError

START_SECONDS = 120.0  # to wait for all tasks to start
JOBS = ("chief", "worker", "evaluator")
# A name, an IPv4 address, or an IPv6 address in brackets. TensorFlow would take a port beyond
# 65,535 for another one, and wait for a host that cannot exist.
ADDRESS = re.compile(r"([\w-]{1,63}(\.[\w-]{1,63})*\.?|\[[\da-fA-F:.]+\]):(\d{1,5})", re.ASCII)


class Config(NamedTuple):
    """The content of TF_CONFIG.

    Attributes:
      tasks: "host:port" of each task that trains, by its name; the chief is the first. If TF_CONFIG
        names none, worker 0 is the chief, as it is for TensorFlow.
      name: of this process: "chief", "worker 0" or "evaluator".
      job: of this process, one of JOBS.
    """

    tasks: dict[str, str]
    name: str
    job: str


def read_config(text: str | None) -> Config | None:
    """Reads the value of TF_CONFIG, in TensorFlow's own format.

    https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable

    Returns:
      None for a single process: no value, no cluster in it, or a cluster of one.

    Raises:
      UserError: the value is invalid; the message says what to correct.
    """
    try:
        content = json.loads(text or "{}")
        if not content.get("cluster"):
            return None
        # list.copy raises a TypeError for anything but a list.
        jobs = {name: list.copy(addresses) for name, addresses in content["cluster"].items()}
        job, index = content["task"]["type"], content["task"]["index"]
    except (ValueError, RecursionError) as error:
        raise UserError(f"TF_CONFIG: is not JSON ({error}); correct it, or unset it.") from None
    except (AttributeError, LookupError, TypeError):
        raise UserError(
            'TF_CONFIG: is not of the form {"cluster": {"chief": ["host:port"], "worker": '
            '["host:port", ...]}, "task": {"type": "worker", "index": 0}}; correct it, or unset it.'
        ) from None
    if unknown := [name for name in (*jobs, job) if name not in JOBS]:
        raise UserError(
            f"TF_CONFIG: there is no job {unknown[0]!r}, only {', '.join(JOBS)} (parameter servers "
            "are not needed); remove it."
        )
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    for address in chiefs + workers:  # with these, the tasks would wait for each other in vain
        match = ADDRESS.fullmatch(str(address))
        if not match or not 0 < int(match[3]) < 65_536:
            raise UserError(f"TF_CONFIG: {address!r} is not an address; write it as host:port.")
        if (chiefs + workers).count(address) > 1:
            raise UserError(f"TF_CONFIG: {address} occurs twice; give each task its own port.")
    names = ["chief"] * len(chiefs) + [f"worker {i}" for i in range(len(workers))]
    if len(chiefs) > 1 or not names:
        raise UserError(f"TF_CONFIG: the cluster has {len(chiefs)} chiefs; name exactly one.")
    names[0] = "chief"
    count = 1 if job == "evaluator" else len(jobs.get(job, []))
    if str(index) not in map(str, range(count)):  # TensorFlow takes "0", too
        raise UserError(f"TF_CONFIG: there is no {job} {index!r}, only {count}; correct the index.")
    tasks = dict(zip(names, chiefs + workers, strict=True))
    name = names[int(index) + len(chiefs)] if job == "worker" else job
    is_cluster = len(tasks) > 1 or job == "evaluator"
    return Config(tasks, name, name.split()[0]) if is_cluster else None
