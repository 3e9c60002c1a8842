"""A cluster on this machine: python -m tools.launch_local --workers 2 -- --dataset digits

Starts one train.py per task, with the flags after `--`, on free ports of localhost, and prints
their output, each line with the name of its task. Ctrl-C shuts all of them down in order.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from training.command import Parser, positive, run_command

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
GRACE_SECONDS = 20.0  # for the other tasks to end, once one has
POLL_SECONDS = 0.1
STOPS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
PR_SET_PDEATHSIG = 1  # of Linux's prctl


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      Exit code: 0 when all tasks have ended well, otherwise the highest of theirs (128 and the
      signal's number for a task that was killed); 128 and the number of a signal to this command.
    """
    parser = Parser(prog="tools.launch_local", description="Train in a cluster on this machine.")
    add = parser.add_argument
    add(
        "--workers",
        type=positive(int, 64),
        default=2,
        help="tasks that train, chief included (default: %(default)s)",
    )
    add(
        "--restarts",
        type=restarts,
        default=0,
        help="how often to restart all tasks after one is lost (default: %(default)s)",
    )
    add("train_flags", nargs="*", metavar="-- FLAGS", help="flags of train.py")
    return run_command(parser.prog, launch, parser.parse_args(arguments))


def restarts(text: str) -> int:
    """An argparse type: 0 or more."""
    return 0 if text == "0" else positive(int, 1_000)(text)


def launch(flags: argparse.Namespace) -> int:
    """Runs a cluster to its end, restarting it as often as allowed; returns the exit code."""
    received = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt  # a second signal: whatever still runs is killed
        received.append(number)

    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, note)
    for restart in range(flags.restarts + 1):
        with Group(flags.workers, flags.train_flags) as group:
            code = group.wait(received)
        if code == 0 or received or restart == flags.restarts:
            break
        print(f"restarting all tasks ({restart + 1} of {flags.restarts})", flush=True)
    return 128 + received[0] if received else code


class Group:
    """The tasks of one cluster; a context manager that leaves no process behind.

    Args:
      workers: how many tasks.
      train_flags: of each.
    """

    def __init__(self, workers: int, train_flags: list[str]):
        self._processes = {
            name: start(train_flags, config) for name, config in task_configs(workers).items()
        }
        self._printers = [
            threading.Thread(target=self._print_lines, args=[name]) for name in self._processes
        ]
        self._unread = threading.Event()

    def __enter__(self) -> Group:
        for printer in self._printers:
            printer.start()
        return self

    def __exit__(self, *exc_info) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        for printer in self._printers:
            printer.join()

    def _print_lines(self, name: str) -> None:
        for line in self._processes[name].stdout:
            with contextlib.suppress(BrokenPipeError):
                if not self._unread.is_set():
                    print(f"[{name}] {line.rstrip()}", flush=True)
                    continue
            self._unread.set()  # and the task is still read, or it would wait for a reader

    def wait(self, received: list[int]) -> int:
        """Waits until all tasks have ended; after one has failed, for GRACE_SECONDS at most.

        Args:
          received: the signal that came, once one has; it shuts all tasks down.

        Returns:
          The highest exit code of the tasks that ended by themselves.

        Raises:
          BrokenPipeError: nobody reads the output any more.
        """
        codes: dict[str, int] = {}
        ends = None
        told = False
        while len(codes) < len(self._processes):
            if (received or self._unread.is_set()) and not told:
                told = True
                ends = time.monotonic() + GRACE_SECONDS
                for process in self._processes.values():
                    process.send_signal(received[0] if received else signal.SIGINT)
            for name, process in self._processes.items():
                if name not in codes and process.poll() is not None:
                    codes[name] = exit_code(process)
                    if codes[name] and not told:
                        ends = ends or time.monotonic() + GRACE_SECONDS
                        print(f"{name} ended: {ending(process)}", file=sys.stderr, flush=True)
            if ends and time.monotonic() > ends:
                left = ", ".join(name for name in self._processes if name not in codes)
                print(f"killed, as they did not end by themselves: {left}", file=sys.stderr)
                break
            time.sleep(POLL_SECONDS)
        if self._unread.is_set():
            raise BrokenPipeError
        return max(codes.values(), default=1)


def task_configs(workers: int) -> dict[str, str]:
    """TF_CONFIG for each task of a cluster on localhost, by the task's name."""
    chief, *others = (f"localhost:{port}" for port in free_ports(workers))
    cluster = {"chief": [chief], "worker": others}
    tasks = {"chief": ("chief", 0)}
    tasks |= {f"worker {index}": ("worker", index) for index in range(len(others))}
    return {
        name: json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})
        for name, (job, index) in tasks.items()
    }


def free_ports(count: int) -> list[int]:
    """Ports that no program listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def start(train_flags: list[str], config: str) -> subprocess.Popen:
    """Starts a task in a process group of its own, so that Ctrl-C reaches it only once."""
    return subprocess.Popen(
        [sys.executable, str(TRAIN), *train_flags],
        env=os.environ | {"TF_CONFIG": config},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )


def die_with_parent() -> None:
    """Has the system kill this process when the launcher is gone, however it ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_code(process: subprocess.Popen) -> int:
    """As a shell has it: 128 and the signal's number for a process that a signal ended."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def ending(process: subprocess.Popen) -> str:
    """How a process ended, for people."""
    if process.returncode >= 0:
        return f"exit code {process.returncode}"
    return f"killed by {signal.Signals(-process.returncode).name}"


if __name__ == "__main__":
    sys.exit(main())
