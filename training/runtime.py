"""TensorFlow as this program starts it: quietly, with its threads and devices settled."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from training.recipe import visible_cores

if TYPE_CHECKING:  # it takes seconds to import
    import tensorflow.compat.v1 as tf

# How a line of TensorFlow's C++ log begins: with its severity and date, or the other way round.
CHATTER = r"[IWE]\d{4} |[\d-]+ [\d:.]+: [IWE] |WARNING: All log messages before absl"
LINE_FILTER = """
import os, re, sys
unwanted = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not unwanted.match(line):
        os.write(2, line)
"""


def load_tensorflow_quietly() -> None:
    """Imports TensorFlow, sets it up, and lets it look for devices, without what it logs meanwhile.

    TF_CPP_MIN_LOG_LEVEL alone does not stop what TensorFlow 2.21 logs in its start-up: those lines
    go straight to file descriptor 2. Anything else that is written there comes through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach Python as exceptions
    with filtered_stderr(CHATTER):
        from squeezenet_model import tf

        tf.config.list_physical_devices()
    use_one_thread_an_op()
    # The TF1 interface is deprecated, which is no news to someone who came for it; and what goes
    # wrong reaches the program as an exception, so nobody needs the log of it, or the traceback of
    # the thread that writes events.
    tf.logging.set_verbosity(tf.logging.FATAL)
    threading.excepthook = functools.partial(unless_event_writer, threading.excepthook)
    # It builds a cache of fonts the first time it draws, and says so.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=r"`tf\.layers\.\w+` is deprecated")


def unless_event_writer(hook: Callable, args: threading.ExceptHookArgs) -> None:
    """A threading.excepthook that leaves out TensorFlow's event writer (see EventWriters.flush)."""
    if args.thread is None or args.thread.name != "EventLoggerThread":
        hook(args)


@contextlib.contextmanager
def filtered_stderr(unwanted: str) -> Iterator[None]:
    """Sends what the process writes to stderr through a filter that drops unwanted lines.

    The filter is a process of its own, so that the last words of a crash come through too.

    Args:
      unwanted: regular expression that a line to drop begins with.
    """
    command = [sys.executable, "-I", "-S", "-c", LINE_FILTER, unwanted]
    # In a session of its own, so that Ctrl-C reaches this process alone.
    line_filter = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(line_filter.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        line_filter.communicate()


def visible_gpus() -> int:
    """How many GPUs TensorFlow sees."""
    import tensorflow.compat.v1 as tf

    return len(tf.config.list_physical_devices("GPU"))


def use_one_thread_an_op() -> None:
    """Keeps TensorFlow from dividing operations between cores; to be called before it is used.

    Towers, and batches side by side, keep the cores busy by themselves. Every session of a process
    shares the threads that operations are divided between, and whatever uses TensorFlow first says
    how many there are; tf.data does so while a graph is built. With more than one, the threads
    wait for each other at each operation: the towers take a third longer.
    """
    import tensorflow.compat.v1 as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)


def session_config() -> tf.ConfigProto:
    """One thread for each core, and one for an operation; GPUs' memory as it is needed."""
    import tensorflow.compat.v1 as tf

    return tf.ConfigProto(
        intra_op_parallelism_threads=1,
        inter_op_parallelism_threads=visible_cores(),
        allow_soft_placement=True,
        gpu_options=tf.GPUOptions(allow_growth=True),
    )


def tower_device(index: int, num_gpus: int) -> contextlib.AbstractContextManager:
    """Where the operations of a tower go: its variables to the CPU, all else to a GPU in turn.

    Args:
      index: of the tower.
      num_gpus: to spread the towers over; with 0, TensorFlow itself says where they are.
    """
    if num_gpus == 0:
        return contextlib.nullcontext()
    import tensorflow.compat.v1 as tf

    return tf.device(
        tf.train.replica_device_setter(
            ps_tasks=1, ps_device="/cpu:0", worker_device=f"/gpu:{index % num_gpus}"
        )
    )
