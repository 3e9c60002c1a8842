"""python -m tools.predict: what is on one's own images."""

import io
import json
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import data
from tools import predict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty of the digits' test images, in folders and formats of all kinds."""
    folder = tmp_path_factory.mktemp("images")
    test = data.load("digits").test
    for index, record in enumerate(test.records[:20]):
        name = f"{index:02}.{('png', 'bmp', 'webp')[index % 3]}"
        path = folder / ("even" if index % 2 == 0 else "odd/deep") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(record.reshape(3, 32, 32).transpose(1, 2, 0)).save(path, lossless=True)
    return folder


@pytest.fixture
def run(trained, capfd):
    """Runs the command on the shared run; returns exit code, stdout and stderr."""

    def function(*arguments, run_dir=trained.run_dir):
        arguments = [*map(str, arguments), "--run_dir", str(run_dir)]
        code = predict.main(arguments)
        return code, *capfd.readouterr()

    return function


def test_prints_a_line_for_each_file_of_a_folder(run, folder):
    code, out, err = run(folder)
    assert code == 0
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 20
    assert [line.split(": ")[0] for line in lines] == sorted(line.split(": ")[0] for line in lines)
    share = r"\d \d+\.\d%"
    assert all(re.fullmatch(rf"\S+/\d\d\.\w+: {share}, {share}, {share}", line) for line in lines)


def test_agrees_with_the_evaluation_of_the_same_images(run, folder, trained):
    from training.evaluation import Evaluator
    from training.saved_run import load_run

    code, out, _ = run(folder, "--json")
    assert code == 0
    saved = load_run(trained.run_dir)
    dataset = data.load("digits")
    with Evaluator(saved.model, dataset.test, dataset.class_names) as evaluator:
        expected = evaluator.evaluate(saved.checkpoint).probs
    for line in out.splitlines():
        answer = json.loads(line)
        probs = expected[int(re.search(r"(\d\d)\.\w+$", answer["file"])[1])]
        got = [answer["probabilities"][name] for name in dataset.class_names]
        np.testing.assert_allclose(got, probs, atol=1e-5)
        assert answer["label"] == dataset.class_names[probs.argmax()]
        assert answer["probability"] == max(got)
        assert list(answer["probabilities"].values()) == sorted(got, reverse=True)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_gives_the_same_in_batches_of_any_size(run, folder, monkeypatch, batch_size):
    whole = run(folder)[1]
    monkeypatch.setattr(predict, "BATCH_SIZE", batch_size)
    assert run(folder)[1] == whole


def test_takes_files_folders_and_globs_in_the_order_given(run, folder):
    _, out, _ = run(folder / "even" / "04.bmp", folder / "odd", f"{folder}/even/*.png")
    names = re.findall(r"(\d\d)\.\w+: ", out)
    assert names == ["04", *(f"{i:02}" for i in range(1, 20, 2)), "00", "06", "12", "18"]


def test_names_each_file_once_however_often_it_is_found(run, folder):
    _, out, _ = run(f"{folder}/**")
    assert out.count("\n") == 20


def test_settings_of_another_net_are_one_sentence(run, folder, trained, tmp_path):
    for change in ({"class_names": ["a", "b"]}, {"original_dim": "32"}, {"class_names": []}):
        shutil.copytree(trained.run_dir, tmp_path / "run", dirs_exist_ok=True)
        settings = json.loads((tmp_path / "run" / "settings.json").read_text())
        (tmp_path / "run" / "settings.json").write_text(json.dumps(settings | change))
        code, out, err = run(folder, run_dir=tmp_path / "run")
        assert (code, out, err.count("\n")) == (2, "", 1), change
        assert re.search(
            r"settings\.json(: does not hold the settings of a run| describes a net)", err
        )


def test_takes_a_file_whose_name_looks_like_a_glob(run, folder, tmp_path):
    path = tmp_path / "[1]*.png"
    path.write_bytes((folder / "even" / "00.png").read_bytes())
    code, out, _ = run(path)
    assert code == 0
    assert out.startswith(f"{path}: ")


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001", ".meta"])
def test_takes_a_checkpoint_too(run, folder, trained, ending):
    checkpoint = trained.run_dir / f"model.ckpt-150{ending}"
    code, out, _ = run(folder / "even" / "00.png", run_dir=checkpoint)
    assert code == 0
    assert out.count("\n") == 1


def test_skips_what_is_no_image_and_names_it(run, folder, tmp_path):
    (tmp_path / "a.jpg").write_text("not an image")
    (tmp_path / "b.png").write_bytes((folder / "even" / "00.png").read_bytes())
    (tmp_path / "c.png").write_bytes((folder / "even" / "00.png").read_bytes()[:99])
    for clutter in (".hidden", "._b.png", "Thumbs.db", "desktop.ini", "__MACOSX/b.png"):
        (tmp_path / clutter).parent.mkdir(exist_ok=True)
        (tmp_path / clutter).write_text("not looked at")
    code, out, err = run(tmp_path)
    assert code == 1
    assert re.fullmatch(r".*b\.png: [^\n]*\n", out)
    first, second, last = err.splitlines()
    assert "a.jpg: is not an image" in first
    assert "c.png: " in second
    assert last == "skipped 2 of 3 files"
    assert run(f"{tmp_path}/*") == (code, out, err)


def test_of_nothing_says_so(run, tmp_path):
    code, out, err = run(tmp_path / "none.jpg")
    assert (code, out) == (2, "")
    assert "none.jpg: there is no such file or folder" in err
    code, out, err = run(tmp_path)
    assert (code, out) == (2, "")
    assert "holds no files" in err


def test_without_a_run_says_so(run, folder, tmp_path):
    code, out, err = run(folder, run_dir=tmp_path / "nothing")
    assert (code, out) == (2, "")
    assert re.search(r"^tools.predict: error: .*nothing", err)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb: cat 99.9%.png", "a\\nb: cat 99.9%.png"),
        ("\r\x1b[2J.png", "\\r\\x1b[2J.png"),
        ("\udcff.png", "\\udcff.png"),
        ("猫.png", "猫.png"),
    ],
)
class TestANameWithOtherLettersThanText:
    def test_is_printed_escaped(self, run, folder, tmp_path, name, shown):
        (tmp_path / name).write_bytes((folder / "even" / "00.png").read_bytes())
        code, out, err = run(tmp_path)
        assert (code, err) == (0, "")
        assert out.startswith(f"{tmp_path}/{shown}: ")
        assert out.count("\n") == 1

    def test_is_exact_in_json(self, run, folder, tmp_path, name, shown):
        (tmp_path / name).write_bytes((folder / "even" / "00.png").read_bytes())
        _, out, _ = run(tmp_path, "--json")
        assert json.loads(out)["file"] == str(tmp_path / name)

    def test_is_printed_escaped_where_the_file_is_damaged(self, run, tmp_path, name, shown):
        (tmp_path / name).write_text("not an image")
        code, out, err = run(tmp_path)
        assert (code, out) == (1, "")
        assert err.startswith(f"{tmp_path}/{shown}: ")
        assert err.count("\n") == 2


def test_class_names_are_printed_escaped(run, folder, trained, tmp_path):
    shutil.copytree(trained.run_dir, tmp_path / "run")
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    settings["class_names"] = [f"\x1b]0;{i}\x07\nok" for i in range(10)]
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings))
    _, out, _ = run(folder / "even" / "00.png", run_dir=tmp_path / "run")
    assert out.count("\n") == 1
    assert "\x1b" not in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_stdout_cannot_encode_is_escaped(run, folder, tmp_path, monkeypatch, encoding):
    (tmp_path / "猫.png").write_bytes((folder / "even" / "00.png").read_bytes())
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert run(tmp_path)[0] == 0
    assert stdout.buffer.getvalue().startswith(f"{tmp_path}/\\u732b.png: ".encode())


def test_prints_to_whatever_stdout_is(run, folder, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # a notebook's has no reconfigure either
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert run(folder)[0] == 0
    assert sys.stdout.getvalue().count("\n") == 20
