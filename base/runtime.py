"""Loads TensorFlow quietly, and sets its threads and devices."""

import contextlib
import gc
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from base import UserError

# The start of a line in TensorFlow's C++ log: severity and date, in either order.
CHATTER = r"[IWE]\d{4} |[\d-]+ [\d:.]+: [IWE] |WARNING: All log messages before absl"

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # in /proc/cpuinfo: products at float32's double rate


def load_tensorflow_quietly() -> None:
    """Imports TensorFlow, sets it up, and lets it look for devices, without its log messages.

    Raises UserError if TensorFlow, its tf.layers, or a folder for temporary files is missing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach Python as exceptions
    # An import makes half a million objects, which all stay. Looking through them for garbage again
    # and again takes a fifth of its time, and some of every graph's.
    gc.disable()
    try:
        with filtered_stderr(CHATTER):
            from squeezenet_model import tf

            tf.config.list_physical_devices()
    except ImportError as error:
        raise UserError(
            f"{' '.join(str(error).split())}; run `pip install -r requirements.txt`, and in a "
            "notebook restart the kernel."
        ) from error
    except FileNotFoundError as error:  # TensorFlow itself needs such a folder, too
        raise UserError(
            f"{error.strerror}; set TMPDIR to a folder with free space that can be written."
        ) from error
    finally:
        gc.freeze()
        gc.enable()
    try:
        # Towers, or parallel batches, already keep the cores busy; threads that split an operation
        # would wait for each other. TensorFlow's first use fixes their number for all sessions.
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        print(
            "TensorFlow was used in this process before and keeps its threads, so training is "
            "slower; restart the kernel to train at full speed.",
            file=sys.stderr,
        )
    tf.logging.set_verbosity(tf.logging.FATAL)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it announces its font cache
    warnings.filterwarnings("ignore", message=r"`tf\.layers\.\w+` is deprecated")


@contextlib.contextmanager
def filtered_stderr(unwanted: str) -> Iterator[None]:
    """Drops lines from what the process writes to file descriptor 2: those that start with a match
    of a regular expression.

    (TF_CPP_MIN_LOG_LEVEL does not silence what TensorFlow 2.21 logs at its start.)
    """
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            for line in log:
                if not re.match(unwanted.encode(), line):
                    os.write(2, line)


def visible_cores() -> int:
    """The number of cores this process may use: those it may run on, or fewer if it has a quota of
    their time, as containers do."""
    import joblib  # which comes with scikit-learn; takes a fifth of a second

    return joblib.cpu_count()


def session_config() -> Any:
    """A tf.ConfigProto: a thread per core, one per operation; GPU memory as it is needed."""
    import tensorflow.compat.v1 as tf

    config = tf.ConfigProto(
        intra_op_parallelism_threads=1,
        inter_op_parallelism_threads=visible_cores(),
        allow_soft_placement=True,
        gpu_options=tf.GPUOptions(allow_growth=True),
    )
    # The first step comes sooner; going over the graph a second time makes no step faster.
    config.graph_options.rewrite_options.meta_optimizer_iterations = 1
    return config


def fast_precision() -> str:
    """The precision in which this processor trains faster: "bfloat16" if Linux says that it has
    instructions for it, else "float32": without them TensorFlow emulates bfloat16, several times
    slower. (Other systems do not say so in a file, and on ARM TensorFlow does not use them.)"""
    with contextlib.suppress(OSError):
        if BFLOAT16_FLAGS.intersection(Path("/proc/cpuinfo").read_text("utf-8").split()):
            return "bfloat16"
    return "float32"
