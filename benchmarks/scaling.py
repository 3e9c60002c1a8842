"""Measures and predicts the speed of clusters: python -m benchmarks.scaling

Measures clusters on this machine, and predicts clusters of several machines with a model of a ring,
which docs/results.md explains. Run it on an otherwise idle machine.
"""

import contextlib
import itertools
import math
import statistics
import sys
import tempfile
import timeit
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from base import UserError
from base.files import read_json
from base.program import SMALLEST, Parser, number, run
from base.runtime import load_tensorflow_quietly
from benchmarks.contenders.process import PARAMETERS
from reporting.console import aligned
from tools import launch_local

LOCAL = ((1, 128), (2, 64), (2, 128), (4, 128), (1, 1024))  # tasks, and the batch of each
MACHINES = (2, 8, 64, 512)
SPREAD = 0.05  # relative standard deviation of a task's step time
CALLS = 300  # the median of which is taken
BYTES = 4 * PARAMETERS  # of all gradients


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    add, positive = parser.add_argument, number(float, SMALLEST, 1e6)
    add("--rounds", type=number(int, 1, 1_000), default=3, help="default: %(default)s")
    add("--gigabits", type=positive, default=10.0, help="the network's, per second (default: 10)")
    add("--latency", type=positive, default=50.0, help="in microseconds (default: 50)")
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: scaling(flags.rounds, flags.gigabits, flags.latency))


def scaling(rounds: int, gigabits: float, latency: float) -> None:
    """Measures clusters on this machine, and predicts others.

    Args:
      rounds: how often to measure everything, in turns, so that a change in the machine's speed
        affects all alike.
      gigabits, latency: of the network, per second, and in microseconds per hop.
    """
    measured = [
        [*(step_seconds(*cluster) for cluster in LOCAL), exchange_seconds(tasks=2)]
        for _ in tqdm(range(rounds), unit=" rounds", leave=False, disable=None)
    ]
    *steps, exchange = map(statistics.median, zip(*measured, strict=True))
    medians = dict(zip(LOCAL, steps, strict=True))
    rows: list[tuple[str, ...]] = [("tasks", "batch of each", "ms a step", "images/s")]
    for (tasks, size), seconds in medians.items():
        milliseconds, speed = f"{1000 * seconds:.1f}", f"{tasks * size / seconds:,.0f}"
        rows.append((f"{tasks}", f"{size:,}", milliseconds, speed))
    print(f"Measured on this machine, whose cores all tasks share:\n{aligned(rows, left=())}")
    print(f"the exchange between 2 tasks, {BYTES:,} bytes: {1000 * exchange:.1f} ms\n")
    print(
        f"Predicted images/s (efficiency) at {gigabits:g} Gbit/s, by the time of a hop, which is\n"
        "the network's latency alone, or what it takes TensorFlow here, between 2 tasks:"
    )
    hops = latency / 1e6, exchange / 2
    rows = [("machines", "batch of each", *(f"{1e6 * hop:,.0f} us" for hop in hops))]
    for machines, size in itertools.product(MACHINES, (128, 1024)):
        alone, transfer = medians[1, size], 8e-9 * BYTES / gigabits
        seconds = [ring_step(machines, alone, transfer, hop) for hop in hops]
        cells = [f"{machines * size / each:,.0f} ({alone / each:.0%})" for each in seconds]
        rows.append((f"{machines}", f"{size:,}", *cells))
    print(aligned(rows, left=()))


def ring_step(machines: int, alone: float, transfer: float, hop: float) -> float:
    """Seconds of a step in which n machines pass their gradients around a ring.

    The slowest of n is about sqrt(2 ln n) standard deviations slower than their mean. There are
    2 (n - 1) hops: once around to sum up, once around to distribute.

    Args:
      alone: seconds of a step on one machine.
      transfer: seconds to send all bytes of a gradient once.
      hop: seconds from one machine to the next, regardless of the number of bytes.
    """
    slowest = alone * (1 + SPREAD * math.sqrt(2 * math.log(machines)))
    return slowest + 2 * (machines - 1) * (transfer / machines + hop)


def step_seconds(tasks: int, batch_size: int) -> float:
    """Seconds per step of a cluster on this machine, from results.json of a short digits run.

    Each task trains on 16,500 images. Raises UserError if the run fails.
    """
    flags = f"--dataset digits --num_epochs {11 * tasks} --batch_size {batch_size}".split()
    with tempfile.TemporaryDirectory() as run_dir, contextlib.redirect_stdout(None):
        if launch_local.launch(tasks, [*flags, "--run_dir", run_dir]):
            raise UserError(f"tools.launch_local --workers {tasks}: failed; run it to see why.")
        return tasks * batch_size / read_json(Path(run_dir, "results.json"))["images_per_second"]


def exchange_seconds(tasks: int) -> float:
    """Seconds of the all-reduce by itself, in a cluster on this machine."""
    configs = launch_local.task_configs(tasks).values()
    with ProcessPoolExecutor(tasks, get_context("spawn")) as processes:
        return max(processes.map(all_reduce_seconds, configs))


def all_reduce_seconds(config: str) -> float:
    """Median seconds of an all-reduce, in the task that a TF_CONFIG describes.

    The cost of session.run itself is subtracted.
    """
    load_tensorflow_quietly()
    from cluster.config import read_config
    from cluster.task import Task
    from imagenet.nets import variable_shapes
    from squeezenet_model import SqueezeNetModel, tf
    from training.step import BatchResult

    task = Task(read_config(config))  # type: ignore[arg-type]
    with (
        contextlib.redirect_stdout(None),
        task.joined(),
        tf.Graph().as_default(),
        task.device(),
        task.interruption() as interruption,
    ):
        gradients = [
            tf.get_variable(name, shape).read_value()
            for name, shape in variable_shapes(SqueezeNetModel, 10).items()
        ]
        own = BatchResult(gradients, tf.constant(0.0), tf.constant(0.0))
        fetches = tf.group(own), tf.group(task.all_reduce(own))
        no_signals = {task.signals: [0.0] * task.signals.shape[0]}
        with task.session(interruption) as session:
            session.run(tf.global_variables_initializer())
            nothing, all_reduce = (
                timeit.repeat(partial(session.run, op, no_signals), number=1, repeat=CALLS)
                for op in fetches
            )
            task.wait_for_all(session)
    return statistics.median(all_reduce) - statistics.median(nothing)


if __name__ == "__main__":
    sys.exit(main())
