"""Runs a cluster on this machine: python -m tools.launch_local --workers 2 -- --dataset digits

Starts one train.py per task, with the flags after `--`, on free ports of 127.0.0.1, and prints
their output, each line with the name of its task. Ctrl-C shuts all of them down cleanly.
"""

import contextlib
import ctypes
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

# For `python path/to/tools/launch_local.py`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base.program import Interruption, Parser, number, report, run

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
HOST = "127.0.0.1"  # not every system knows the name localhost
GRACE_SECONDS = 20.0  # for all tasks to exit after one has failed, or after a signal
# Tells a task to save and end. On Windows SIGTERM would kill it at once.
STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the highest exit code of its tasks, or 128 + its own signal."""
    parser = Parser(
        prog="python -m tools.launch_local", description="Train in a cluster on this machine."
    )
    parser.add_argument(
        "--workers",
        type=number(int, 1, 64),
        default=2,
        help="number of tasks, including the chief (default: 2)",
    )
    parser.add_argument("train_flags", nargs="*", metavar="-- FLAGS", help="flags for train.py")
    return run(parser.prog, lambda: launch(**vars(parser.parse_args(arguments))))


def launch(workers: int, train_flags: list[str]) -> int:
    """Runs each task once, and leaves no process behind; returns the exit code, as `main` does.

    Raises OSError if nobody reads the output any more; the tasks have then ended in order.
    """
    processes: dict[str, subprocess.Popen] = {}
    with Interruption() as interruption, ThreadPoolExecutor(workers) as printers:
        try:
            for index, (name, config) in enumerate(task_configs(workers).items()):
                processes[name] = start(train_flags, config, index, workers)
            # Threads are started only after the last fork.
            printing = {each: printers.submit(print_lines, *each) for each in processes.items()}
            code = wait(printing, interruption)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
    for printed in printing.values():
        printed.result()  # raises what the thread has raised
    return 128 + interruption.received if interruption.received else code


def wait(printing: dict[tuple[str, subprocess.Popen], Future], interruption: Interruption) -> int:
    """Waits until all tasks have ended, or GRACE_SECONDS after a failure or a signal.

    Args:
      printing: the tasks; each has ended when its output is printed.

    Returns:
      The highest exit code of those that ended on their own.
    """
    running, codes, deadline = dict(printing), [0], math.inf
    while running and time.monotonic() < deadline:
        time.sleep(0.1)
        if interruption.received and deadline == math.inf:
            deadline = time.monotonic() + GRACE_SECONDS
            for _, process in running:
                process.send_signal(STOP)
        for name, process in [each for each, printed in running.items() if printed.done()]:
            del running[name, process]
            code = process.returncode
            codes.append(code if code >= 0 else 128 - code)
            if code and not interruption.received:
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
                report(
                    f"{name} ended: exit code {code}"
                    if code > 0
                    else f"{name} ended: killed by {signal.Signals(-code).name}"
                )
    for name, _ in running:
        report(f"{name} did not exit on its own, and is killed")
    return max(codes)


def print_lines(name: str, process: subprocess.Popen) -> None:
    """Prints a task's output until the task has ended.

    If nobody reads ours, nobody reads the task's any more, so it ends, too.
    """
    with process:
        for line in process.stdout or ():
            print(f"[{name}] {line.rstrip()}\n", end="", flush=True)  # in one piece


def task_configs(workers: int) -> dict[str, str]:
    """TF_CONFIG for each task of a cluster on free ports of 127.0.0.1, by the task's name."""
    with contextlib.ExitStack() as stack:
        servers = [socket.create_server((HOST, 0)) for _ in range(workers)]
        chief, *others = [
            f"{HOST}:{stack.enter_context(server).getsockname()[1]}" for server in servers
        ]
    cluster = {"chief": [chief], "worker": others}
    tasks = {"chief": {"type": "chief", "index": 0}} | {
        f"worker {index}": {"type": "worker", "index": index} for index in range(len(others))
    }
    return {name: json.dumps({"cluster": cluster, "task": task}) for name, task in tasks.items()}


def start(train_flags: list[str], config: str, index: int, workers: int) -> subprocess.Popen:
    """Starts a task in its own session, so that Ctrl-C reaches it only through `wait`.

    On Linux it gets its own cores, if there are enough, and is killed with the launcher. Elsewhere
    the chief exits when it prints its next line after the launcher is gone.
    """

    def in_the_task():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
        if workers <= len(cores := sorted(os.sched_getaffinity(0))):
            os.sched_setaffinity(0, cores[index::workers])

    return subprocess.Popen(
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
