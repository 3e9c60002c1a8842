"""Runs a cluster on this machine: python -m tools.launch_local --workers 2 -- --dataset digits

Starts one train.py per task, with the flags after `--`, on free ports of localhost, and prints
their output, each line with the name of its task. Ctrl-C shuts all of them down cleanly.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen
from threading import Event

if not __package__:  # started as `python path/to/tools/launch_local.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.command import Interruption, Parser, positive, run_command

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
GRACE_SECONDS = 20.0  # for all tasks to exit after one has failed, or after a signal
POLL_SECONDS = 0.1
PR_SET_PDEATHSIG = 1  # an option of Linux's prctl
# Tells a task to save and end. On Windows SIGTERM would kill it at once.
STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the highest exit code of its tasks, or 128 + its own signal."""
    parser = Parser(prog="tools.launch_local", description="Train in a cluster on this machine.")
    add = parser.add_argument
    add(
        "--workers",
        type=positive(int, 64),
        default=2,
        help="number of tasks, including the chief (default: 2)",
    )
    add(
        "--restarts",
        type=restarts,
        default=0,
        help="how often to restart all tasks after one fails (default: 0)",
    )
    add("train_flags", nargs="*", metavar="-- FLAGS", help="flags for train.py")
    return run_command(parser.prog, launch, parser.parse_args(arguments))


def restarts(text: str) -> int:
    """An argparse type: 0 or more."""
    return 0 if text == "0" else positive(int, 1_000)(text)


def launch(flags: argparse.Namespace) -> int:
    """Runs a cluster to its end, restarting it as often as allowed; returns the exit code."""
    with Interruption() as interruption:
        for restart in range(flags.restarts + 1):
            code = run_tasks(flags.workers, flags.train_flags, interruption)
            if interruption.received:
                return 128 + interruption.received
            if code == 0 or restart == flags.restarts:
                return code
            print(f"restarting all tasks ({restart + 1} of {flags.restarts})", flush=True)


def run_tasks(workers: int, train_flags: list[str], interruption: Interruption) -> int:
    """Runs each task once, and leaves no process behind; returns their highest exit code.

    Raises BrokenPipeError if nobody reads the output anymore.
    """
    processes, unread = {}, Event()
    with ThreadPoolExecutor(workers) as printers:
        try:
            for index, (name, config) in enumerate(task_configs(workers).items()):
                processes[name] = start(train_flags, config, index, workers)
            for name, process in processes.items():  # start threads only after forking
                printers.submit(print_lines, name, process, unread)
            code = wait(processes, interruption, unread)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
    if unread.is_set():
        raise BrokenPipeError
    return code


def wait(processes: dict[str, Popen], interruption: Interruption, unread: Event) -> int:
    """Waits until all tasks have ended, or GRACE_SECONDS after a failure or a signal.

    Returns the highest exit code of those that ended on their own.
    """
    codes, deadline, is_stopping = {}, math.inf, False
    while len(codes) < len(processes) and time.monotonic() < deadline:
        if not is_stopping and (interruption.received or unread.is_set()):
            is_stopping, deadline = True, time.monotonic() + GRACE_SECONDS
            for process in processes.values():
                process.send_signal(STOP)
        for name, process in processes.items():
            code = process.poll()
            if name in codes or code is None:
                continue
            codes[name] = code if code >= 0 else 128 - code
            if code and not is_stopping:
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
                how = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
                print(f"{name} ended: {how}", flush=True)
        time.sleep(POLL_SECONDS)
    if left := [name for name in processes if name not in codes]:
        print(f"killed because they did not exit on their own: {', '.join(left)}", flush=True)
    return max(codes.values(), default=1)


def print_lines(name: str, process: Popen, unread: Event) -> None:
    """Prints a task's output; reads on even if nobody reads ours, so that the task never blocks."""
    for line in process.stdout:
        try:
            print(f"[{name}] {line.rstrip()}\n", end="", flush=True)  # in one piece
        except OSError:
            unread.set()


def task_configs(workers: int) -> dict[str, str]:
    """TF_CONFIG for each task of a cluster on localhost, by the task's name."""
    chief, *others = (f"localhost:{port}" for port in free_ports(workers))
    tasks = {"chief": ("chief", 0)}
    tasks |= {f"worker {index}": ("worker", index) for index in range(len(others))}
    cluster = {"chief": [chief], "worker": others}
    return {
        name: json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})
        for name, (job, index) in tasks.items()
    }


def free_ports(count: int) -> list[int]:
    """Ports that no program listens on now."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(train_flags: list[str], config: str, index: int, workers: int) -> Popen:
    """Starts a task in its own session, so that Ctrl-C reaches it only through `wait`.

    On Linux it gets its own cores, if there are enough, and is killed with the launcher. Elsewhere
    the chief exits when it prints its next line after the launcher is gone.
    """

    def in_the_task():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        cores = sorted(os.sched_getaffinity(0))
        if workers <= len(cores):
            os.sched_setaffinity(0, cores[index::workers])

    return Popen(
        [sys.executable, str(TRAIN), *train_flags],
        env=os.environ | {"TF_CONFIG": config},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # POSIX; Windows has a flag for the same, and ignores this one
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        preexec_fn=in_the_task if sys.platform == "linux" else None,
    )


if __name__ == "__main__":
    sys.exit(main())
