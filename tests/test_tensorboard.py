"""What TensorBoard shows of a run, read by its own readers."""

import re

import pytest
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import metadata

from base.files import read_json
from tests.conftest import read_events, steps

EVALUATED = [150, 300, 375]
CONVOLUTIONS = (
    "scope1_conv1",
    *(
        f"scope{place}_fire{place - 1}/{layer}"
        for place in (2, 3, 4, 5)
        for layer in ("1_squeeze", "2_expand1x1", "3_expand3x3")
    ),
    "scope6_final_conv",
)


@pytest.fixture(scope="module")
def training(trained):
    """The events of the run's training."""
    return read_events(trained.run_dir / "train")


@pytest.fixture(scope="module")
def evaluation(trained):
    """The events of its evaluations."""
    return read_events(trained.run_dir / "eval")


def tags_of(events, plugin):
    """The tags that a plugin of TensorBoard finds."""
    return {
        tag
        for tag in events.Tags()["tensors"]
        if events.SummaryMetadata(tag).plugin_data.plugin_name == plugin
    }


def content(events, tag):
    """What the only event of a tag holds."""
    (event,) = events.Tensors(tag)
    return event.tensor_proto.string_val[0]


def test_has_the_curves_of_the_run_and_of_each_scope(training, evaluation):
    measures = ("norm", "update_ratio", "gradient_norm")
    assert {tag: steps(training, tag) for tag in training.Tags()["scalars"]} == {
        tag: [*range(20, 375, 20), 375]
        for tag in (
            *("loss", "accuracy", "learning_rate", "images_per_second"),
            *(f"{scope}/kernel/{measure}" for scope in CONVOLUTIONS for measure in measures),
        )
    }
    zeros = [f"{tag}/activation/zeros" for tag in CONVOLUTIONS]
    assert {tag: steps(evaluation, tag) for tag in evaluation.Tags()["scalars"]} == {
        tag: EVALUATED for tag in ("loss", "accuracy", *zeros)
    }


def test_has_a_histogram_of_every_variable(evaluation):
    names = [f"{tag}/{kind}" for tag in CONVOLUTIONS for kind in ("kernel", "bias")]
    assert {
        name: [event.step for event in evaluation.Tensors(name)]
        for name in tags_of(evaluation, "histograms")
    } == {name: [0, *EVALUATED] for name in names}


def test_has_histograms_of_activations_and_gradients_on_request(train, tmp_path):
    train(total_steps=2, summarize_layers=True)
    assert {
        f"{scope}/{name}"
        for scope in ("scope1_conv1", "scope2_fire1/1_squeeze")
        for name in ("activation", "kernel/gradient", "bias/gradient")
    } <= tags_of(read_events(tmp_path / "eval"), "histograms")


def test_has_a_chart_for_each_fire_module(training, evaluation):
    categories = Layout.FromString(content(training, "custom_scalars__config__")).category
    assert [category.title for category in categories] == [
        "update-to-weight ratio",
        "norm of the kernels",
        "norm of the gradients",
        "fraction of zero ReLU outputs",
    ]
    curves = training.Tags()["scalars"] + evaluation.Tags()["scalars"]
    for category in categories:
        assert [chart.title for chart in category.chart] == ["fire1", "fire2", "fire3", "fire4"]
        for place, chart in enumerate(category.chart):
            found = [c for tag in chart.multiline.tag for c in curves if re.match(tag, c)]
            assert [re.match(r"scope\d_fire\d/\d_\w+", curve)[0] for curve in found] == [
                *CONVOLUTIONS[1 + 3 * place : 4 + 3 * place]
            ]


def test_has_the_images(training, evaluation):
    assert training.Tags()["images"] == ["augmented"]
    assert {
        tag: [event.step for event in evaluation.Images(tag)] for tag in evaluation.Tags()["images"]
    } == {"scope1_conv1/filters": [0, *EVALUATED], "confusion_matrix": [375], "worst": [375]}
    for events, tag in ((training, "augmented"), (evaluation, "worst")):
        assert events.Images(tag)[0].encoded_image_string.startswith(b"\x89PNG")


def test_has_settings_and_scopes_as_text(training):
    assert tags_of(training, "text") == {"settings", "scopes"}
    assert "\n| learning_rate | 0.02 |\n" in content(training, "settings").decode()
    scopes = content(training, "scopes").decode()
    assert "| 146,570 |" in scopes
    assert "\n| &emsp;expand3x3 |" in scopes  # indented


def test_draws_the_chapters_net_and_nothing_else(training):
    assert {node.name.split("/")[0] for node in training.Graph().node} == {
        *("input", "labels", "conv1", "pool1", "fire1", "fire2", "pool2", "fire3", "fire4"),
        *("dropout", "final_conv", "average_pool", "logits", "probs", "loss"),
        *("predictions", "accuracy"),
    }


def test_compares_runs_by_columns_that_every_run_fills(trained, evaluation):
    plugin = evaluation.PluginTagToContent("hparams")
    experiment = metadata.parse_experiment_plugin_data(plugin[metadata.EXPERIMENT_TAG])
    session = metadata.parse_session_start_info_plugin_data(plugin[metadata.SESSION_START_INFO_TAG])
    hparams = {
        name: each.string_value or each.number_value for name, each in session.hparams.items()
    }
    expected = {"recipe": "tuned", "learning_rate": 0.02, "num_epochs": 8, "squeeze_ratio": 0.16667}
    assert (session.group_name, hparams) == ("digits in runs", expected)
    assert {info.name for info in experiment.hparam_infos} == hparams.keys()
    results = read_json(trained.run_dir / "results.json")
    assert [
        (metric.name.tag, evaluation.Scalars(metric.name.tag)[-1].value)
        for metric in experiment.metric_infos
    ] == [(name, pytest.approx(results[name])) for name in ("accuracy", "loss")]
