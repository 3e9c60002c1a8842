"""The schedule of a run: its defaults, and what flags change."""

import pytest

from imagenet import DEFAULT_NET
from training.recipe import defaults_for, make_schedule, towers_for


@pytest.mark.parametrize(
    ("dataset", "net", "images", "recipe", "numbers"),
    [
        ("digits", DEFAULT_NET, 1_500, "tuned", (64, 141, 29)),
        ("cifar10", DEFAULT_NET, 50_000, "tuned", (128, 10_000, 1_000)),
        ("/photos", DEFAULT_NET, 1_000, "tuned", (128, 235, 47)),
        ("/photos", "squeezenet1_1", 250, "wise_ft", (32, 94, 47)),
    ],
)
def test_the_defaults_of_each_kind_of_run(dataset, net, images, recipe, numbers):
    schedule = make_schedule(images, defaults_for(dataset, net), {})
    assert (schedule.batch_size, schedule.total_steps, schedule.eval_every) == numbers
    assert (schedule.recipe.name, schedule.recipe.learning_rate) == (recipe, schedule.learning_rate)
    assert schedule.warm_up_steps <= schedule.total_steps / 4


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("num_epochs", 2.5), ("batch_size", 10), ("learning_rate", 0.5), ("eval_every", 3)),
        *(("num_towers", 8), ("seed", 7), ("summarize_layers", True), ("class_weights", True)),
    ],
)
def test_a_flag_takes_precedence(flag, value):
    schedule = make_schedule(1_500, defaults_for("digits"), {flag: value, "recipe": "chapter"})
    assert (getattr(schedule, flag), schedule.recipe.name) == (value, "chapter")


@pytest.mark.parametrize(
    ("dataset", "given", "precision"),
    [
        ("cifar10", {}, "bfloat16"),
        ("cifar10", {"recipe": "chapter"}, "float32"),
        ("cifar10", {"precision": "float32"}, "float32"),
        ("digits", {}, "float32"),
        ("digits", {"precision": "bfloat16"}, "bfloat16"),
    ],
)
def test_bfloat16_is_used_where_it_is_fast_unless_a_flag_says_otherwise(
    monkeypatch, dataset, given, precision
):
    monkeypatch.setattr("training.recipe.fast_precision", lambda: "bfloat16")
    assert make_schedule(1_500, defaults_for(dataset), given).precision == precision


def test_the_tasks_of_a_cluster_add_up_their_batches():
    one, four = (make_schedule(1_500, defaults_for("digits"), {}, count) for count in (1, 4))
    assert (four.batch_size, four.num_towers) == (4 * one.batch_size, one.num_towers)
    assert four.total_steps == -(-one.total_steps // 4)


@pytest.mark.parametrize(
    ("batch_size", "cores", "gpus", "towers"),
    [
        *((128, 2, 0, 4), (100, 2, 0, 2), (65_536, 2, 0, 16)),  # of 32 images or more
        *((128, 8, 0, 8), (128, 6, 0, 4), (32, 8, 0, 4), (128, 64, 0, 16)),  # one per core
        *((1, 8, 0, 1), (15, 8, 0, 1), (97, 8, 0, 1)),  # no way to divide them
        *((128, 64, 1, 1), (128, 64, 8, 8), (100, 64, 3, 2), (1, 64, 2, 1)),  # one per GPU
    ],
)
def test_the_default_number_of_towers(batch_size, cores, gpus, towers):
    assert towers_for(batch_size, cores, gpus) == towers
