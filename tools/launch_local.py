"""A cluster on this machine: python -m tools.launch_local --workers 2 --ps 1 -- --dataset digits

Starts train.py once for each task, with the flags after `--`, on free ports of localhost, and
prints what they say, each line with the task it is from. Ctrl-C ends all of them in order.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from training.command import Parser, positive, run_command

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
GRACE_SECONDS = 20.0  # for the others to end, once one has
POLL_SECONDS = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Runs the command.

    Returns:
      The worst exit code of the tasks that ended by themselves, 1 when some had to be stopped, 130
      after Ctrl-C, 143 after SIGTERM.
    """
    parser = Parser(prog="tools.launch_local", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--workers",
        type=positive(int, 64),
        default=2,
        help="processes that train, the chief among them (default: %(default)s)",
    )
    add(
        "--ps",
        type=positive(int, 64),
        default=1,
        help="parameter servers (default: %(default)s)",
    )
    add("train_flags", nargs="*", metavar="-- FLAGS", help="flags of train.py")
    return run_command(parser.prog, launch, parser.parse_args(arguments))


def launch(flags: argparse.Namespace) -> int:
    """Runs a cluster to its end; returns the exit code."""
    tasks = cluster_tasks(flags.workers, flags.ps)
    processes: dict[str, subprocess.Popen] = {}
    printers = []
    unread = threading.Event()
    received = []

    def note(number, frame):
        if received:
            raise KeyboardInterrupt  # which kills what has not ended
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    try:
        for name, config in tasks.items():
            processes[name] = start(flags.train_flags, config)
            printer = threading.Thread(
                target=print_lines, args=[name, processes[name].stdout, unread]
            )
            printer.start()
            printers.append(printer)
        return wait(processes, received, unread)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        for printer in printers:
            printer.join()


def cluster_tasks(workers: int, num_ps: int) -> dict[str, str]:
    """TF_CONFIG for each task of a cluster on localhost, by the task's name."""
    ports = iter(free_ports(workers + num_ps))
    cluster = {
        job: [f"localhost:{next(ports)}" for _ in range(count)]
        for job, count in (("ps", num_ps), ("chief", 1), ("worker", workers - 1))
    }
    return {
        job if job == "chief" else f"{job} {index}": json.dumps(
            {"cluster": cluster, "task": {"type": job, "index": index}}
        )
        for job, addresses in cluster.items()
        for index in range(len(addresses))
    }


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(train_flags: list[str], config: str) -> subprocess.Popen:
    """Starts train.py as a task, in a process group of its own: Ctrl-C is passed on in order."""
    return subprocess.Popen(
        [sys.executable, str(TRAIN), *train_flags],
        env=os.environ | {"TF_CONFIG": config},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def print_lines(name: str, lines: Iterable[str], unread: threading.Event) -> None:
    """Prints what a task says, as it says it; sets unread when nobody reads on."""
    for line in lines:
        if unread.is_set():
            continue  # or the task would wait for a reader
        try:
            print(f"[{name}] {line.rstrip()}", flush=True)
        except BrokenPipeError:
            unread.set()


def wait(
    processes: dict[str, subprocess.Popen], received: list[int], unread: threading.Event
) -> int:
    """Waits until all tasks have ended; once the chief has, or one has failed, not for long.

    Args:
      processes: the tasks, by name.
      received: the signal that has come, if one has; it lets the chief end all of them.
      unread: does the same.

    Returns:
      The exit code.

    Raises:
      BrokenPipeError: nobody has read to the end.
    """
    ends = math.inf
    stopping = False
    codes: dict[str, int] = {}
    while len(codes) < len(processes) and time.monotonic() < ends:
        if (received or unread.is_set()) and not stopping:
            stopping = True
            processes["chief"].send_signal(signal.SIGINT)  # which ends all the others
            ends = time.monotonic() + GRACE_SECONDS
        for name, process in processes.items():
            if name not in codes and process.poll() is not None:
                codes[name] = exit_code(process)
                grace = GRACE_SECONDS if codes[name] in (0, 128 + signal.SIGINT) else 1.0
                if name == "chief" or codes[name]:
                    ends = min(ends, time.monotonic() + grace)
        time.sleep(POLL_SECONDS)
    if unread.is_set():
        raise BrokenPipeError
    if received:
        return 128 + received[0]
    left = [name for name in processes if name not in codes]
    if left and not any(codes.values()):
        print(f"did not end, and were stopped: {', '.join(left)}", file=sys.stderr)
        return 1
    return max(codes.values())


def exit_code(process: subprocess.Popen) -> int:
    """As a shell has it: 128 and the signal's number for a process that a signal has ended."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main())
