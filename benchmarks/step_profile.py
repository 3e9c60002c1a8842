"""Shows where the time of a training step goes: python -m benchmarks.step_profile

Traces steps of train.py's graph for CIFAR-10, on the digits, whose images are as large
(TensorFlow's RunMetadata), and sums the time of each kind of operation over all cores. Tracing
makes a step slower.
"""

import argparse
import collections
import statistics
import sys
import timeit

import data
from base import printable
from base.files import write_file
from base.program import Parser, local_path, run
from base.runtime import load_tensorflow_quietly, session_config
from reporting.console import aligned
from training.recipe import DEFAULTS, make_schedule

WARM_UP_STEPS = 30
STEPS = 40


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = Parser(prog="python -m benchmarks.step_profile", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trace",
        type=local_path,
        help="file for the trace of a step, for chrome://tracing or ui.perfetto.dev",
    )
    flags = parser.parse_args(arguments)
    return run(parser.prog, lambda: profile(flags))


def profile(flags: argparse.Namespace) -> None:
    """Prints the median step time, and the kinds of operations that take the most time."""
    load_tensorflow_quietly()
    from tensorflow.python.client.timeline import Timeline

    from squeezenet_model import SqueezeNetModel, tf
    from training.input_pipeline import TrainingBatches
    from training.plan import Plan
    from training.step import build_training_step

    dataset, schedule = data.load("digits"), make_schedule(50_000, DEFAULTS["cifar10"], {})
    plan = Plan(SqueezeNetModel(32, 24, output_size=10), dataset, schedule, run_dir=None)
    traces = [tf.RunMetadata() for _ in range(STEPS)]
    with tf.Graph().as_default() as graph, tf.Session(config=session_config()) as session:
        batches = TrainingBatches(plan)
        step = build_training_step(plan, batches.next_batch).step
        session.run(tf.global_variables_initializer())
        batches.start_at(session, 0)
        seconds = timeit.repeat(lambda: session.run(step), number=1, repeat=WARM_UP_STEPS + STEPS)
        for trace in traces:
            session.run(step, options=tf.RunOptions(trace_level=3), run_metadata=trace)  # full

    kinds = {operation.name: operation.type for operation in graph.get_operations()}
    spent = collections.defaultdict(list)  # milliseconds of all operations, by their kind
    for device in (device for trace in traces for device in trace.step_stats.dev_stats):
        for node in device.node_stats:
            kind = kinds.get(node.node_name.split(":")[0], "other")
            spent[kind].append((node.op_end_rel_micros - node.op_start_rel_micros) / 1000)
    median, total = statistics.median(seconds[WARM_UP_STEPS:]), sum(map(sum, spent.values()))
    print(
        f"a step, not traced: {1000 * median:.1f} ms, "
        f"{schedule.batch_size / median:,.0f} images/s\n"
        f"its operations, traced, on all cores: {total / STEPS:.1f} ms\n"
    )
    rows = [
        (kind, f"{len(own) / STEPS:.0f}", f"{sum(own) / STEPS:.2f}", f"{sum(own) / total:.1%}")
        for kind, own in sorted(spent.items(), key=lambda item: -sum(item[1]))[:14]
    ]
    print(aligned([("operation", "a step", "ms", "of all"), *rows], left=(0,)))
    if flags.trace:
        trace_json = Timeline(traces[-1].step_stats).generate_chrome_trace_format()
        write_file(flags.trace, trace_json.encode())
        print(f"\nthe trace of a step: {printable(flags.trace)}")


if __name__ == "__main__":
    sys.exit(main())
