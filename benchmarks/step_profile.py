"""Shows where the time of a training step goes: python -m benchmarks.step_profile

Traces steps of train.py's graph on random images of CIFAR-10's size (TensorFlow's RunMetadata),
and sums the time of each kind of operation over all cores. Tracing makes a step slower.
"""

import collections
import statistics
import time

import numpy as np

from data import Dataset, Split
from reporting.console import aligned
from training.runtime import load_tensorflow_quietly

WARM_UP_STEPS = 30
STEPS = 40
SHOWN = 14


def main() -> None:
    """Prints the median step time, and the kinds of operations that take the most time."""
    load_tensorflow_quietly()
    from squeezenet_model import SqueezeNetModel, tf
    from training import recipe
    from training.input_pipeline import TrainingBatches
    from training.runtime import session_config
    from training.step import build_training_step

    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, [10_000, 3 * 32 * 32], np.uint8)
    split = Split(records, rng.integers(0, 10, 10_000, np.int32))
    dataset = Dataset(split, split, tuple("0123456789"), 32, 24, mirrored=True)
    model = SqueezeNetModel(original_dim=32, resize_dim=24, output_size=10)
    schedule = recipe.make_schedule(50_000, num_epochs=25.6)
    with tf.Graph().as_default() as graph:
        batches = TrainingBatches(dataset, schedule)
        training_step = build_training_step(model, batches.next_batch, schedule)
        with tf.Session(config=session_config()) as session:
            session.run(tf.global_variables_initializer())
            batches.start_at(session, 0)
            for _ in range(WARM_UP_STEPS):
                session.run(training_step.step)
            seconds = [timed(session.run, training_step.step) for _ in range(STEPS)]
            traces = [traced(session, training_step.step) for _ in range(STEPS)]
    kinds = {op.name: op.type for op in graph.get_operations()}
    totals, counts = collections.Counter(), collections.Counter()
    for trace in traces:
        for device in trace.step_stats.dev_stats:
            for node in device.node_stats:
                kind = kinds.get(node.node_name.split(":")[0], "other")
                totals[kind] += (node.op_end_rel_micros - node.op_start_rel_micros) / STEPS / 1000
                counts[kind] += 1
    median = 1000 * statistics.median(seconds)
    print(
        f"a step, not traced: {median:.1f} ms, {1000 * schedule.batch_size / median:,.0f} images/s"
    )
    print(f"its operations, traced, on all cores: {totals.total():.1f} ms\n")
    rows = [("operation", "a step", "ms", "share")]
    for kind, total in totals.most_common(SHOWN):
        rows.append(
            (kind, f"{counts[kind] / STEPS:.0f}", f"{total:.2f}", f"{total / totals.total():.1%}")
        )
    print(aligned(rows, left=(0,)))


def timed(function, *arguments) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def traced(session, fetch):
    """The RunMetadata of a step."""
    from squeezenet_model import tf

    metadata = tf.RunMetadata()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    session.run(fetch, options=options, run_metadata=metadata)
    return metadata


if __name__ == "__main__":
    main()
