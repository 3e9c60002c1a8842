"""Arbitrary input is accepted or answered with one sentence, never with a traceback.

`pytest --hypothesis-profile=thorough tests/test_fuzz.py` tries 4,000 inputs per test.
"""

import contextlib
import io
import json
import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import UserError
from base.files import read_json
from cluster.config import JOBS, read_config
from command.flags import parse_flags
from saved.run import restore_model
from saved.run_dir import PRETRAINED, describe_trainer, read_settings
from saved.settings import MAX_DEPTH, MAX_DIM, TYPES
from training.recipe import defaults_for, make_schedule

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


VALID = read_json(PRETRAINED / "settings.json")
odd_values = (
    json_values
    | st.sampled_from(["", "\x1b[2J", "\n", "/etc", "../..", "~", "9" * 300, "\ud800", "\0"])
    | st.sampled_from([0, 1, -1, 5, 2**31, 10**30, -(10**400), 1e308, math.nan, math.inf, -0.0])
)
# Nearly right ones, which get further than those that anybody would notice.
dims = st.integers(-1, MAX_DIM + 1)
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
    st.sampled_from(sorted(TYPES)) | st.text(max_size=9), odd_values, max_size=3
)


@given(content=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_settings_and_trainers_are_read_or_named(folder, content):
    for name in ("settings.json", "trainer.json"):
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=r"settings\.json: does not hold the settings of a run"):
        read_settings(folder)
    assert "process" in describe_trainer(folder)


@given(changes=changes, missing=st.sets(st.sampled_from(sorted(VALID)), max_size=1))
def test_settings_describe_a_net_of_bounded_size_or_are_named(folder, changes, missing):
    settings = {name: value for name, value in VALID.items() if name not in missing} | changes
    (folder / "settings.json").write_text(json.dumps(settings))
    with contextlib.suppress(UserError):
        model = restore_model(read_settings(folder))
        assert 4 <= model.resize_dim <= model.original_dim <= MAX_DIM
        assert model.output_size == len({name.encode() for name in settings["class_names"]}) > 0
        modules = [*model.FIRE_PARAMS_1, *model.FIRE_PARAMS_2]
        assert all(0 < depth <= MAX_DEPTH for *depths, _ in modules for depth in depths)
        assert len({name for *_, name in modules}) == len(modules)


FLAGS = (
    "--batch_size --num_epochs --seed --learning_rate --eval_every --num_towers --held_out "
    "--recipe chapter --dataset --run_dir --data_dir --eval_only --split test --checkpoint "
    "--watch --init_from --original_dim --help -- -x"
)


@given(
    arguments=st.lists(
        st.sampled_from(FLAGS.split())
        | (st.integers() | st.floats()).map(str)
        | st.text(string.printable, max_size=8),
        max_size=6,
    )
)
def test_flags_are_taken_or_answered_with_exit_code_2(arguments):
    stderr = io.StringIO()
    with (
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(UserError),
    ):
        try:
            schedule = make_schedule(1_500, defaults_for("digits"), vars(parse_flags(arguments)))
        except SystemExit as ended:
            code = ended.code
            assert stderr.getvalue().startswith({0: "", 2: "train.py: error: "}[code])
        else:
            assert schedule.batch_size % schedule.num_towers == 0
            assert 0 <= schedule.warm_up_steps < schedule.total_steps < 2**31
            assert 0 <= schedule.seed < 2**31


addresses = st.lists(st.sampled_from(["a:1", "b:2", "c", ":3", "d:x", "e:99999"]))
nearly_right = st.fixed_dictionaries(
    {
        "cluster": json_values | st.dictionaries(st.sampled_from(JOBS), addresses),
        "task": json_values
        | st.fixed_dictionaries({"type": st.sampled_from([*JOBS, "boss"]), "index": json_values}),
    }
)


@given(st.text() | nearly_right.map(json.dumps))
def test_clusters_are_joined_or_refused(text):
    with contextlib.suppress(UserError):
        found = read_config(text)
        assert found is None or found.job in JOBS
