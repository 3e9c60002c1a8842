"""What a training run survives. The table in docs/faults.md names these tests."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import default_signals, read_events, run_train, train_command, train_here
from training.checkpoints import newest_checkpoint

fcntl = pytest.importorskip("fcntl", reason="on Windows: other signals and terminals")
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

# Two epochs of 24 steps each; a checkpoint and an evaluation after every second step.
FLAGS = ("--num_epochs", 2, "--batch_size", 64, "--eval_every", 2)
LAST_STEP = 47


@contextlib.contextmanager
def training(cwd: Path):
    """A training process; killed at the end if it is still there."""
    with default_signals():
        process = subprocess.Popen(
            train_command(*FLAGS),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run_files(folder: Path) -> dict[str, bytes]:
    """The files of the last and the best checkpoint in a run folder, by name."""
    run_dir = folder / "runs" / "digits"
    files = [*run_dir.glob(f"model.ckpt-{LAST_STEP}.*"), *run_dir.glob("best*")]
    return {path.name: path.read_bytes() for path in files}


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve in TensorBoard except the speed, which differs in every run."""
    found = {}
    for name in ("train", "eval"):
        events = read_events(folder / "runs" / "digits" / name)
        for tag in set(events.Tags()["scalars"]) - {"images_per_second"}:
            found[f"{name}/{tag}"] = [(event.step, event.value) for event in events.Scalars(tag)]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_train(*FLAGS, cwd=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory, request):
    """The folders of runs whose processes were killed repeatedly until the runs were complete."""
    folders = []
    chance = random.Random(0)
    kills = 0
    while kills < request.config.getoption("--kills"):
        folders.append(tmp_path_factory.mktemp("killed"))
        through = False
        while not through and kills < request.config.getoption("--kills"):
            with training(folders[-1]) as process:
                if chance.random() < 0.8:  # else it is killed while it starts
                    process.stdout.readline()
                time.sleep(chance.uniform(0, 3))
                process.kill()
            through = process.returncode == 0
            kills += not through
        assert run_train(*FLAGS, cwd=folders[-1]).returncode == 0
    return folders


class TestARunThatIsKilledAndStartedAgain:
    def test_ends_with_the_same_checkpoint_bit_for_bit(self, undisturbed, killed):
        assert len(run_files(undisturbed)) == 2 + 3
        for folder in killed:
            assert run_files(folder) == run_files(undisturbed)

    def test_leaves_its_results(self, killed):
        for folder in killed:
            results = json.loads((folder / "runs" / "digits" / "results.json").read_text())
            assert results["steps"] == LAST_STEP

    def test_leaves_the_same_curves_without_overlap_or_gap(self, undisturbed, killed):
        assert [step for step, _ in curves(undisturbed)["eval/loss"]] == [*range(2, 47, 2), 47]
        for folder in killed:
            assert curves(folder) == curves(undisturbed)


@pytest.mark.parametrize(
    ("sent", "exit_code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(tmp_path, sent, exit_code):
    with training(tmp_path) as process:
        process.stdout.readline()
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert stderr == ""
    last_line = stdout.splitlines()[-1]
    step = int(re.match(r"stopped at step (\d+) of 47, which is saved; .* to resume", last_line)[1])
    assert newest_checkpoint(tmp_path / "runs" / "digits").endswith(f"model.ckpt-{step}")


def test_closing_the_terminal_ends_the_run_with_a_checkpoint(tmp_path):
    ours, terminal = pty.openpty()
    with default_signals():
        process = subprocess.Popen(
            train_command(*FLAGS),
            cwd=tmp_path,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
    os.close(terminal)
    with process:
        while b"accuracy" not in os.read(ours, 1_000):
            pass
        os.close(ours)
        assert process.wait(timeout=60) == 129
    assert newest_checkpoint(tmp_path / "runs" / "digits")


def test_output_that_nobody_reads_any_more_costs_nothing(tmp_path):
    with training(tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (1, "")
    assert newest_checkpoint(tmp_path / "runs" / "digits").endswith("model.ckpt-2")


def test_a_terminal_that_is_gone_before_its_signal_comes_costs_nothing(tmp_path):
    ours, terminal = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    with default_signals():
        process = subprocess.Popen(train_command(*FLAGS[:-1], 99), cwd=tmp_path, **streams)
    os.close(terminal)
    with process:
        while b"accuracy" not in os.read(ours, 1_000):
            pass
        os.close(ours)  # not the terminal that controls it: no signal will come
        assert process.wait(timeout=60) == 129
    assert newest_checkpoint(tmp_path / "runs" / "digits")


def test_no_setting_of_the_caller_ends_the_run(tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff: no text\n")
    settings = {
        "MPLBACKEND": "nonsense",
        "MPLCONFIGDIR": "/proc/cannot/be/written",
        "TF_XLA_FLAGS": "--no_such_flag",
        "TF_USE_LEGACY_KERAS": "0",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "error",
        "PYTHONSAFEPATH": "1",
        "TQDM_MININTERVAL": "often",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    process = run_train("--num_epochs", 0.1, "--run_dir", "猫", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "\\u732b/model.ckpt-3" in process.stdout
    assert newest_checkpoint(tmp_path / "猫") == str(tmp_path / "猫" / "model.ckpt-3")


def test_ctrl_c_before_training_starts_is_one_line(tmp_path):
    with training(tmp_path) as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "train.py: stopped\n" or "stopped at step" in stdout  # on a fast machine


def test_losing_the_run_folder_ends_the_run_in_one_sentence(tmp_path):
    run_dir = tmp_path / "runs" / "digits"
    with training(tmp_path) as process:
        process.stdout.readline()
        run_dir.rename(tmp_path / "moved")
        run_dir.write_text("no folder any more")
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"train\.py: error: runs/digits: .* cannot be written \(.*\n", stderr)


@pytest.fixture(scope="module")
def extended(undisturbed, tmp_path_factory):
    """A complete run of two epochs, resumed for a third with another evaluation interval."""
    folder = tmp_path_factory.mktemp("extended") / "copy"
    shutil.copytree(undisturbed, folder)
    flags = ("--num_epochs", 3, "--batch_size", 64, "--eval_every", 20)
    assert train_here(*flags, cwd=folder).returncode == 0
    return folder


class TestACompleteRunThatIsExtended:
    def test_keeps_every_point_of_its_curves(self, undisturbed, extended):
        for name, before in curves(undisturbed).items():
            assert curves(extended)[name][: len(before)] == before
        assert [step for step, _ in curves(extended)["eval/loss"]][-3:] == [47, 60, 71]

    def test_has_new_results(self, extended):
        results = json.loads((extended / "runs" / "digits" / "results.json").read_text())
        assert results["steps"] == 71


def test_a_damaged_newest_checkpoint_is_skipped(undisturbed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    data = folder / "runs" / "digits" / f"model.ckpt-{LAST_STEP}.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    process = train_here(*FLAGS, cwd=folder)
    assert process.returncode == 0
    assert f"model.ckpt-{LAST_STEP}: skipped because it is damaged" in process.stderr
    assert process.stdout.startswith("step 46: test accuracy")
    assert data.read_bytes() == whole
    assert curves(folder) == curves(undisturbed)


def test_a_full_disk_ends_the_run_in_one_sentence(tmp_path):
    process = run_train(*FLAGS, cwd=tmp_path, largest_file=20_000)
    assert process.returncode == 2
    sentence = r"train\.py: error: runs/digits: the .* cannot be written \(.*\); free .*\n"
    assert re.fullmatch(sentence, process.stderr)
    assert newest_checkpoint(tmp_path / "runs" / "digits") is None
    assert not list((tmp_path / "runs" / "digits").glob("*ckpt*"))


def test_a_full_disk_keeps_earlier_checkpoints(undisturbed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(undisturbed, folder)
    run_dir = folder / "runs" / "digits"
    for path in run_dir.glob(f"model.ckpt-{LAST_STEP}.*"):
        path.unlink()
    before = {path.name: path.read_bytes() for path in run_dir.glob("*.ckpt-*")}
    process = run_train(*FLAGS, cwd=folder, largest_file=170_000)
    assert process.returncode == 2
    assert f"the checkpoint of step {LAST_STEP} cannot be written" in process.stderr
    assert {path.name: path.read_bytes() for path in run_dir.glob("*.ckpt-*")} == before
