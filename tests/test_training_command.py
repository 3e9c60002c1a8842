"""What all commands share: their flags, their output, how signals and errors end them."""

import argparse
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from data import DataError
from tests.conftest import PROJECT, default_signals
from training import RunError, Stopped
from training.command import (
    Interruption,
    Parser,
    local_name,
    local_path,
    positive,
    run_command,
    seed,
)

# There os.kill ends the process, whatever its handlers.
pytest.importorskip("fcntl", reason="on Windows: other signals")


def run(command):
    """Runs a function as a command."""
    return run_command("tool", lambda flags: command() or 0, argparse.Namespace())


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "number"),
        [("1", 1), ("007", 7), ("1.5", 1.5), (".5", 0.5), ("2.", 2), ("1e2", 100)],
    )
    def test_are_read(self, text, number):
        assert positive(float, 100)(text) == number

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " 5",
            "5 ",
            "1_0",
            "+5",
            "-5",
            "٣",
            "\uff15",
            "²",
            "nan",
            "inf",
            "1e",
            "1e-400",
            "0",
            "101",
            "0x10",
            "5,0",
            "5\n",
            "\x005",
            "9" * 5_000,
        ],
    )
    @pytest.mark.parametrize("kind", [int, float])
    def test_of_other_forms_or_out_of_range_are_refused(self, kind, text):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a"):
            positive(kind, 100)(text)

    def test_have_a_lower_bound(self):
        assert positive(int, 9, least=5)("5") == 5
        with pytest.raises(
            argparse.ArgumentTypeError, match="'4' is not a whole number from 5 to 9"
        ):
            positive(int, 9, least=5)("4")

    def test_may_be_0_as_a_seed(self):
        assert seed("0") == 0
        for text in ("", "-1", "٣", "1_0", "1.0", str(2**31), "9" * 5_000):
            with pytest.raises(argparse.ArgumentTypeError):
                seed(text)


class TestPaths:
    def test_begin_at_the_home_folder_after_a_tilde(self, monkeypatch):
        monkeypatch.setenv("HOME", "/somewhere")
        assert local_path("~") == Path("/somewhere")
        assert local_path("~/runs/a") == Path("/somewhere/runs/a")
        assert local_path("a~/~") == Path("a~/~")

    @pytest.mark.parametrize("text", ["~nobody-is-called-so", "~nobody-is-called-so/runs"])
    def test_of_an_unknown_user_are_refused(self, text):
        with pytest.raises(argparse.ArgumentTypeError, match="there is no such home folder"):
            local_path(text)

    @pytest.mark.parametrize("text", ["", "\0", "a\0b"])
    def test_that_name_nothing_are_refused(self, text):
        with pytest.raises(argparse.ArgumentTypeError, match="does not name a file"):
            local_path(text)

    @pytest.mark.parametrize(
        "text",
        [
            "gs://bucket/run",
            "s3://b",
            "https://x.org/a.zip",
            "file:///tmp",
            "hdfs://h/",
            "gs:/b/run",
        ],
    )
    def test_are_not_urls(self, text):
        with pytest.raises(argparse.ArgumentTypeError, match="is a URL; give a file or folder"):
            local_path(text)

    @pytest.mark.parametrize("text", ["./gs:/x", "12:30", "a:b", "./~", "C:/x", "-"])
    def test_of_other_forms_are_taken(self, text):
        assert local_path(text) == Path(text)

    def test_keep_a_leading_dot_as_names(self):
        assert local_name("./digits") == "./digits"


class TestFlags:
    def test_that_are_wrong_are_one_printable_sentence(self, capsys):
        with pytest.raises(SystemExit) as ended:
            Parser(prog="tool").parse_args(["--\x1b[2J\nerror"])
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err == "tool: error: unrecognized arguments: --\\x1b[2J\\nerror; see --help.\n"

    @pytest.mark.parametrize("arguments", [["train.py"], ["-m", "tools.predict"]])
    def test_help_that_cannot_be_written_is_an_error(self, arguments):
        with open("/dev/full", "w") as full:
            process = subprocess.run(
                [sys.executable, *arguments, "--help"],
                cwd=PROJECT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert process.returncode == 2
        assert process.stderr.count("\n") == 1
        assert "the output: No space left on device" in process.stderr


SHOW_PYTHON = """
import sys
from training.command import Parser
parser = Parser()
parser.add_argument("name")
name = parser.parse_args().name
print(sys.flags.optimize < 2, sys.getfilesystemencoding(), ascii(name))
"""


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONOPTIMIZE": "2"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONOPTIMIZE": "2"},
    ],
)
@pytest.mark.parametrize("as_module", [False, True])
def test_python_is_started_again_where_its_settings_would_not_do(tmp_path, variables, as_module):
    (tmp_path / "show.py").write_text(SHOW_PYTHON)
    process = subprocess.run(
        [sys.executable, *(["-m", "show"] if as_module else ["show.py"]), "猫".encode()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **variables},
        capture_output=True,
        text=True,
    )
    assert process.stderr == ""
    assert process.stdout == "True utf-8 '\\u732b'\n"


class TestOutput:
    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    def test_may_have_any_encoding(self, monkeypatch, encoding):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run(lambda: print("猫 \udcff")) == 0
        text = "猫" if encoding == "utf-8" else "\\u732b"
        assert stdout.buffer.getvalue() == f"{text} \\udcff\n".encode()

    def test_may_be_any_object(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        assert run(lambda: print("hello")) == 0
        assert sys.stdout.getvalue() == "hello\n"

    @pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)])
    def test_may_be_closed(self, closed):
        code = (
            "import argparse, sys; from training.command import run_command\n"
            "def command(flags):\n"
            "    print('out')\n"
            "    print('err', file=sys.stderr)\n"
            "    return 7\n"
            "sys.exit(run_command('tool', command, argparse.Namespace()))"
        )
        process = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            preexec_fn=lambda: [os.close(number) for number in closed],
        )
        assert process.returncode == 7
        assert process.stdout == ("" if 1 in closed else "out\n")
        assert process.stderr == ("" if 2 in closed else "err\n")

    @pytest.mark.parametrize("command", ["print('out')", "raise Stopped('out', 15)"])
    def test_that_nobody_can_be_told_of_leaves_an_exit_code(self, command):
        code = (
            "import argparse, sys; from training.command import run_command\n"
            "from training import Stopped\n"
            f"def command(flags):\n    {command}\n"
            "sys.exit(run_command('tool', command, argparse.Namespace()))"
        )
        with open("/dev/full", "w") as full:
            process = subprocess.run(
                [sys.executable, "-c", code], cwd=PROJECT, stdout=full, stderr=full
            )
        assert process.returncode == (143 if "Stopped" in command else 2)

    def test_warnings_do_not_end_it(self, recwarn):
        import warnings

        def command():
            warnings.warn("old", DeprecationWarning, stacklevel=1)

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert run(command) == 0


class TestErrors:
    @pytest.mark.parametrize("kind", [DataError, RunError])
    def test_are_one_sentence_and_exit_code_2(self, capsys, kind):
        def command():
            raise kind("runs/\x1b[31m: is wrong; fix it.")

        assert run(command) == 2
        assert capsys.readouterr() == ("", "tool: error: runs/\\x1b[31m: is wrong; fix it.\n")

    def test_of_a_run_cannot_forge_lines(self):
        assert str(RunError("a\nb: fine")) == "a\\nb: fine"

    def test_stopped_is_told_on_stdout(self, capsys):
        def command():
            raise Stopped("stopped at step 7", signal.SIGTERM)

        assert run(command) == 143
        assert capsys.readouterr() == ("stopped at step 7\n", "")

    def test_ctrl_c_outside_of_a_training_is_a_word(self, capsys):
        def command():
            raise KeyboardInterrupt

        assert run(command) == 130
        assert capsys.readouterr().err == "tool: stopped\n"


@pytest.fixture
def signals():
    """Signals act as by default, whatever those who started the tests ignore."""
    with default_signals():
        yield


@pytest.mark.usefixtures("signals")
class TestInterruption:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_the_first_signal_is_noted(self, number):
        with Interruption() as interruption:
            assert interruption.received is None
            os.kill(os.getpid(), number)
            assert interruption.received == number

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_what_the_parent_ignores_stays_ignored(self, number):
        signal.signal(number, signal.SIG_IGN)
        with Interruption() as interruption:
            os.kill(os.getpid(), number)
            assert interruption.received is None
        assert signal.getsignal(number) is signal.SIG_IGN

    def test_the_handlers_from_before_are_back_afterwards(self):
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]
        with Interruption():
            os.kill(os.getpid(), signal.SIGINT)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)] == before

    def test_a_hangup_may_come_twice(self):
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)
            assert interruption.received == signal.SIGHUP

    def test_in_another_thread_no_handlers_are_needed(self):
        received = []

        def work():
            with Interruption() as interruption:
                received.append(interruption.received)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert received == [None]

    def test_a_second_ctrl_c_ends_the_process_at_once(self):
        code = (
            "import os, signal\n"
            "from training.command import Interruption\n"
            "with Interruption() as interruption:\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n"
            "    print(interruption.received.name, flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n"
            "    print('still here', flush=True)\n"
        )
        process = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
        )
        assert process.returncode == -signal.SIGINT
        assert process.stdout == "SIGINT\n"
        assert process.stderr == ""

    def test_a_second_ctrl_c_only_interrupts_the_cell_of_a_notebook(self, monkeypatch):
        monkeypatch.setattr(sys, "ps1", "In [1]: ", raising=False)
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.received == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
