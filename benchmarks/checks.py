"""What the checks, hooks and checkpoints around a training step cost: python -m benchmarks.checks

Trains on the digits with the default batch, towers and seed. Blocks of steps that call the session
directly (A) take turns with blocks that go through all hooks, as train.py does (B): A B A B.
A checkpoint is timed by itself, with its histograms and filters for TensorBoard, the flush of the
events and its copy as the best, and spread over the steps between two of them in a default CIFAR-10
run; the evaluation's forward passes are left out, because how often to evaluate is not a check.
"""

import itertools
import statistics
import tempfile
import time
from pathlib import Path

import data
from reporting.console import TrainingBar
from training.runtime import load_tensorflow_quietly

BLOCKS = 150  # of each kind
STEPS = 5  # a block: short, so that both of a pair meet the same mood of the machine
CHECKPOINTS = 20


def main() -> None:
    """Prints the medians of both, their ratio, and the cost of a checkpoint."""
    load_tensorflow_quietly()
    from reporting.events import EventWriters
    from squeezenet_model import SqueezeNetModel, tf
    from training import loop, recipe
    from training.checkpoints import CheckpointWriter, keep_best
    from training.evaluation import Evaluator
    from training.hooks import CheckpointHook, StepHook
    from training.interruption import Interruption
    from training.runtime import session_config

    dataset = data.load("digits")
    model = SqueezeNetModel(dataset.original_dim, dataset.resize_dim, len(dataset.class_names))
    # Ten thousand steps, none of which is due to be evaluated before the benchmark ends.
    schedule = recipe.make_schedule(recipe.BATCH_SIZE, num_epochs=10_000, eval_every=10_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        tf.Graph().as_default(),
        EventWriters(Path(folder), 0, 0) as events,
    ):
        training_step, input_hook = loop.build_graph(model, dataset, schedule)
        checkpoints = CheckpointWriter(Path(folder))
        bar = TrainingBar(schedule.total_steps, schedule.num_epochs)
        evaluator = Evaluator(model, dataset.test, dataset.class_names)
        recorder = loop.Recorder(schedule, Path(folder), evaluator, events, bar)
        saved = itertools.count(1)

        def save(step_context):
            step = next(saved)
            events.flush()
            variables = tf.trainable_variables()
            values = step_context.session.run(variables)
            names = [variable.op.name for variable in variables]
            events.write_weights(step, dict(zip(names, values, strict=True)))
            path = checkpoints.save(step_context.session, step)
            keep_best(Path(folder), path, step, accuracy=step)  # each one better than the last

        hooks = [
            input_hook,
            StepHook(training_step, recorder.step_done),
            CheckpointHook(training_step, schedule, Interruption(), save=None),  # not due yet
        ]
        with tf.train.MonitoredTrainingSession(hooks=hooks, config=session_config()) as session:
            direct, hooked = [], []
            for _ in range(BLOCKS):
                direct.append(timed(lambda: run_direct(session, training_step.step)))
                hooked.append(timed(lambda: session.run(training_step.step)))
            checkpoint = [
                timed(lambda: session.run_step_fn(save), times=1) for _ in range(CHECKPOINTS)
            ]
    ratios = [b / a for a, b in zip(direct, hooked, strict=True)]
    share = (
        statistics.median(checkpoint) / recipe.MOST_STEPS_BETWEEN_EVALS / statistics.median(direct)
    )
    print(f"a step, directly       {milliseconds(direct)}")
    print(f"a step, through hooks  {milliseconds(hooked)}")
    low, median, high = statistics.quantiles(ratios, n=4)
    print(f"ratio, pair by pair    {median:.3f} (half of the pairs from {low:.3f} to {high:.3f})")
    print(f"a checkpoint           {milliseconds(checkpoint)}")
    print(f"spread over its steps  {share:.2%} of a step")


def run_direct(session, fetch) -> None:
    """Runs a step in the session below the hooks."""
    session.run_step_fn(lambda step_context: step_context.session.run(fetch))


def timed(function, times: int = STEPS) -> float:
    """Seconds that a call takes, over several."""
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
