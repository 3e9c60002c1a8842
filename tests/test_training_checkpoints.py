"""Which checkpoint a run goes on from: the newest that is whole."""

import pytest

from squeezenet_model import tf
from training.checkpoints import keep_best, newest_checkpoint


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
def test_passes_over_a_damaged_one_and_names_it(run_dir, capfd, name, damage):
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
    assert "model.ckpt-100: passed over" in capfd.readouterr().err


def test_says_nothing_of_one_that_another_process_has_not_written_to_its_end(run_dir, capfd):
    (run_dir / "model.ckpt-100.index").unlink()
    assert newest_checkpoint(run_dir, while_training=True) == str(run_dir / "model.ckpt-90")
    assert capfd.readouterr().err == ""


def test_passes_over_what_is_no_checkpoint_of_a_training(run_dir, capfd):
    with tf.Graph().as_default(), tf.Session() as session:
        variable = tf.get_variable("v", [3])
        session.run(variable.initializer)
        tf.train.Saver().save(session, str(run_dir / "model.ckpt"), 200, write_meta_graph=False)
    assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-100")
    assert "model.ckpt-200: passed over, it is damaged (no global_step in it)" in (
        capfd.readouterr().err
    )


@pytest.mark.parametrize("index", [None, b"", b"garbage"])
def test_does_not_need_tensorflows_index_file(run_dir, index):
    (run_dir / "checkpoint").unlink()
    if index is not None:
        (run_dir / "checkpoint").write_bytes(index)
    assert newest_checkpoint(run_dir) == str(run_dir / "model.ckpt-100")


class TestTheBest:
    def best(self, run_dir):
        return sorted(path.name for path in run_dir.glob("best*"))

    def test_is_kept_beside_the_newest(self, run_dir):
        for step, accuracy in ((9, 0.5), (90, 0.7), (100, 0.6)):
            keep_best(run_dir, str(run_dir / f"model.ckpt-{step}"), step, accuracy)
        names = ["best.ckpt-90.data-00000-of-00001", "best.ckpt-90.index", "best.json"]
        assert self.best(run_dir) == names
        tensor = tf.train.load_variable(str(run_dir / "best.ckpt-90"), "v")
        assert (tensor == tf.train.load_variable(str(run_dir / "model.ckpt-90"), "v")).all()
        assert newest_checkpoint(run_dir).endswith("model.ckpt-100")

    def test_is_found_again_where_best_json_is_damaged(self, run_dir):
        keep_best(run_dir, str(run_dir / "model.ckpt-9"), 9, 0.5)
        (run_dir / "best.json").write_text("{")
        keep_best(run_dir, str(run_dir / "model.ckpt-90"), 90, 0.4)
        assert "best.ckpt-90.index" in self.best(run_dir)
