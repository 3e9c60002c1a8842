"""Files of TensorBoard events that are complete on the disk when they must be."""

import contextlib
import functools
import socket
import time
from pathlib import Path

import tensorflow.compat.v1 as tf

from base.files import writing


class EventFile:
    """A new file of events in a folder; everything is on disk after `flush`.

    (tf.summary.FileWriter writes in a thread of its own, whose errors reach nobody.)

    Args:
      folder: created if need be.
      first_step: TensorBoard discards what an interrupted run wrote about this step and later ones,
        because of the session's START event.

    Raises:
      UserError: the disk is full or the folder cannot be written; this goes for all methods.
    """

    def __init__(self, folder: Path, first_step: int):
        self._errors = functools.partial(
            writing,
            f"{folder}: the events for TensorBoard",
            "free some space or fix the disk, then run the same command again to resume from the "
            "last checkpoint",
            (OSError, tf.errors.OpError),
        )
        with self._errors():
            folder.mkdir(exist_ok=True)
            # TensorBoard reads files in the order of their names, whatever the clock says.
            others = folder.glob(f"events.out.tfevents.{10 * '[0-9]'}.*")
            numbers = [int(path.name.split(".")[3]) + 1 for path in others]
            number = max([int(time.time()), *numbers])
            name = f"events.out.tfevents.{number:010d}.{socket.gethostname()}"
            self._writer = tf.io.TFRecordWriter(str(folder / name))
        self.add(0, file_version="brain.Event:2")
        self.add(first_step, session_log=tf.SessionLog(status=tf.SessionLog.START))

    def add(self, step: int, **content: object) -> None:
        """Adds an event with one of tf.Event's contents."""
        event = tf.Event(wall_time=time.time(), step=step, **content)
        with self._errors():
            self._writer.write(event.SerializeToString())

    def add_scalars(self, step: int, scalars: dict[str, float]) -> None:
        """Adds a value per tag."""
        values = [{"tag": tag, "simple_value": value} for tag, value in scalars.items()]
        self.add(step, summary=tf.Summary(value=values))

    def flush(self) -> None:
        """Returns once everything that was added is in the file."""
        with self._errors():
            self._writer.flush()

    def close(self) -> None:
        """Closes the file. `flush` has reported what could not be written, or the run ends for a
        worse reason."""
        with contextlib.suppress(OSError, tf.errors.OpError):
            self._writer.close()
