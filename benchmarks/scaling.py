"""What more machines would bring: python -m benchmarks.scaling

Measures clusters on this machine, fits a model to the smallest, checks it against the others, and
works out clusters of real machines with it. docs/scaling.md explains the model.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from reporting.console import aligned
from training import RunError
from training.command import Parser, positive, run_command
from training.runtime import load_tensorflow_quietly

BATCH_SIZE = 128  # of a worker
BYTES = 586_280  # of the weights, and of their gradient: what travels each way
SPREAD = 0.05  # of a worker's step time: its standard deviation, as a share
LOCAL_WORKERS = (1, 2, 4)
WORKERS = (2, 8, 64, 512)
STEPS = 60
DIGITS = 1_500  # training images, nearly


class Times(NamedTuple):
    """Seconds of one step.

    Attributes:
      work: a worker's own gradient.
      exchange: to send weights and gradient, on both ends together, but for the network.
      apply: for the ps to add the gradients and take the optimizers' step.
    """

    work: float
    exchange: float
    apply: float


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(prog="benchmarks.scaling", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=positive(int, 1_000), default=3, help="default: %(default)s")
    add(
        "--gigabits",
        type=positive(float, 10_000),
        default=10.0,
        help="a second that each machine's network carries each way (default: %(default)s)",
    )
    return run_command(parser.prog, scaling, parser.parse_args(arguments))


def scaling(flags: argparse.Namespace) -> int:
    """Measures, fits, checks and works out; returns the exit code, 0."""
    kinds = [(workers, asynchronous) for asynchronous in (False, True) for workers in LOCAL_WORKERS]
    measured = {kind: [] for kind in kinds}
    alone = []
    for _ in tqdm(range(flags.rounds), unit=" rounds", leave=False, disable=None):
        alone.append(seconds_per_batch(None))
        for kind in kinds:
            measured[kind].append(seconds_per_batch(*kind))
    seconds = {kind: statistics.median(own) for kind, own in measured.items()}
    single = statistics.median(alone)
    times = fit(single, apply_seconds(), seconds[1, False])
    print(f"a step of one process            {1000 * single:6.1f} ms")
    for name, value in times._asdict().items():
        print(f"{name:<8} in a cluster            {1000 * value:6.1f} ms")
    print("\nOn this machine, milliseconds for each worker's batch:")
    rows = [("workers", "", "measured", "model")]
    for (workers, asynchronous), value in seconds.items():
        best, worst = local_model(times, workers, asynchronous)
        rows.append(
            (
                str(workers),
                "asynchronous" if asynchronous else "synchronous",
                f"{1000 * value:.1f}",
                f"{1000 * best:.1f} to {1000 * worst:.1f}",
            )
        )
    print(aligned(rows, left=(1,)))
    network = flags.gigabits * 1e9 / 8
    print(f"\nMachines like this one, {flags.gigabits:g} Gbit/s, images/s (efficiency):")
    rows = [("workers", "ps", "synchronous", "asynchronous")]
    for workers in WORKERS:
        for num_ps in (1, 4, 16):
            cells = [
                f"{rate:,.0f} ({rate * single / BATCH_SIZE / workers:.0%})"
                for rate in (
                    synchronous_rate(times, workers, num_ps, network),
                    asynchronous_rate(times, workers, num_ps, network),
                )
            ]
            rows.append((str(workers), str(num_ps), *cells))
    print(aligned(rows, left=()))
    return 0


def fit(single: float, apply: float, one: float) -> Times:
    """The model's times.

    Args:
      single: seconds of a step without a cluster: work + apply.
      apply: of the optimizers' step alone.
      one: of a step of a cluster with one worker: work + exchange + apply.
    """
    return Times(single - apply, one - single, apply)


def apply_seconds() -> float:
    """Of the optimizers' step on the whole net, with gradients that are there already."""
    load_tensorflow_quietly()
    from squeezenet_model import SqueezeNetModel, tf
    from training import initial_weights, optimizers, recipe
    from training.runtime import session_config

    with tf.Graph().as_default(), tf.Session(config=session_config()) as session:
        with initial_weights.model_scope(recipe.TUNED):
            SqueezeNetModel(32, 24, 10).model_layers(tf.zeros([1, 24, 24, 3]), is_training=False)
        variables = tf.trainable_variables()
        gradients = [tf.get_variable(f"g{i}", v.shape) for i, v in enumerate(variables)]
        step = optimizers.apply_gradients(
            [gradient.read_value() for gradient in gradients],
            variables,
            tf.constant(recipe.TUNED.learning_rate),
            recipe.TUNED,
            tf.train.get_or_create_global_step(),
        )
        session.run(tf.global_variables_initializer())
        times = []
        for _ in range(STEPS):
            started = time.perf_counter()
            session.run(step)
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def local_model(times: Times, workers: int, asynchronous: bool) -> tuple[float, float]:
    """Seconds for each worker's batch when all share one machine: at best, and at worst.

    Its cores are busy with one worker's work while another's exchange leaves them idle, or not.
    """
    best = times.work + times.apply * (1 if asynchronous else 1 / workers)
    return best, best + times.exchange


def synchronous_rate(times: Times, workers: int, num_ps: int, network: float) -> float:
    """Images a second of a synchronous cluster, each process on a machine of its own.

    The slowest of n workers is about sqrt(2 ln n) standard deviations slower than their mean. The
    ps serve all of them at once, before and after.

    Args:
      network: bytes a second, each way, of each machine.
    """
    slowest = times.work * (1 + SPREAD * math.sqrt(2 * math.log(workers)))
    step = slowest + times.exchange / 2 + 2 * BYTES / network
    # The first worker's own transfer is in `step` already.
    fullest = largest_share(num_ps)
    step += (workers - 1) * service(times, network) * fullest + times.apply * fullest
    return workers * BATCH_SIZE / step


def asynchronous_rate(times: Times, workers: int, num_ps: int, network: float) -> float:
    """The same where nobody waits for another, but all for the ps.

    Mean value analysis of a closed queue (M. Reiser and S. Lavenberg, 1980): a worker that comes
    to the ps finds those waiting whom a cluster with one worker less would have there.
    """
    busy = (service(times, network) + times.apply) * largest_share(num_ps)
    away = times.work + times.exchange / 2
    waiting = 0.0
    for count in range(1, workers + 1):
        at_ps = busy * (1 + waiting)
        rate = count / (away + at_ps)
        waiting = rate * at_ps
    return rate * BATCH_SIZE


@functools.cache
def largest_share(num_ps: int) -> float:
    """Of the weights, on the fullest ps: no variable is divided, and the largest is a quarter."""
    load_tensorflow_quietly()
    from squeezenet_model import SqueezeNetModel, tf
    from training.replicas import LeastBytes

    strategy = LeastBytes(num_ps)
    jobs = {"ps": [f"ps{index}:1" for index in range(num_ps)]}
    with (
        tf.Graph().as_default(),
        tf.device(tf.train.replica_device_setter(cluster=jobs, ps_strategy=strategy)),
    ):
        SqueezeNetModel(32, 24, 10).model_layers(tf.zeros([1, 24, 24, 3]), is_training=False)
    return max(strategy.loads) / sum(strategy.loads)


def service(times: Times, network: float) -> float:
    """Seconds that one ps alone would need for one worker's weights and gradient."""
    return max(times.exchange / 2, 2 * BYTES / network)


def seconds_per_batch(workers: int | None, asynchronous: bool = False) -> float:
    """For each worker's batch, in a cluster on this machine; None for one process without any.

    It is what results.json of a short run on the digits has.

    Raises:
      RunError: the run fails.
    """
    steps = STEPS * (workers or 1) if asynchronous else STEPS
    images = steps * BATCH_SIZE * (1 if asynchronous else workers or 1)
    command = [sys.executable, "train.py"]
    if workers:
        command = [sys.executable, "-m", "tools.launch_local", "--workers", str(workers), "--"]
    with tempfile.TemporaryDirectory() as run_dir:
        command += ["--num_epochs", str(images / DIGITS), "--run_dir", run_dir]
        command += ["--asynchronous"] if asynchronous else []
        # Not subprocess.run, which would kill a launcher that ends its cluster after Ctrl-C.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            output, _ = process.communicate()
        if process.returncode:
            last = (output.strip().splitlines() or ["it said nothing"])[-1]
            raise RunError(f"{' '.join(command)}: failed ({last}); try it alone.")
        results = json.loads(Path(run_dir, "results.json").read_text())
    return BATCH_SIZE / results["images_per_second"]


if __name__ == "__main__":
    sys.exit(main())
