"""What all commands share: their flags, their output, how signals and errors end them."""

import argparse
import errno
import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from base import Stopped, UserError
from base.program import Interruption, Parser, local_name, local_path, number, run
from tests.conftest import PROJECT, default_signals

# There os.kill ends the process, whatever its handlers.
pytest.importorskip("fcntl", reason="on Windows: other signals")


def run_python(*arguments, **options) -> subprocess.CompletedProcess:
    """Runs Python in the project's folder, with buffered output."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    return subprocess.run([sys.executable, *arguments], cwd=PROJECT, env=environment, **options)


def command_that(statement: str) -> str:
    """A program whose command does something."""
    return (
        "import sys; from base import Stopped; from base.program import run\n"
        f"def command():\n    {statement}\n    return 7\n"
        "sys.exit(run('tool', command))"
    )


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("007", 7), ("1.5", 1.5), (".5", 0.5), ("1e2", 100)]
)
def test_numbers_are_read(text, value):
    assert number(float, 0.1, 100)(text) == value


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize(
    "text", ["", "4", "-5", "101", "9" * 5_000, "1_0", "²", "nan", "inf", "1e", "0x10", "5,0"]
)
def test_numbers_of_other_forms_or_out_of_range_are_refused(kind, text):
    what = "a whole number" if kind is int else "a number"
    with pytest.raises(argparse.ArgumentTypeError, match=f"is not {what} from 5 to 100"):
        number(kind, 5, 100)(text)


@pytest.mark.parametrize(
    "text", ["", "a\0b", "gs://bucket/run", "https://x.org/a.zip", "file:///tmp", "gs:/b/run"]
)
def test_paths_that_name_no_file_here_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a file or folder on this"):
        local_path(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((text, text) for text in ("./gs:/x", "12:30", "a:b", "./~", "a~/~", "C:/x", "-", "./a")),
        ("~/runs/a", "/somewhere/runs/a"),
    ],
)
def test_paths_are_taken_as_they_are_but_for_the_home_folder(monkeypatch, text, name):
    monkeypatch.setenv("HOME", "/somewhere")
    assert local_name(text) == name
    assert local_path(text) == Path(name)


def test_flags_that_are_wrong_are_one_printable_sentence(capsys):
    with pytest.raises(SystemExit) as ended:
        Parser(prog="tool").parse_args(["--\x1b[2J\nerror"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "tool: error: unrecognized arguments: --\\x1b[2J\\nerror; see --help.\n"
    )


@pytest.mark.parametrize(
    ("encoding", "cat"), [("ascii", "\\u732b"), ("latin-1", "\\u732b"), ("utf-8", "猫")]
)
def test_output_may_have_any_encoding(monkeypatch, encoding, cat):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert run("tool", lambda: print("猫 \udcff")) == 0
    assert stdout.buffer.getvalue().decode() == f"{cat} \\udcff\n"


@pytest.mark.parametrize(
    ("closed", "out", "err"),
    [([1], "", "err\n"), ([2], "out\n", ""), ([0, 1, 2], "", "")],
    ids=["stdout", "stderr", "all"],
)
def test_output_may_be_closed_and_no_file_takes_its_place(closed, out, err):
    statement = "print('out'); print('err', file=sys.stderr); assert open('/dev/null').fileno() > 2"
    process = run_python(
        *("-c", command_that(statement)),
        preexec_fn=lambda: [os.close(descriptor) for descriptor in closed],
    )
    assert (process.returncode, process.stdout, process.stderr) == (7, out, err)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (["train.py", "--help"], 2),
        (["-c", command_that("print('out')")], 2),
        (["-c", command_that("raise Stopped('out', 15)")], 143),
    ],
)
def test_output_that_a_full_disk_loses_leaves_an_exit_code(program, code):
    with open("/dev/full", "w") as full:
        assert run_python(*program, stdout=full, stderr=full).returncode == code


@pytest.mark.parametrize(
    ("error", "code", "out", "err"),
    [
        (UserError("a\x1b: is wrong; fix it."), 2, "", "tool: error: a\\x1b: is wrong; fix it.\n"),
        (Stopped("stopped at step 7", signal.SIGTERM), 143, "stopped at step 7\n", ""),
        (KeyboardInterrupt(), 130, "", "tool: stopped\n"),  # outside of a training
        (OSError(errno.EPIPE, "Broken pipe"), 1, "", ""),  # python train.py | head
        (OSError(errno.ENOSPC, "Full"), 2, "", "tool: error: the output: Full; fix that, {}"),
        (OSError(errno.EACCES, "Denied", "a\n"), 2, "", "tool: error: a\\n: Denied; fix that, {}"),
        # A terminal that is gone shows no sentence; but it may be a broken disk.
        (OSError(errno.EIO, "Lost"), 129, "", "tool: error: the output: Lost; fix that, {}"),
    ],
)
def test_an_error_ends_a_command_with_a_sentence_and_a_code(capsys, error, code, out, err):
    assert run("tool", Mock(side_effect=error)) == code
    assert capsys.readouterr() == (out, err.format("and run the same command again.\n"))


@pytest.fixture
def signals():
    """Signals act as by default, whatever those who started the tests ignore."""
    with default_signals():
        yield


@pytest.mark.usefixtures("signals")
class TestInterruption:
    @pytest.mark.parametrize("name", [*Interruption.SENT, "SIGINT"])
    def test_a_signal_is_noted_and_the_handlers_from_before_come_back(self, name):
        sent = getattr(signal, name)
        before = signal.getsignal(sent)
        with Interruption() as interruption:
            for _ in range(1 if name == "SIGINT" else 2):  # what systems send may come twice
                os.kill(os.getpid(), sent)
            assert interruption.received == sent
        assert signal.getsignal(sent) == before

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGHUP])
    def test_what_the_parent_ignores_stays_ignored(self, sent):
        signal.signal(sent, signal.SIG_IGN)
        with Interruption() as interruption:
            os.kill(os.getpid(), sent)
            assert interruption.received is None
        assert signal.getsignal(sent) is signal.SIG_IGN

    def test_in_another_thread_no_handlers_are_needed(self):
        with ThreadPoolExecutor() as threads:
            assert threads.submit(Interruption().__enter__).result().received is None

    def test_a_second_ctrl_c_only_interrupts_the_cell_of_a_notebook(self, monkeypatch):
        monkeypatch.setattr(sys, "ps1", "In [1]: ", raising=False)
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.received == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

    def test_ends_a_training_unless_it_is_complete(self):
        interruption = Interruption()
        interruption.received = signal.SIGTERM
        interruption.check(9, 9)
        with pytest.raises(Stopped, match=r"stopped at step 8 of 9, which is saved; .* to resume"):
            interruption.check(8, 9)
