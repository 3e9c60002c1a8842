"""TensorFlow loads quietly in any process: a command's, a notebook's, one without stderr."""

import gc
import io
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from tests.conftest import PROJECT
from training.runtime import filtered_stderr, garbage_ignored, load_tensorflow_quietly


def run_python(code: str, **options) -> subprocess.CompletedProcess:
    """Runs code in a fresh Python."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, **options)


def test_works_repeatedly_and_in_a_thread():
    hook = threading.excepthook
    errors = []

    def load():
        try:
            load_tensorflow_quietly()
        except BaseException as error:
            errors.append(error)

    for _ in range(3):
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
    assert errors == []
    assert threading.excepthook is hook  # not wrapped again each time


def test_works_after_other_use_of_tensorflow_and_says_what_that_costs():
    process = run_python(
        """
        import io, sys
        import tensorflow
        tensorflow.add(1, 2)  # eagerly, as a notebook does
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()  # as a notebook's, without a number
        from training.runtime import load_tensorflow_quietly
        load_tensorflow_quietly()
        load_tensorflow_quietly()
        sys.__stdout__.write(sys.stdout.getvalue() + sys.stderr.getvalue())
        """
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("\n") == 1
    assert "restart the kernel to train at full speed" in process.stdout


def test_works_whatever_the_callers_tensorflow_is_told():
    variables = {
        "TF_XLA_FLAGS": "--no_such_flag",
        "TF_JITRT_FLAGS": "--no_such_flag",
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp",
        "TF_USE_LEGACY_KERAS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "x",
        "TF_NUM_INTRAOP_THREADS": "x",
    }
    process = run_python(
        "from training.runtime import load_tensorflow_quietly\n"
        "load_tensorflow_quietly()\n"
        "from squeezenet_model import tf\n"
        "with tf.Graph().as_default(), tf.Session() as session: print(session.run(tf.constant(7)))",
        env={**os.environ, **variables},
    )
    assert (process.returncode, process.stdout) == (0, "7\n"), process.stderr


class TestTheFilterOfStderr:
    def test_drops_only_unwanted_lines(self, capfd):
        with filtered_stderr("I0000 "):
            os.write(2, b"I0000 chatter\nwanted\nI 0000 wanted too\n")
        os.write(2, b"I0000 afterwards\n")
        assert capfd.readouterr().err == "wanted\nI 0000 wanted too\nI0000 afterwards\n"

    def test_is_removed_after_an_error(self, capfd):
        with pytest.raises(OSError, match="body"), filtered_stderr("I0000 "):
            raise OSError("body")
        os.write(2, b"I0000 afterwards\n")
        assert capfd.readouterr().err == "I0000 afterwards\n"

    @pytest.mark.parametrize("stderr", [None, io.StringIO(), object()])
    def test_needs_no_stderr_of_python(self, monkeypatch, stderr):
        monkeypatch.setattr(sys, "stderr", stderr)
        with filtered_stderr("I0000 "):
            pass

    def test_needs_no_descriptor_2(self):
        process = run_python(
            """
            import os
            os.close(2)
            from training.runtime import filtered_stderr
            with filtered_stderr("I0000 "):
                print("inside")
            """
        )
        assert (process.returncode, process.stdout) == (0, "inside\n")

    def test_needs_no_other_process(self, monkeypatch, capfd):
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        with filtered_stderr("I0000 "):
            os.write(2, b"I0000 chatter\n")
        assert capfd.readouterr().err == "I0000 chatter\n"


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_before_but_spares_what_was_imported(enabled):
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with garbage_ignored():
            assert not gc.isenabled()
            imported = [[]]
        assert gc.isenabled() == enabled
        assert not any(each is imported for each in gc.get_objects())
    finally:
        gc.unfreeze()
        gc.enable() if before else gc.disable()
