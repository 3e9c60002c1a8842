"""Measures and predicts the speed of clusters: python -m benchmarks.scaling

Measures clusters on this machine, and predicts clusters of several machines with a model of a ring,
which docs/scaling.md explains. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

import data
from reporting.console import aligned
from tools.launch_local import task_configs
from training import RunError, recipe
from training.command import Parser, positive, run_command
from training.runtime import load_tensorflow_quietly

# Number of tasks, and images per step in each.
LOCAL = ((1, 128), (2, 64), (2, 128), (4, 128), (1, 1024))
MACHINES = (2, 8, 64, 512)
SPREAD = 0.05  # relative standard deviation of a task's step time
IMAGES = 16_384  # per task and measurement
CALLS = 300  # the median of which is taken


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(prog="benchmarks.scaling", description="Measure and predict clusters.")
    add = parser.add_argument
    add("--rounds", type=positive(int, 1_000), default=3, help="default: %(default)s")
    add(
        "--gigabits",
        type=positive(float, 10_000),
        default=10.0,
        help="the network's gigabits per second (default: 10)",
    )
    add(
        "--latency",
        type=positive(float, 1e6),
        default=50.0,
        help="the network's latency in microseconds (default: 50)",
    )
    return run_command(parser.prog, scaling, parser.parse_args(arguments))


class Times(NamedTuple):
    """The measurements: medians in seconds."""

    step: dict[tuple[int, int], float]  # by the number of tasks and the batch of each
    exchange: dict[int, float]  # the all-reduce by itself, by the number of tasks
    update: float  # the optimizers' step
    num_bytes: int  # of all gradients


def scaling(flags: argparse.Namespace) -> int:
    """Measures, predicts and prints; returns the exit code, 0."""
    times = measure(flags.rounds)
    print("Measured on this machine, whose cores all tasks share:")
    rows = [("tasks", "batch of each", "ms a step", "images/s")]
    for (tasks, batch), seconds in times.step.items():
        rows.append((f"{tasks}", f"{batch:,}", ms(seconds), f"{tasks * batch / seconds:,.0f}"))
    print(aligned(rows, left=()))
    ratio = times.step[1, 128] / times.step[2, 64]
    print(f"2 tasks of 64 have {ratio:.2f} of the speed of 1 of 128")
    for tasks, seconds in times.exchange.items():
        print(f"the exchange between {tasks} tasks, {times.num_bytes:,} bytes: {ms(seconds)} ms")
    print(f"the optimizers' step: {ms(times.update)} ms")
    predict(times, flags.gigabits * 1e9 / 8, flags.latency / 1e6)
    return 0


def measure(rounds: int) -> Times:
    """Measures everything in turns, so that a change in the machine's speed affects all alike."""
    steps, exchanges, updates = {key: [] for key in LOCAL}, {2: [], 4: []}, []
    for _ in tqdm(range(rounds), unit=" rounds", leave=False, disable=None):
        for key, seconds in steps.items():
            seconds.append(step_seconds(*key))
        for tasks, seconds in exchanges.items():
            configs = list(task_configs(tasks).values())
            seconds.append(max(in_processes(all_reduce_seconds, configs)))
        ((seconds, num_bytes),) = in_processes(update_seconds_and_bytes, [recipe.TUNED])
        updates.append(seconds)
    step = {key: statistics.median(seconds) for key, seconds in steps.items()}
    exchange = {tasks: statistics.median(seconds) for tasks, seconds in exchanges.items()}
    return Times(step, exchange, statistics.median(updates), num_bytes)


def predict(times: Times, network: float, latency: float) -> None:
    """Prints predictions for clusters of such machines.

    Args:
      times: the measurements.
      network: in bytes per second.
      latency: in seconds per hop.
    """
    hop_times = latency, times.exchange[2] / hops(2)
    ideal, ours = (f"{1e6 * hop:,.0f} us" for hop in hop_times)
    print(f"\nPredicted images/s (efficiency) at {network * 8e-9:g} Gbit/s, by the time of a hop:")
    rows = [("machines", "batch of each", ideal, ours)]
    for machines in MACHINES:
        for batch in (128, 1024):
            alone, cells = times.step[1, batch], []
            for hop in hop_times:
                transfer = times.num_bytes / network
                seconds = ring_step(machines, alone - times.update, times.update, transfer, hop)
                cells.append(f"{machines * batch / seconds:,.0f} ({alone / seconds:.0%})")
            rows.append((f"{machines}", f"{batch:,}", *cells))
    print(aligned(rows, left=()))
    work = times.step[1, 128] - times.update
    even = [f"{1 + work / (2 * hop):,.0f}" for hop in hop_times]  # where hops(n) x hop is work
    print(
        f"{ideal} is the network's latency alone; {ours} is what a hop takes TensorFlow here, "
        "between 2 tasks, without a network.\n"
        f"The bytes take {ms(2 * times.num_bytes / network)} ms at most. The hops take as long as "
        f"the work of a batch of 128 on {even[0]} machines, or on {even[1]}."
    )


def ring_step(machines: int, work: float, update: float, transfer: float, hop: float) -> float:
    """Seconds of a step in which n machines pass their gradients around a ring.

    The slowest of n is about sqrt(2 ln n) standard deviations slower than their mean.

    Args:
      work: seconds that one machine takes for its own gradient.
      update: seconds of the optimizers' step, which each machine takes.
      transfer: seconds to send all bytes of a gradient once.
      hop: seconds from one machine to the next, regardless of the number of bytes.
    """
    slowest = work * (1 + SPREAD * math.sqrt(2 * math.log(machines)))
    return slowest + hops(machines) * (transfer / machines + hop) + update


def hops(tasks: int) -> int:
    """The number of hops in a ring: once around to sum up, once around to distribute."""
    return 2 * (tasks - 1)


def ms(seconds: float) -> str:
    """Milliseconds as text."""
    return f"{1000 * seconds:.1f}"


def step_seconds(tasks: int, batch: int) -> float:
    """Seconds per step of a cluster on this machine, from results.json of a short digits run.

    Raises RunError if the run fails.
    """
    epochs = tasks * IMAGES / len(data.load("digits").train.labels)
    with tempfile.TemporaryDirectory() as run_dir:
        command = [sys.executable, "-m", "tools.launch_local", "--workers", str(tasks), "--"]
        command += ["--dataset", "digits", "--batch_size", str(batch)]
        command += ["--num_epochs", str(epochs), "--run_dir", run_dir]
        # Not subprocess.run, which would kill the launcher while it shuts down after Ctrl-C.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            output, _ = process.communicate()
        if process.returncode:
            last = (output.strip().splitlines() or ["no output"])[-1]
            raise RunError(f"{' '.join(command)}: failed ({last}); run it by itself to see why.")
        results = json.loads(Path(run_dir, "results.json").read_text())
    return tasks * batch / results["images_per_second"]


def in_processes(function: Callable, arguments: list) -> list:
    """The function's results for all arguments, each computed in its own process, in parallel."""
    with ProcessPoolExecutor(len(arguments), get_context("spawn")) as processes:
        return list(processes.map(function, arguments))


def all_reduce_seconds(config: str) -> float:
    """Median seconds of an all-reduce, in the task that a TF_CONFIG describes.

    The cost of session.run itself is subtracted.
    """
    load_tensorflow_quietly()
    from cluster.config import read_config
    from cluster.task import SharedInterruption, Task
    from squeezenet_model import tf
    from training.step import Gradients

    task = Task(read_config(config))
    with (
        contextlib.redirect_stdout(None),
        task.joined(),
        tf.Graph().as_default(),
        task.device(),
        SharedInterruption() as interruption,
    ):
        own = Gradients(gradients_of_the_net(), tf.constant(0.0), tf.constant(0.0))
        inputs, mean = tf.group(own), tf.group(task.all_reduce(own))
        no_signals = {task.signals: [0.0] * task.signals.shape[0]}
        with task.session(interruption) as session:
            session.run(tf.global_variables_initializer())
            nothing = median_seconds(lambda: session.run(inputs, no_signals))
            seconds = median_seconds(lambda: session.run(mean, no_signals))
            task.wait_for_all(session)
    return seconds - nothing


def update_seconds_and_bytes(own: recipe.Recipe) -> tuple[float, int]:
    """Of the optimizers' step on the whole net, and of the gradients, which are there already."""
    load_tensorflow_quietly()
    from squeezenet_model import tf
    from training.optimizers import apply_gradients
    from training.runtime import session_config

    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        gradients, global_step = gradients_of_the_net(), tf.train.get_or_create_global_step()
        rate, variables = tf.constant(own.learning_rate), tf.trainable_variables()
        step = apply_gradients(gradients, variables, rate, own, global_step)
        session.run(tf.global_variables_initializer())
        num_bytes = sum(4 * gradient.shape.num_elements() for gradient in gradients)
        return median_seconds(lambda: session.run(step)), num_bytes


def gradients_of_the_net() -> list:
    """Tensors in the shapes of the net's gradients; also builds the net's variables."""
    from squeezenet_model import SqueezeNetModel, tf
    from training.initial_weights import model_scope

    with model_scope(recipe.TUNED):
        SqueezeNetModel(32, 24, 10).model_layers(tf.zeros([1, 24, 24, 3]), is_training=False)
    variables = tf.trainable_variables()
    gradients = [
        tf.get_variable(f"gradient_{index}", variable.shape, trainable=False)
        for index, variable in enumerate(variables)
    ]
    return [gradient.read_value() for gradient in gradients]


def median_seconds(function: Callable[[], object]) -> float:
    """Median seconds of a call, without the first calls, in which TensorFlow sets itself up."""
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times[CALLS // 10 :])


if __name__ == "__main__":
    sys.exit(main())
