"""Arbitrary input is accepted or answered with one sentence, never with a traceback.

`pytest --hypothesis-profile=thorough tests/test_fuzz.py` tries 4,000 inputs per test.
"""

import contextlib
import io
import json
import math
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import JOBS, read_config
from data import DataError, cifar10
from training import RunError
from training.flags import parse_flags, schedule_of
from training.run_dir import PRETRAINED, holder, read_json, read_settings
from training.saved_run import restore_model
from training.settings import CHECKS, MOST_DIM

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


class TestBatchFiles:
    """With batches of three records, so that thousands of files take seconds."""

    SIZE = 3 * cifar10.RECORD_BYTES

    @given(
        size=st.sampled_from([SIZE, SIZE, SIZE, 0, 1, SIZE - 1, SIZE + 1, 2 * SIZE]),
        labels=st.lists(st.integers(0, 12), min_size=3, max_size=3),
        fill=st.integers(0, 255),
    )
    def test_are_read_or_named(self, folder, size, labels, fill):
        content = np.full(max(size, self.SIZE), fill, np.uint8)
        content[: self.SIZE : cifar10.RECORD_BYTES] = labels
        path = folder / "batch.bin"
        path.write_bytes(content[:size].tobytes())
        records = np.empty([3, cifar10.RECORD_BYTES], np.uint8)
        if size == self.SIZE and max(labels) < 10:
            cifar10.read_batch(path, records)
            assert records[:, 0].tolist() == labels
            assert (records[:, 1:] == fill).all()
        else:
            with pytest.raises(DataError, match=r"batch\.bin: "):
                cifar10.read_batch(path, records)


VALID = read_json(PRETRAINED / "settings.json")
odd_values = (
    json_values
    | st.sampled_from(["", "\x1b[2J", "\n", "/etc", "../..", "~", "9" * 300, "\ud800", "\0"])
    | st.sampled_from([0, 1, -1, 5, 2**31, 10**30, -(10**400), 1e308, math.nan, math.inf, -0.0])
)
# Nearly right ones, which get further than those that anybody would notice.
dims = st.integers(-1, MOST_DIM + 1)
depths = st.integers(-1, 1_100)
modules = st.tuples(depths, depths, st.sampled_from(["fire1", "fire2", "a/b", "", "_", "ü", "\n"]))
plausible = {
    "original_dim": dims,
    "resize_dim": dims,
    "class_names": st.lists(st.text(max_size=300), max_size=12),
    "fire_params_1": st.lists(modules.map(list), max_size=3),
    "fire_params_2": st.lists(modules.map(list), max_size=3),
    "net": st.sampled_from(["squeezenet", "squeezenet1_0", "squeezenet1_1", "resnet"]),
}
changes = st.fixed_dictionaries({}, optional=plausible) | st.dictionaries(
    st.sampled_from(sorted(CHECKS)) | st.text(max_size=9), odd_values, max_size=3
)


def answer(folder):
    """The settings in a folder, or the sentence that says why there are none."""
    try:
        return read_settings(folder), None
    except RunError as error:
        return None, str(error)


class TestSettingsFiles:
    @given(content=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
    def test_are_read_or_named(self, folder, content):
        for name in ("settings.json", "trainer.json"):
            (folder / name).write_bytes(content)
        with pytest.raises(RunError, match=r"settings\.json: does not hold the settings of a run"):
            read_settings(folder)
        assert "process" in holder(folder)

    @given(changes=changes, missing=st.sets(st.sampled_from(sorted(VALID)), max_size=1))
    def test_describe_a_net_of_bounded_size_or_are_named(self, folder, changes, missing):
        settings = {name: value for name, value in VALID.items() if name not in missing} | changes
        (folder / "settings.json").write_text(json.dumps(settings))
        read, sentence = answer(folder)
        if read is None:
            assert "settings.json: does not hold the settings of a run" in sentence
            assert sentence.isprintable()
            assert len(sentence) < 1_000
            return
        assert read == settings
        assert 4 <= read["resize_dim"] <= read["original_dim"] <= MOST_DIM
        assert all(name.encode() for name in read["class_names"])
        if read.get("net", "squeezenet") == "squeezenet":
            model = restore_model(read)
            assert model.output_size == len(read["class_names"]) > 0
            stacks = [*model.FIRE_PARAMS_1, *model.FIRE_PARAMS_2]
            assert all(
                0 < squeeze <= 1_024 and 0 < expand <= 1_024 for squeeze, expand, _ in stacks
            )
            assert len({name for *_, name in stacks}) == len(stacks)


numbers = st.integers().map(str) | st.floats().map(str) | st.text(string.printable, max_size=8)
FLAGS = (
    "--batch_size --num_epochs --seed --learning_rate --eval_every --num_towers --held_out "
    "--recipe chapter --dataset --run_dir --data_dir --eval_only --split test --checkpoint "
    "--watch --init_from --original_dim --help -- -x"
)
flags = st.sampled_from(FLAGS.split())


class TestFlags:
    @given(arguments=st.lists(flags | numbers, max_size=6))
    def test_are_taken_or_answered_with_exit_code_2(self, arguments):
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
            exit_code = None
            try:
                parsed = parse_flags(arguments)
                schedule = schedule_of(parsed, num_images=1_500)
            except SystemExit as error:
                exit_code = error.code
        if exit_code is None:
            assert schedule.batch_size % schedule.num_towers == 0
            assert 0 < schedule.total_steps < 2**31
            assert 0 <= schedule.warm_up_steps < schedule.total_steps
            assert 0 <= schedule.seed < 2**31
        elif exit_code:
            assert exit_code == 2
            assert stderr.getvalue().startswith("train.py: error: ")
        else:
            assert "--help" in arguments


class TestClusters:
    addresses = st.sampled_from(["a:1", "b:2", "c", ":3", "d:x", "e:99999"])
    jobs = st.sampled_from([*JOBS, "boss"]) | json_values

    @given(
        cluster=json_values | st.dictionaries(st.sampled_from(JOBS), st.lists(addresses)),
        task=json_values | st.fixed_dictionaries({"type": jobs, "index": json_values}),
    )
    def test_are_joined_or_refused(self, cluster, task):
        with contextlib.suppress(RunError):
            found = read_config(json.dumps({"cluster": cluster, "task": task}))
            assert found is None or found.job in JOBS

    @given(st.text() | json_values.map(json.dumps))
    def test_other_text_is_refused_or_no_cluster(self, text):
        with contextlib.suppress(RunError):
            assert read_config(text) is None
