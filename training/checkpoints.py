"""Which checkpoints a run has, and which of them is whole."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tensorflow.compat.v1 as tf

CHECKPOINT_NAME = "model.ckpt"
KEPT = 3


def all_checkpoints(run_dir: Path) -> list[str]:
    """Paths (without extension) of the run's checkpoints, oldest first, whole or not."""
    steps = {}
    for path in run_dir.glob(f"{CHECKPOINT_NAME}-*"):
        if match := re.fullmatch(rf"({re.escape(CHECKPOINT_NAME)}-(\d+))\..*", path.name):
            steps[str(run_dir / match[1])] = int(match[2])
    return sorted(steps, key=steps.get)


def newest_checkpoint(run_dir: Path) -> str | None:
    """The newest checkpoint that can be read whole, or None; names on stderr what it passes over.

    The files themselves are asked, not TensorFlow's index file `checkpoint`, which may be missing
    or older than they are.
    """
    for checkpoint in reversed(all_checkpoints(run_dir)):
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint
        print(f"{checkpoint}: passed over, it is damaged ({damage})", file=sys.stderr)
    return None


def find_damage(checkpoint: str) -> str | None:
    """Reads every variable of a checkpoint (TensorFlow checks their CRCs); what failed, or None."""
    try:
        reader = tf.train.NewCheckpointReader(checkpoint)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        return reason(error)
    return None


def reason(error: Exception) -> str:
    """What TensorFlow's C++ side said, out of the pages that its Python side wraps around it."""
    if isinstance(error, tf.errors.OpError) and isinstance(error.__context__, tf.errors.OpError):
        error = error.__context__
    return (str(getattr(error, "message", "")) or str(error)).splitlines()[0]
