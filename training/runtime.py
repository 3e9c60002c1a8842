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

from training import RunError
from training.recipe import visible_cores

if TYPE_CHECKING:  # it takes seconds to import
    import tensorflow.compat.v1 as tf

# How a line of TensorFlow's C++ log begins: with its severity and date, or the other way round.
CHATTER = r"[IWE]\d{4} |[\d-]+ [\d:.]+: [IWE] |WARNING: All log messages before absl"
# What ends the process inside TensorFlow if it has a value that the caller's TensorFlow understood
# and this one does not. A run uses neither XLA nor another protobuf than the default.
FATAL_VARIABLES = ("TF_XLA_FLAGS", "TF_JITRT_FLAGS", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION")
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

    Raises:
      RunError: TensorFlow, or its tf.layers, is missing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach Python as exceptions
    for name in FATAL_VARIABLES:
        os.environ.pop(name, None)
    try:
        with filtered_stderr(CHATTER):
            from squeezenet_model import tf

            tf.config.list_physical_devices()
    except ImportError as error:
        raise RunError(
            f"{' '.join(str(error).split())}; run `pip install -r requirements.txt`, and in a "
            "notebook restart the kernel."
        ) from error
    use_one_thread_an_op()
    # The TF1 interface is deprecated, which is no news to someone who came for it; and what goes
    # wrong reaches the program as an exception, so nobody needs the log of it, or the traceback of
    # the thread that writes events.
    tf.logging.set_verbosity(tf.logging.FATAL)
    if getattr(threading.excepthook, "func", None) is not unless_event_writer:
        threading.excepthook = functools.partial(unless_event_writer, threading.excepthook)
    # It builds a cache of fonts the first time it draws, and says so, and what it dislikes about
    # its settings, which the drawings do not depend on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=r"`tf\.layers\.\w+` is deprecated")


def unless_event_writer(hook: Callable, args: threading.ExceptHookArgs) -> None:
    """A threading.excepthook that leaves out TensorFlow's event writer (see EventWriters.flush)."""
    if args.thread is None or args.thread.name != "EventLoggerThread":
        hook(args)


@contextlib.contextmanager
def filtered_stderr(unwanted: str) -> Iterator[None]:
    """Sends what the process writes to file descriptor 2 through a filter of unwanted lines.

    The filter is a process of its own, so that the last words of a crash come through too. Where
    there is no file descriptor 2, or no such process can be started, nothing is filtered.

    Args:
      unwanted: regular expression that a line to drop begins with.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stderr = os.dup(2)
            stack.callback(os.close, stderr)
            line_filter = start_line_filter(unwanted)
            stack.callback(line_filter.communicate)
            flush_stderr()
            os.dup2(line_filter.stdin.fileno(), 2)
            stack.callback(os.dup2, stderr, 2)
            stack.callback(flush_stderr)
        yield


def start_line_filter(unwanted: str) -> subprocess.Popen:
    """Starts the process that drops unwanted lines; Ctrl-C in the terminal does not reach it."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LINE_FILTER, unwanted],
        stdin=subprocess.PIPE,
        start_new_session=True,  # POSIX; Windows has a flag for the same, and ignores this one
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def flush_stderr() -> None:
    """Writes what stderr holds back, if it is there and can."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


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

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow's eager mode has been used, in a notebook, say
        tell_slower()


@functools.cache
def tell_slower() -> None:
    """Says, once in a process, that `use_one_thread_an_op` came too late."""
    print(
        "TensorFlow was used in this process before and keeps its threads, so training is slower; "
        "restart the kernel to train at full speed.",
        file=sys.stderr,
    )


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
