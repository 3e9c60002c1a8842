"""Starts TensorFlow quietly, and sets its threads and devices."""

from __future__ import annotations

import contextlib
import functools
import gc
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

# The start of a line in TensorFlow's C++ log: severity and date, in either order.
CHATTER = r"[IWE]\d{4} |[\d-]+ [\d:.]+: [IWE] |WARNING: All log messages before absl"
# These end the process inside TensorFlow if they have a value that another TensorFlow understood
# and this one does not. A run needs neither XLA nor a protobuf other than the default.
FATAL_VARIABLES = ("TF_XLA_FLAGS", "TF_JITRT_FLAGS", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION")
LINE_FILTER = """
import os, re, sys
unwanted = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not unwanted.match(line):
        os.write(2, line)
"""


def load_tensorflow_quietly() -> None:
    """Imports TensorFlow, sets it up, and lets it look for devices, without its log messages.

    TF_CPP_MIN_LOG_LEVEL alone does not silence what TensorFlow 2.21 logs at startup: those lines go
    straight to file descriptor 2. Anything else written there comes through.

    Raises:
      RunError: TensorFlow, or its tf.layers, is missing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach Python as exceptions
    for name in FATAL_VARIABLES:
        os.environ.pop(name, None)
    try:
        with filtered_stderr(CHATTER), garbage_ignored():
            from squeezenet_model import tf

            tf.config.list_physical_devices()
    except ImportError as error:
        raise RunError(
            f"{' '.join(str(error).split())}; run `pip install -r requirements.txt`, and in a "
            "notebook restart the kernel."
        ) from error
    use_one_thread_an_op()
    # Nobody here needs to be told that the TF1 interface is deprecated. Errors reach the program as
    # exceptions, so neither their log nor the traceback of the event-writing thread is needed.
    tf.logging.set_verbosity(tf.logging.FATAL)
    if getattr(threading.excepthook, "func", None) is not unless_event_writer:
        threading.excepthook = functools.partial(unless_event_writer, threading.excepthook)
    # matplotlib announces that it builds a font cache, and complains about the user's settings,
    # which the figures do not depend on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=r"`tf\.layers\.\w+` is deprecated")


@contextlib.contextmanager
def garbage_ignored() -> Iterator[None]:
    """Keeps Python from looking for garbage among the objects an import makes, now and later.

    TensorFlow makes half a million, which all stay; without this, looking through them again and
    again takes a fifth of the import's time, and some of every graph's.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def unless_event_writer(hook: Callable, args: threading.ExceptHookArgs) -> None:
    """A threading.excepthook that leaves out TensorFlow's event writer (see EventWriters.flush)."""
    if args.thread is None or args.thread.name != "EventLoggerThread":
        hook(args)


@contextlib.contextmanager
def filtered_stderr(unwanted: str) -> Iterator[None]:
    """Drops unwanted lines from what the process writes to file descriptor 2.

    The filter is a separate process, so that a crash's last messages come through, too. If there is
    no file descriptor 2, or no such process can be started, nothing is filtered.

    Args:
      unwanted: regular expression for the start of a line to drop.
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
    """Flushes stderr, if possible."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


def visible_gpus() -> int:
    """The number of GPUs that TensorFlow sees."""
    import tensorflow.compat.v1 as tf

    return len(tf.config.list_physical_devices("GPU"))


def use_one_thread_an_op() -> None:
    """Keeps TensorFlow from splitting operations across cores; call it before TensorFlow is used.

    Towers, or parallel batches, already keep the cores busy. All sessions of a process share the
    threads for splitting operations, and the first use of TensorFlow fixes their number; tf.data
    does so while a graph is built. With more than one, the threads wait for each other at each
    operation, and the towers take a third longer.
    """
    import tensorflow.compat.v1 as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow's eager mode has been used, for instance in a notebook
        tell_slower()


@functools.cache
def tell_slower() -> None:
    """Says, once per process, that `use_one_thread_an_op` was called too late."""
    print(
        "TensorFlow was used in this process before and keeps its threads, so training is slower; "
        "restart the kernel to train at full speed.",
        file=sys.stderr,
    )


def session_config() -> tf.ConfigProto:
    """One thread per core, and one per operation; GPU memory is allocated as needed."""
    import tensorflow.compat.v1 as tf

    config = tf.ConfigProto(
        intra_op_parallelism_threads=1,
        inter_op_parallelism_threads=visible_cores(),
        allow_soft_placement=True,
        gpu_options=tf.GPUOptions(allow_growth=True),
    )
    # The first step comes sooner; going over the graph a second time makes no step faster.
    rewriting = config.graph_options.rewrite_options
    rewriting.meta_optimizer_iterations = rewriting.ONE
    return config


def tower_device(index: int, num_gpus: int) -> contextlib.AbstractContextManager:
    """Places a tower: its variables on the CPU, everything else on one of the GPUs.

    Args:
      index: of the tower.
      num_gpus: GPUs to spread the towers over; with 0, TensorFlow places the tower.
    """
    if num_gpus == 0:
        return contextlib.nullcontext()
    import tensorflow.compat.v1 as tf

    return tf.device(
        tf.train.replica_device_setter(
            ps_tasks=1, ps_device="/cpu:0", worker_device=f"/gpu:{index % num_gpus}"
        )
    )
