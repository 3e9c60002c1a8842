"""A run resumes from its newest intact checkpoint, and keeps a few."""

import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from base import UserError
from base.files import read_json
from saved import checkpoints
from saved.checkpoints import Checkpoints, find_damage, newest_checkpoint
from squeezenet_model import tf
from tests.odd_files import of_all_kinds

DATA = "data-00000-of-00001"


@pytest.fixture
def session():
    """A session with a net of one variable."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.get_variable("v", [1000])
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        yield session


def save(session, run_dir, step):
    """Saves a checkpoint as a process that has just resumed would."""
    session.run(tf.train.get_global_step().assign(step))
    Checkpoints(run_dir).save(session, step)


@pytest.fixture
def run_dir(session, tmp_path):
    """A folder with the checkpoints of steps 9, 90 and 100 (which a sort by name would mix up)."""
    for step in (9, 90, 100):
        save(session, tmp_path, step)
    return tmp_path


def names(run_dir, pattern):
    return sorted(path.name for path in run_dir.glob(pattern))


def flip_a_bit(path):
    content = np.memmap(path, np.uint8, "r+")
    content[len(content) // 4] ^= 1  # the end of an index is padding that nobody reads


class TestTheNewest:
    @pytest.mark.parametrize("index", [b"", b"garbage"])
    def test_has_the_highest_step_whatever_tensorflows_index_file_says(
        self, session, run_dir, index
    ):
        (run_dir / "checkpoint").write_bytes(index)
        (run_dir / "model.ckpt-²").touch()  # nor do files of other names matter
        found = Checkpoints(run_dir)
        assert found.newest == str(run_dir / "model.ckpt-100")
        assert found.restore_or_initialize(session) == found.step == 100

    def test_is_none_in_an_empty_or_missing_folder(self, session, tmp_path):
        for folder in (tmp_path, tmp_path / "missing", None):
            found = Checkpoints(folder)
            assert (found.newest, found.restore_or_initialize(session)) == ("", 0)

    def test_is_preceded_by_the_initial_values_that_were_set_last(self, session, run_dir):
        new, (v,), another = Checkpoints(None), tf.trainable_variables(), run_dir / "model.ckpt-9"
        tf.train.init_from_checkpoint(str(another), {"v": v})
        session.run(v.assign(tf.zeros([1000])))
        new.restore_or_initialize(session)
        assert (session.run(v) == tf.train.load_variable(str(another), "v")).all()

    @pytest.mark.parametrize("ending", ["index", DATA])
    @pytest.mark.parametrize(
        "damage",
        [
            Path.unlink,
            lambda path: os.truncate(path, 0),
            lambda path: os.truncate(path, path.stat().st_size // 2),
            flip_a_bit,
        ],
        ids=["missing", "empty", "truncated", "flipped bit"],
    )
    def test_is_skipped_and_named_if_it_is_damaged(self, run_dir, capfd, ending, damage):
        damage(run_dir / f"model.ckpt-100.{ending}")
        assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-90")
        assert "model.ckpt-100: skipped because it is damaged (" in capfd.readouterr().err

    def test_is_passed_over_silently_while_another_process_writes_it(self, run_dir, capfd):
        (run_dir / "model.ckpt-100.index").unlink()
        assert newest_checkpoint(run_dir, while_training=True) == str(run_dir / "model.ckpt-90")
        assert capfd.readouterr().err == ""

    def test_has_a_global_step(self, session, run_dir):
        saver = tf.train.Saver(tf.trainable_variables())
        checkpoint = saver.save(session, str(run_dir / "model.ckpt"), 200)
        assert find_damage(checkpoint) == "it has no global_step"
        assert find_damage(checkpoint, is_of_run=False) is None


@pytest.mark.parametrize("ending", ["index", DATA])
@of_all_kinds
def test_what_would_block_or_fill_the_memory_is_damage(run_dir, ending, make_odd):
    path = run_dir / f"model.ckpt-100.{ending}"
    path.unlink()
    make_odd(path)
    assert "is not a regular file of up to 512 MB" in find_damage(str(run_dir / "model.ckpt-100"))


def test_a_variable_that_would_fill_the_memory_is_damage(run_dir, monkeypatch):
    monkeypatch.setattr("pathlib.Path.glob", lambda *args: [])  # its file may be compressed, say
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 4_000)
    assert "its variables take more than" in find_damage(str(run_dir / "model.ckpt-9"))


def test_old_ones_are_deleted_by_their_step_whatever_the_clock_says(session, tmp_path):
    for step in range(1, 6):
        save(session, tmp_path, step)
        for path in tmp_path.glob(f"model.ckpt-{step}.*"):
            os.utime(path, (1_700_000_000 - step,) * 2)  # the clock runs backwards
    assert names(tmp_path, "model.ckpt*index") == [f"model.ckpt-{step}.index" for step in (3, 4, 5)]


class TestTheBest:
    FILES = (f"best.ckpt-90.{DATA}", "best.ckpt-90.index", "best.json")

    def test_is_kept_in_addition_to_the_newest(self, session, run_dir):
        for step, accuracy in ((9, 0.5), (90, 0.7), (100, 0.6)):
            Checkpoints(run_dir).keep_best(session, step, accuracy)
        assert names(run_dir, "best*") == [*self.FILES]
        assert find_damage(str(run_dir / "best.ckpt-90")) is None
        assert len(names(run_dir, "model.ckpt-*.index")) == 3

    @pytest.mark.parametrize(
        "damage",
        [
            lambda folder: (folder / "best.json").write_text("{"),
            lambda folder: (folder / "best.ckpt-9.index").unlink(),
        ],
    )
    def test_is_determined_afresh_if_its_files_are_damaged(self, session, run_dir, damage):
        Checkpoints(run_dir).keep_best(session, 9, 0.5)
        damage(run_dir)
        Checkpoints(run_dir).keep_best(session, 90, 0.4)
        assert names(run_dir, "best*") == [*self.FILES]

    @pytest.mark.parametrize("killed_in", ["pathlib.Path.unlink", "os.replace"])
    def test_survives_a_kill(self, session, run_dir, monkeypatch, killed_in):
        Checkpoints(run_dir).keep_best(session, 9, 0.5)
        with monkeypatch.context() as patched:
            patched.setattr(killed_in, Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                Checkpoints(run_dir).keep_best(session, 90, 0.6)
        (run_dir / f"best.ckpt-90.{DATA}.tempstate1").touch()
        Checkpoints(run_dir).keep_best(session, 90, 0.6)  # which the next process evaluates again
        assert names(run_dir, "best*") == [*self.FILES]
        assert read_json(run_dir / "best.json") == {"step": 90, "accuracy": 0.6}


def test_a_full_disk_is_one_sentence_and_leaves_earlier_checkpoints(session, run_dir):
    found = Checkpoints(run_dir)
    found.keep_best(session, 9, 0.5)
    before = {path: path.read_bytes() for path in run_dir.glob("*ckpt-*")}
    found._run_dir = run_dir / "checkpoint"  # a file, in which nothing can be written
    for write in (lambda: found.save(session, 110), lambda: found.keep_best(session, 110, 0.6)):
        with pytest.raises(UserError, match=r"checkpoint of step 110 cannot be written .* resume"):
            write()
    assert {path: path.read_bytes() for path in run_dir.glob("*ckpt-*")} == before


def test_a_checkpoint_of_another_net_is_named(run_dir):
    with tf.Graph().as_default():
        variables = [tf.get_variable("v", [7])]
    with pytest.raises(UserError, match=r"its v has shape \[1000\], but .* a net with \[7\]"):
        checkpoints.check_fits(str(run_dir / "model.ckpt-9"), variables)
