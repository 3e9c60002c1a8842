"""CIFAR-10: the official files, checked; the download, all or nothing."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

import data
from base import UserError
from data import cifar10
from tests.odd_files import of_all_kinds

FEW = 10  # records in a batch file, so that files are made and read in no time
FILE_BYTES = FEW * 3_073
FILES = [f"cifar-10-batches-bin/{name}" for name in cifar10.TRAIN_FILES + cifar10.TEST_FILES]
HOLDS_NONE = "holds no CIFAR-10 .*; if these are images of your own"


@pytest.fixture(autouse=True)
def few_records(monkeypatch):
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", FEW)


@pytest.fixture
def batches(tmp_path):
    """A whole cifar-10-batches-bin of black airplanes."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(FILE_BYTES))
    return tmp_path / "cifar-10-batches-bin"


def records_in(path: Path) -> np.memmap:
    """The records of a batch file, to be changed in place."""
    return np.memmap(path, np.uint8, "r+", shape=(FEW, 3_073))


class TestReading:
    @pytest.mark.parametrize("place", [".", ".."], ids=["in the folder", "one below"])
    def test_gives_labels_and_channel_major_pixels(self, batches, place):
        record = (np.arange(3_073) + 7) % 251
        records_in(batches / "data_batch_2.bin")[3] = record
        dataset = data.load("cifar10", batches / place, may_download=False)
        assert dataset.train.records.shape == (5 * FEW, 3_072)
        assert dataset.test.records.shape == (FEW, 3_072)
        assert dataset.train.labels.dtype == np.int32
        assert dataset.class_names[dataset.train.labels[FEW + 3]] == "horse"
        np.testing.assert_array_equal(dataset.train.records[FEW + 3], record[1:])

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda path: records_in(path)[4].fill(10), "record 4 .* label 10"),
            (lambda path: os.truncate(path, 0), ".* the 30,730 bytes of a CIFAR-10"),
            (lambda path: os.truncate(path, FILE_BYTES - 1), ".* the 30,730 bytes of a CIFAR-10"),
            (lambda path: os.truncate(path, FILE_BYTES + 1), ".* the 30,730 bytes of a CIFAR-10"),
        ],
        ids=["wrong label", "empty", "too short", "too long"],
    )
    def test_a_damaged_file_is_named(self, batches, damage, words):
        damage(batches / "data_batch_3.bin")
        with pytest.raises(UserError, match=rf"data_batch_3\.bin: {words}"):
            cifar10.load(batches)

    @of_all_kinds
    def test_what_is_no_file_is_named(self, batches, make_odd):
        (batches / "data_batch_1.bin").unlink()
        make_odd(batches / "data_batch_1.bin")
        with pytest.raises(UserError, match=r"data_batch_1\.bin: (cannot be read|has not the)"):
            cifar10.load(batches)


def pack(members: dict[str, bytes | str]) -> bytes:
    """A .tar.gz with these files, and symbolic links to these targets."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname, content = tarfile.SYMTYPE, content, b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Makes an archive the official one; it is "downloaded" from a file."""

    def function(content: bytes = pack(dict.fromkeys(FILES, bytes(FILE_BYTES)))):
        path = tmp_path / "web" / cifar10.ARCHIVE.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        official = cifar10.PublishedFile(path.as_uri(), hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(cifar10, "ARCHIVE", official)
        return path

    return function


class TestDownload:
    def test_that_fails_leaves_nothing_and_the_next_works(self, publish, tmp_path):
        publish().unlink()
        sentence = rf"cifar-10-binary\.tar\.gz: .* into {tmp_path}/new, or use the data set digits"
        with pytest.raises(UserError, match=sentence):
            cifar10.load(tmp_path / "new")
        assert os.listdir(tmp_path / "new") == []
        publish()
        assert len(cifar10.load(tmp_path / "new").train.labels) == 5 * FEW
        assert os.listdir(tmp_path / "new") == ["cifar-10-batches-bin"]

    def test_of_another_process_that_was_faster_is_used(self, publish, batches, monkeypatch):
        publish()
        monkeypatch.setattr(os, "listdir", lambda path: [])  # as it was before
        assert cifar10.find_batches(batches.parent, may_download=True) == batches
        assert (batches / "test_batch.bin").stat().st_size == FILE_BYTES

    @pytest.mark.parametrize(
        "content",
        [
            pack({f"../{name}": b"" for name in FILES}),
            pack(dict.fromkeys(FILES, "/etc/passwd")),
            b"no archive",
        ],
        ids=["parent paths", "links", "not an archive"],
    )
    def test_of_an_archive_without_the_plain_files_is_refused(self, publish, tmp_path, content):
        publish(content)
        with pytest.raises(UserError, match="cannot be unpacked"):
            cifar10.load(tmp_path / "below" / "new")
        assert [*(tmp_path / "below").rglob("*")] == [tmp_path / "below" / "new"]

    @pytest.mark.parametrize(
        ("path", "sentence"),
        [
            *((path, HOLDS_NONE) for path in ("cat/1.jpg", "cifar-10-batches-py/a", "notes.txt")),
            ("cifar-10-batches-bin/notes.txt", r"data_batch_1\.bin: cannot be read"),
        ],
    )
    def test_does_not_go_into_a_folder_of_other_files(self, tmp_path, path, sentence):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("mine")
        with pytest.raises(UserError, match=sentence):
            data.load("cifar10", tmp_path)
        assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / path]
        assert (tmp_path / path).read_text() == "mine"


class TestTheArchiveThatTheUserHasFetched:
    @pytest.fixture
    def packed(self, publish, monkeypatch):
        """It, in a folder of its own; it cannot be downloaded."""
        path = publish()
        url = f"http://127.0.0.1:9/{path.name}"
        monkeypatch.setattr(cifar10, "ARCHIVE", cifar10.ARCHIVE._replace(url=url))
        return path

    @pytest.mark.parametrize("is_given_itself", [False, True])
    def test_is_unpacked_and_stays(self, packed, is_given_itself):
        data_dir = packed if is_given_itself else packed.parent
        assert len(cifar10.load(data_dir).train.labels) == 5 * FEW
        assert sorted(os.listdir(packed.parent)) == ["cifar-10-batches-bin", packed.name]
        packed.unlink()  # not needed any more
        assert len(cifar10.load(data_dir).test.labels) == FEW

    @pytest.mark.parametrize("name", ["web", "new"])
    def test_is_not_unpacked_or_downloaded_where_that_was_not_asked(self, packed, tmp_path, name):
        with pytest.raises(UserError, match="holds no CIFAR-10"):
            data.load("cifar10", tmp_path / name, may_download=False)
        assert [*tmp_path.rglob("*")] == [packed.parent, packed]


@pytest.mark.cifar10
def test_the_real_images_are_6000_of_each_class(monkeypatch):
    monkeypatch.undo()
    dataset = cifar10.load(Path(os.environ["CIFAR10_DIR"]))
    for split, size in ((dataset.train, 5_000), (dataset.test, 1_000)):
        np.testing.assert_array_equal(np.bincount(split.labels), [size] * 10)
        assert 110 < split.records.mean() < 130  # photographs, not noise or black
