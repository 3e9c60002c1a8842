"""Measures what the loop of train.py adds to session.run: python -m benchmarks.checks

Trains on the digits with the default batch, towers and seed. Blocks of steps that only run the
session (A) alternate with blocks of the loop's own steps (B), with its checks, terminal output and
curves: A B A B. A checkpoint is timed separately, with its histograms and filters for TensorBoard,
flushing the events and its copy as the best, and spread over the steps between two checkpoints of a
default CIFAR-10 run. The evaluation's forward passes are left out: how often to evaluate is a
choice, not a cost of the loop.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import data
from training.runtime import load_tensorflow_quietly

BLOCKS = 150  # of each kind
STEPS = 5  # per block; short, so that a shared machine is equally fast for A and B
CHECKPOINTS = 20


def main() -> None:
    """Prints the medians of both, their ratio, and the cost of a checkpoint."""
    load_tensorflow_quietly()
    from reporting.progress import Progress
    from squeezenet_model import SqueezeNetModel, tf
    from training import recipe
    from training.checkpoints import Checkpoints
    from training.health import Health
    from training.input_pipeline import TrainingBatches
    from training.runtime import session_config
    from training.step import build_training_step

    dataset = data.load("digits")
    model = SqueezeNetModel(dataset.original_dim, dataset.resize_dim, len(dataset.class_names))
    # Ten thousand steps, so that no evaluation is due before the benchmark ends.
    schedule = recipe.make_schedule(recipe.BATCH_SIZE, num_epochs=10_000, eval_every=10_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        tf.Graph().as_default(),
        Progress(Path(folder), model, dataset, schedule) as progress,
        tf.Session(config=session_config()) as session,
    ):
        batches = TrainingBatches(dataset, schedule)
        train_op = build_training_step(model, batches.next_batch, schedule)
        checkpoints, health = Checkpoints(Path(folder)), Health(model.output_size)
        checkpoints.restore_or_initialize(session)
        batches.start_at(session, 0)
        progress.started(session, 0)

        def step():
            with batches.errors():
                values = session.run(train_op)
            progress.step_done(values)
            health.check(values)

        def save(number):
            with progress.paused():
                checkpoints.save(session, number)
                progress.write_weights(session, number)
                checkpoints.keep_best(number, accuracy=number)  # each beats the previous one

        direct, looped = [], []
        for _ in range(BLOCKS):
            direct.append(timed(lambda: session.run(train_op)))
            looped.append(timed(step))
        saved = [timed(lambda n=n: save(n), times=1) for n in range(1, CHECKPOINTS + 1)]
    ratios = [b / a for a, b in zip(direct, looped, strict=True)]
    share = statistics.median(saved) / recipe.MOST_STEPS_BETWEEN_EVALS / statistics.median(direct)
    print(f"a step, session.run alone  {milliseconds(direct)}")
    print(f"a step of the loop         {milliseconds(looped)}")
    low, median, high = statistics.quantiles(ratios, n=4)
    print(f"ratio, pair by pair        {median:.3f} (half of the pairs {low:.3f} to {high:.3f})")
    print(f"a checkpoint               {milliseconds(saved)}")
    print(f"spread over its steps      {share:.2%} of a step")


def timed(function: Callable[[], object], times: int = STEPS) -> float:
    """Seconds per call, over several."""
    started = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - started) / times


def milliseconds(seconds: list[float]) -> str:
    """Median and range of a list of seconds."""
    median, low, high = (1000 * f(seconds) for f in (statistics.median, min, max))
    return f"{median:.1f} ms ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
