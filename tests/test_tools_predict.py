"""python -m tools.predict: what is on one's own images."""

import json
import re
import sys
import time
from pathlib import Path, PureWindowsPath
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import data
from base.files import MARKER
from evaluation.evaluator import Evaluator
from reporting.heatmap import draw_heatmap
from saved.run import load_run
from tools import predict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty of the digits' test images, in folders and formats of all kinds."""
    folder = tmp_path_factory.mktemp("images")
    for index, record in enumerate(data.load("digits").test.records[:20]):
        name = f"{index:02}.{('png', 'bmp', 'webp')[index % 3]}"
        path = folder / ("even" if index % 2 == 0 else "odd/deep") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(record.reshape(3, 32, 32).transpose(1, 2, 0)).save(path, lossless=True)
    return folder


@pytest.fixture
def run(trained, capfd, tmp_path, monkeypatch):
    """Runs the command on the shared run, in an empty folder; returns code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    run_dir = "--run_dir", str(trained.run_dir)
    return lambda *arguments: (predict.main([*map(str, arguments), *run_dir]), *capfd.readouterr())


def test_prints_for_each_file_what_the_evaluation_finds(run, folder, trained):
    saved, dataset = load_run(trained.run_dir), data.load("digits")
    with Evaluator(saved.model, dataset.test) as evaluator:
        expected = evaluator.evaluate(saved.checkpoint).probs
    code, out, err = run(folder, "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    files = [answer["file"] for answer in answers]
    assert (code, err, len(files), files) == (0, "", 20, sorted(files))
    for line, answer in zip(run(folder)[1].splitlines(), answers, strict=True):
        probs = expected[int(Path(answer["file"]).stem)]
        shown = dict(zip(dataset.class_names, probs, strict=True))
        assert answer["probabilities"] == pytest.approx(shown, abs=1e-5)
        found = list(answer["probabilities"].items())
        assert found == sorted(found, key=lambda item: -item[1])
        assert (answer["label"], answer["probability"]) == found[0]
        best = ", ".join(f"{name} {probability:.1%}" for name, probability in found[:3])
        assert line == f"{answer['file']}: {best}"


def test_takes_files_folders_and_globs_in_the_order_given(folder):
    arguments = [folder / name for name in ("even/04.bmp", "odd", "even/*.png", "**")]
    names = [path.stem for path in predict.find_files(arguments)]
    assert names[:15] == ["04", *(f"{i:02}" for i in range(1, 20, 2)), "00", "06", "12", "18"]
    assert sorted(names) == [f"{i:02}" for i in range(20)]  # each once, however often it is found


def test_follows_links_to_folders_but_reads_no_folder_twice_and_no_output(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "odd").symlink_to(folder / "odd")
    (tmp_path / "more" / "self").symlink_to("..")
    heatmap = tmp_path / "heatmaps" / "a.png"
    heatmap.parent.mkdir()
    for path in (heatmap, heatmap.with_name(MARKER)):
        path.touch()
    names = [path.name for path in predict.find_files([tmp_path])]
    assert sorted(names) == sorted(path.name for path in folder.rglob("*.*"))
    assert heatmap not in predict.find_files([tmp_path / "**"])
    assert [heatmap] == predict.find_files([tmp_path / "heatmaps" / "*"])


def test_skips_what_is_no_image_and_names_it(run, folder, tmp_path):
    content = (folder / "even" / "00.png").read_bytes()
    (tmp_path / "a.jpg").write_text("not an image")
    (tmp_path / "[b]*.png").write_bytes(content)  # looks like a glob
    (tmp_path / "c.png").write_bytes(content[:99])
    for clutter in (".hidden", "._b.png", "Thumbs.db", "desktop.ini", "__MACOSX/b.png"):
        (tmp_path / clutter).parent.mkdir(exist_ok=True)
        (tmp_path / clutter).write_text("not looked at")
    code, out, err = run(tmp_path)
    assert (code, out.count("\n")) == (1, 1)
    assert re.fullmatch(r".*/a\.jpg: is not an image.*\n.*/c\.png: .*\n", err)
    assert run(tmp_path / "[b]*.png") == (0, out, "")


@pytest.mark.parametrize("argument", ["none.jpg", "*.jpg", "."])
def test_of_nothing_says_so(run, argument):
    code, out, err = run(argument)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"predict: error: {argument}: there is no such file, and no file in a folder of" in err


def test_names_that_are_more_than_text_are_escaped_in_lines_and_exact_in_json():
    probs, names = np.eye(10)[0], [f"\x1b]0;{label}\x07\nok" for label in range(10)]
    for path in map(Path, ("a\nb: cat 9%", "\r\x1b[2J", "\udcff")):
        assert predict.described(path, probs, names, as_json=False).isprintable()
        answer = json.loads(predict.described(path, probs, names, as_json=True))
        assert (answer["file"], answer["label"]) == (str(path), names[0])


def test_ends_when_nobody_reads_the_output(run, folder, monkeypatch):
    image = predict.read_image(folder / "even" / "00.png", 32)
    slow = Mock(side_effect=lambda path, dim: time.sleep(0.05) or image)
    monkeypatch.setattr(predict, "read_image", slow)
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(folder)[0] == 2
    assert 0 < slow.call_count < 20


def test_heatmaps_are_drawn_for_a_folder_as_it_is_arranged(run, folder):
    code, out, err = run(folder, "--heatmap")
    assert (code, out.count("\n"), err) == (0, 20, "heatmaps are in heatmaps\n")
    assert {path.relative_to("heatmaps") for path in Path("heatmaps").rglob("*.png")} == {
        path.relative_to(folder).with_name(f"{path.name}.png") for path in folder.rglob("*.*")
    }
    assert Image.open("heatmaps/even/00.png.png").size == (512, 512)


def test_a_heatmap_shows_the_map_of_the_answer():
    activations = np.pad(np.float32([[7]]), ((0, 3), (3, 0)))  # above, on the right
    square = np.full([512, 512, 3], 100, np.uint8)
    drawn = np.asarray(draw_heatmap(square, activations, seen=0.5)).astype(int)
    warmth = drawn[..., 0] - drawn[..., 2]  # more red than blue
    row, column = np.unravel_index(warmth.argmax(), warmth.shape)
    assert (128 <= row < 200, 312 <= column < 384) == (True, True)
    assert (drawn[[*range(128), *range(384, 512)]] == 100).all()  # the net sees no edges


def test_heatmaps_of_photos_on_several_drives_are_apart():
    paths = map(PureWindowsPath, ("C:/a/x.png", "D:/a/x.png", "//host/share/a/x.png"))
    assert [str(place).replace("\\", "/") for place in predict.mirrored([*paths])] == [
        *("heatmaps/C/a/x.png.png", "heatmaps/D/a/x.png.png"),
        "heatmaps/host/share/a/x.png.png",
    ]


def test_heatmaps_never_overwrite_a_photo_or_mix_with_other_files(run):
    Path("heatmaps").mkdir()
    for path in ("a.png", "heatmaps/a.png.png"):
        Image.new("RGB", (9, 9)).save(path)
    code, out, err = run("a.png", "heatmaps/a.png.png", "--heatmap")
    assert (code, out, Image.open("heatmaps/a.png.png").size) == (2, "", (9, 9))
    assert "heatmaps: holds files that this project has not written" in err


def test_heatmaps_that_cannot_be_drawn_cost_only_themselves(run):
    images = "a.png", "b.png", f"{'x' * 251}.png"  # with .png, too long for a file system
    for path in images:
        Image.new("RGB", (9, 9)).save(path)
    Path("b.png").write_text("not an image")
    code, out, err = run(*images, "--heatmap")
    assert (code, out[:7], out.count("\n"), err.count("\n")) == (1, "a.png: ", 2, 3)
    assert re.match(r"b\.png: is not an image.*\nheatmaps/x+\.png\.png: cannot be wr", err)
    assert list(Path("heatmaps").glob("*.png")) == [Path("heatmaps/a.png.png")]
