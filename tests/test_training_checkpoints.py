"""A run resumes from its newest intact checkpoint, and keeps a few."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from squeezenet_model import tf
from training import RunError
from training.checkpoints import (
    Checkpoints,
    all_checkpoints,
    delete_leftovers,
    delete_old,
    find_damage,
    keep_best,
    newest_checkpoint,
    without_ending,
)


@pytest.fixture
def run_dir(tmp_path):
    """A folder with the checkpoints of steps 9, 90 and 100 (which a sort by name would mix up)."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("v", [1000])
        tf.train.get_or_create_global_step()
        saver = tf.train.Saver()
        session.run(tf.global_variables_initializer())
        for step in (9, 90, 100):
            saver.save(session, str(tmp_path / "model.ckpt"), step, write_meta_graph=False)
    return tmp_path


def test_is_the_one_with_the_highest_step(run_dir):
    assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-100")


def test_is_none_in_an_empty_or_missing_folder(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "missing") is None


@pytest.mark.parametrize("name", ["model.ckpt-100.index", "model.ckpt-100.data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped bit"])
def test_skips_a_damaged_one_and_names_it(run_dir, capfd, name, damage):
    path = run_dir / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 4] ^= 1  # the end of an index is padding that nobody reads
        path.write_bytes(content)
    assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-90")
    assert "model.ckpt-100: skipped" in capfd.readouterr().err


def test_is_silent_about_one_that_another_process_is_still_writing(run_dir, capfd):
    (run_dir / "model.ckpt-100.index").unlink()
    assert newest_checkpoint(run_dir, while_training=True) == str(run_dir / "model.ckpt-90")
    assert capfd.readouterr().err == ""


def test_skips_a_checkpoint_without_a_global_step(run_dir, capfd):
    with tf.Graph().as_default(), tf.Session() as session:
        variable = tf.get_variable("v", [3])
        session.run(variable.initializer)
        tf.train.Saver().save(session, str(run_dir / "model.ckpt"), 200, write_meta_graph=False)
    assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-100")
    assert "model.ckpt-200: skipped because it is damaged (it has no global_step)" in (
        capfd.readouterr().err
    )


@pytest.mark.parametrize("index", [None, b"", b"garbage"])
def test_does_not_need_tensorflows_index_file(run_dir, index):
    (run_dir / "checkpoint").unlink()
    if index is not None:
        (run_dir / "checkpoint").write_bytes(index)
    assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-100")


@pytest.mark.parametrize(
    "ending", ["", ".index", ".meta", ".data-00000-of-00001", ".data-00001-of-00002"]
)
def test_may_be_named_by_any_of_its_files(tmp_path, ending):
    assert without_ending(tmp_path / f"best.ckpt-170{ending}") == str(tmp_path / "best.ckpt-170")


class TestDamage:
    """Damage that TensorFlow must not even open: it would block, or exhaust the memory."""

    @pytest.mark.parametrize("name", ["index", "data-00000-of-00001"])
    @pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "loop", "folder", "huge"])
    def test_is_a_file_of_another_kind_or_size(self, run_dir, name, kind):
        path = run_dir / f"model.ckpt-100.{name}"
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "huge":
            with open(path, "wb") as file:
                file.truncate(1 << 40)  # a sparse one
        else:
            path.symlink_to(path if kind == "loop" else kind)
        expected = "symbolic links" if kind == "loop" else "is not a regular file of up to 512 MB"
        assert expected in find_damage(str(run_dir / "model.ckpt-100"))
        assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-90")

    def test_is_a_variable_that_does_not_fit_into_memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr("training.checkpoints.MOST_BYTES", 10_000)
        with tf.Graph().as_default(), tf.Session() as session:
            variable = tf.get_variable("v", [50, 100])
            session.run(variable.initializer)
            checkpoint = tf.train.Saver([variable]).save(session, str(tmp_path / "model.ckpt"), 1)
        monkeypatch.setattr("training.checkpoints.files_of", lambda checkpoint: [])
        assert "its variables take more than" in find_damage(checkpoint)


class TestOldOnes:
    def steps(self, run_dir):
        return [int(path.rsplit("-", 1)[1]) for path in all_checkpoints(run_dir)]

    def make(self, run_dir, *steps, files=("index", "data-00000-of-00001")):
        for step in steps:
            for file in files:
                (run_dir / f"model.ckpt-{step}.{file}").write_bytes(b"")

    def test_are_deleted_by_their_step_whatever_the_clock_says(self, tmp_path):
        for step in range(1, 13):
            self.make(tmp_path, step)
            for path in tmp_path.glob(f"model.ckpt-{step}.*"):
                os.utime(path, (2_000_000_000 - step,) * 2)  # the clock runs backwards
            delete_old(tmp_path, step)
        assert self.steps(tmp_path) == [10, 11, 12]

    def test_stay_if_they_are_of_later_steps(self, tmp_path):
        self.make(tmp_path, 10, 20, 30, 91, 92, 93)  # those that a damaged disk made useless
        self.make(tmp_path, 40)
        delete_old(tmp_path, 40)
        assert self.steps(tmp_path) == [20, 30, 40, 91, 92, 93]

    @pytest.mark.parametrize("files", [["index"], ["data-00000-of-00001"], ["data-00001-of-00002"]])
    def test_that_were_only_partly_deleted_are_deleted(self, tmp_path, files):
        self.make(tmp_path, 1, 2, files=files)
        self.make(tmp_path, 3, 4, 5)
        delete_old(tmp_path, 5)
        assert self.steps(tmp_path) == [3, 4, 5]
        assert len(list(tmp_path.iterdir())) == 6

    def test_lose_their_index_first(self, tmp_path, monkeypatch):
        self.make(tmp_path, 1, 2, 3, 4)
        deleted = []
        monkeypatch.setattr("pathlib.Path.unlink", lambda path: deleted.append(path.name))
        delete_old(tmp_path, 4)
        assert deleted == ["model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001"]

    def test_that_cannot_be_deleted_do_not_end_the_run(self, tmp_path, monkeypatch):
        def refuse(path):
            raise PermissionError(13, "Permission denied")

        self.make(tmp_path, 1, 2, 3, 4)
        monkeypatch.setattr("pathlib.Path.unlink", refuse)
        delete_old(tmp_path, 4)
        assert self.steps(tmp_path) == [1, 2, 3, 4]

    def test_are_deleted_when_a_new_one_is_saved(self, run_dir):
        with tf.Graph().as_default(), tf.Session() as session:
            tf.get_variable("v", [1000])
            tf.train.get_or_create_global_step()
            checkpoints = Checkpoints(run_dir)
            checkpoints.restore_or_initialize(session)
            checkpoints.save(session, 110)
        assert self.steps(run_dir) == [90, 100, 110]


class TestLeftovers:
    NAMES = (
        "model.ckpt-7.data-00000-of-00001.tempstate42",
        "checkpoint.tmp0f",
        ".best.ckpt.index",
        ".best.ckpt.data-00000-of-00001",
        ".settings.json.new",
        "best.ckpt-7.data-00000-of-00001",  # without an index
    )

    def test_of_killed_processes_are_deleted(self, run_dir):
        keep_best(run_dir, str(run_dir / "model.ckpt-90"), 90, 0.5)
        before = sorted(run_dir.iterdir())
        for name in self.NAMES:
            (run_dir / name).write_bytes(b"")
        shutil.copy(run_dir / "best.ckpt-90.index", run_dir / "best.ckpt-100.index")
        delete_leftovers(run_dir)
        assert sorted(run_dir.iterdir()) == before

    @pytest.mark.parametrize("content", [None, "{", '{"step": 5}'])
    def test_are_not_the_only_best_checkpoint(self, run_dir, content):
        keep_best(run_dir, str(run_dir / "model.ckpt-90"), 90, 0.5)
        (run_dir / "best.json").unlink()
        if content:
            (run_dir / "best.json").write_text(content)
        delete_leftovers(run_dir)
        assert find_damage(str(run_dir / "best.ckpt-90")) is None


class TestTheBest:
    def best(self, run_dir):
        return sorted(path.name for path in run_dir.glob("best*"))

    def test_is_kept_in_addition_to_the_newest(self, run_dir):
        for step, accuracy in ((9, 0.5), (90, 0.7), (100, 0.6)):
            keep_best(run_dir, str(run_dir / f"model.ckpt-{step}"), step, accuracy)
        names = ["best.ckpt-90.data-00000-of-00001", "best.ckpt-90.index", "best.json"]
        assert self.best(run_dir) == names
        tensor = tf.train.load_variable(str(run_dir / "best.ckpt-90"), "v")
        assert (tensor == tf.train.load_variable(str(run_dir / "model.ckpt-90"), "v")).all()
        assert newest_checkpoint(run_dir).endswith("model.ckpt-100")

    def test_is_determined_afresh_if_best_json_is_damaged(self, run_dir):
        keep_best(run_dir, str(run_dir / "model.ckpt-9"), 9, 0.5)
        (run_dir / "best.json").write_text("{")
        keep_best(run_dir, str(run_dir / "model.ckpt-90"), 90, 0.4)
        assert "best.ckpt-90.index" in self.best(run_dir)

    def test_is_replaced_if_its_file_is_lost(self, run_dir):
        keep_best(run_dir, str(run_dir / "model.ckpt-9"), 9, 0.5)
        (run_dir / "best.ckpt-9.index").unlink()
        keep_best(run_dir, str(run_dir / "model.ckpt-90"), 90, 0.4)
        assert "best.ckpt-90.index" in self.best(run_dir)

    @pytest.mark.parametrize("has_one", [False, True])
    @pytest.mark.parametrize("fails", ["data", "index", "json"])
    def test_stays_as_it_was_when_the_disk_is_full(self, run_dir, monkeypatch, has_one, fails):
        if has_one:
            keep_best(run_dir, str(run_dir / "model.ckpt-9"), 9, 0.5)
        before = sorted(run_dir.iterdir())
        replace = os.replace

        def full(source, target):
            if fails in str(target):
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr("pathlib.Path.replace", full)
        with pytest.raises(RunError, match="No space left on device"):
            keep_best(run_dir, str(run_dir / "model.ckpt-90"), 90, 0.6)
        left = set(run_dir.iterdir()) - set(before)
        if fails == "json" and not has_one:  # complete, and nothing says that it is not the best
            assert len(left) == 2
        else:
            assert not left
        assert set(before) <= set(run_dir.iterdir())

    @pytest.mark.parametrize("has_one", [False, True])
    @pytest.mark.parametrize("calls", range(6))
    def test_survives_a_kill_at_any_moment(self, run_dir, monkeypatch, has_one, calls):
        class Killed(BaseException):
            pass

        if has_one:
            keep_best(run_dir, str(run_dir / "model.ckpt-9"), 9, 0.5)
        remaining = [calls]

        def counted(function):
            def call(*args, **options):
                if not remaining[0]:
                    raise Killed
                remaining[0] -= 1
                return function(*args, **options)

            return call

        with monkeypatch.context() as patched:
            for name in ("replace", "unlink"):
                patched.setattr(f"pathlib.Path.{name}", counted(getattr(Path, name)))
            with contextlib.suppress(Killed):
                keep_best(run_dir, str(run_dir / "model.ckpt-90"), 90, 0.6)
        delete_leftovers(run_dir)
        names = self.best(run_dir)
        assert (
            sum(name.endswith(".index") for name in names) == sum("data" in n for n in names) <= 1
        )
        if has_one:
            step = json.loads((run_dir / "best.json").read_text())["step"]
            assert find_damage(str(run_dir / f"best.ckpt-{step}")) is None
