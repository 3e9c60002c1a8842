"""What of the machine a session works on, and how."""

from __future__ import annotations

import contextlib

import tensorflow.compat.v1 as tf

from training.recipe import visible_cores


def visible_gpus() -> int:
    """How many GPUs TensorFlow sees."""
    return len(tf.config.list_physical_devices("GPU"))


def use_one_thread_an_op() -> None:
    """Keeps TensorFlow from dividing operations between cores; to be called before it is used.

    Towers, and batches side by side, keep the cores busy by themselves. Every session of a process
    shares the threads that operations are divided between, and whatever uses TensorFlow first says
    how many there are; tf.data does so while a graph is built. With more than one, the threads
    wait for each other at each operation: the towers take a third longer.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)


def session_config() -> tf.ConfigProto:
    """One thread for each core, and one for an operation; GPUs' memory as it is needed."""
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
    return tf.device(
        tf.train.replica_device_setter(
            ps_tasks=1, ps_device="/cpu:0", worker_device=f"/gpu:{index % num_gpus}"
        )
    )
