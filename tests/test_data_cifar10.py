"""CIFAR-10: the official files, checked; the download, all or nothing."""

import contextlib
import hashlib
import http.server
import io
import os
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

import data
from data import DataError, cifar10

FILE_BYTES = 10_000 * 3_073


def left_in(folder: Path) -> list[str]:
    """What a download left, but for its lock."""
    return [path.name for path in folder.iterdir() if path.name != ".cifar10.lock"]


@pytest.fixture
def batches(tmp_path):
    """A whole cifar-10-batches-bin of black airplanes (sparse files, so it costs no disk)."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in cifar10.TRAIN_FILES + cifar10.TEST_FILES:
        with open(folder / name, "wb") as file:
            file.truncate(FILE_BYTES)
    return folder


class TestReading:
    def test_gives_labels_and_channel_major_pixels(self, batches):
        record = np.arange(3_073) % 251
        record[0] = 7
        with open(batches / "data_batch_2.bin", "r+b") as file:
            file.seek(3 * 3_073)
            file.write(record.astype(np.uint8).tobytes())
        dataset = cifar10.load(batches)
        assert dataset.train.records.shape == (50_000, 3_072)
        assert dataset.test.records.shape == (10_000, 3_072)
        assert dataset.train.records.dtype == np.uint8
        assert dataset.train.labels.dtype == np.int32
        assert dataset.train.labels[10_003] == 7
        assert dataset.class_names[7] == "horse"
        np.testing.assert_array_equal(dataset.train.records[10_003], record[1:])

    def test_finds_the_files_in_the_folder_or_one_below(self, batches):
        assert cifar10.find_batches(batches) == batches
        assert cifar10.find_batches(batches.parent) == batches

    @pytest.mark.parametrize("size", [0, 1, FILE_BYTES - 3_073, FILE_BYTES - 1, FILE_BYTES + 1])
    def test_a_file_of_another_size_is_named_with_both_sizes(self, batches, size):
        os.truncate(batches / "data_batch_3.bin", size)
        with pytest.raises(DataError, match=rf"data_batch_3\.bin: {size:,} bytes.*30,730,000"):
            cifar10.load(batches)

    def test_a_wrong_label_is_named_with_file_and_record(self, batches):
        with open(batches / "test_batch.bin", "r+b") as file:
            file.seek(41 * 3_073)
            file.write(b"\x0a")
        with pytest.raises(DataError, match=r"test_batch\.bin: record 41 .* label 10"):
            cifar10.load(batches)

    def test_a_missing_file_is_named(self, batches):
        (batches / "data_batch_5.bin").unlink()
        with pytest.raises(DataError, match=r"data_batch_5\.bin: cannot be read \(No such file"):
            cifar10.load(batches)

    def test_an_unreadable_file_is_named(self, batches):
        (batches / "data_batch_1.bin").unlink()
        (batches / "data_batch_1.bin").mkdir()  # no file permission stops root, a folder does
        with pytest.raises(DataError, match=r"data_batch_1\.bin: cannot be read \(Is a directory"):
            cifar10.load(batches)

    @pytest.mark.skipif(
        getattr(os, "geteuid", int)() == 0, reason="root, and Windows, may read every folder"
    )
    def test_an_unreadable_folder_is_named(self, batches):
        batches.chmod(0)
        with pytest.raises(DataError, match="cifar-10-batches-bin"):
            cifar10.load(batches)
        batches.chmod(0o700)

    def test_a_pipe_in_place_of_a_file_is_named_without_waiting_for_it(self, batches):
        (batches / "data_batch_4.bin").unlink()
        os.mkfifo(batches / "data_batch_4.bin")
        with pytest.raises(DataError, match=r"data_batch_4\.bin: .*not a regular file"):
            cifar10.load(batches)

    def test_an_endless_device_in_place_of_a_file_is_named(self, batches):
        (batches / "test_batch.bin").unlink()
        (batches / "test_batch.bin").symlink_to("/dev/zero")
        with pytest.raises(DataError, match=r"test_batch\.bin: .*not a regular file"):
            cifar10.load(batches)

    def test_a_link_to_itself_in_place_of_a_file_is_named(self, batches):
        (batches / "data_batch_1.bin").unlink()
        (batches / "data_batch_1.bin").symlink_to("data_batch_1.bin")
        with pytest.raises(DataError, match=r"data_batch_1\.bin: cannot be read \(Too many levels"):
            cifar10.load(batches)

    def test_a_pipe_in_place_of_the_folder_is_named(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="pipe: CIFAR-10 cannot be stored there"):
            cifar10.load(tmp_path / "pipe")

    def test_names_are_printed_as_one_harmless_line(self, tmp_path):
        folder = tmp_path / "a\n\x1b[2J"
        folder.mkdir()
        (folder / "data_batch_1.bin").touch()
        with pytest.raises(DataError) as error:
            cifar10.load(folder)
        assert r"a\n\x1b[2J/data_batch_1.bin: 0 bytes" in str(error.value)
        assert str(error.value).isprintable()


def archive(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A .tar.gz with these files and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


FEW = 10  # records in a batch file, so that archives are made and unpacked in no time
WHOLE = {
    f"cifar-10-batches-bin/{name}": bytes(FEW * 3_073)
    for name in cifar10.TRAIN_FILES + cifar10.TEST_FILES
}


@pytest.fixture
def serve(monkeypatch):
    """Serves bytes over HTTP in the place of the official page; they count as the right ones."""
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", FEW)
    with contextlib.ExitStack() as stack:

        def start(content: bytes, *, sent: int | None = None, pinned: bytes | None = None):
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[:sent])

                def log_message(self, *args):
                    pass

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            pinned = content if pinned is None else pinned
            archive = cifar10.ARCHIVE._replace(
                url=f"http://127.0.0.1:{server.server_port}/{cifar10.ARCHIVE.name}",
                size=len(pinned),
                hashes={name: hashlib.new(name, pinned).hexdigest() for name in ("md5", "sha256")},
            )
            monkeypatch.setattr(cifar10, "ARCHIVE", archive)

        yield start


class TestDownload:
    def test_leaves_the_batches_and_nothing_else(self, serve, tmp_path):
        serve(archive(WHOLE))
        dataset = cifar10.load(tmp_path / "new")
        assert len(dataset.train.labels) == 5 * FEW
        assert left_in(tmp_path / "new") == ["cifar-10-batches-bin"]

    def test_an_interrupted_one_leaves_nothing_and_the_next_works(self, serve, tmp_path):
        content = archive(WHOLE)
        serve(content, sent=len(content) // 2)
        with pytest.raises(DataError, match="cannot be downloaded"):
            cifar10.load(tmp_path)
        assert not left_in(tmp_path)
        serve(content)
        assert len(cifar10.load(tmp_path).test.labels) == FEW

    def test_a_killed_one_is_swept_away_by_the_next(self, serve, tmp_path):
        (tmp_path / ".cifar10-download").mkdir()
        (tmp_path / ".cifar10-download" / "cifar-10-binary.tar.gz").write_text("half of it")
        serve(archive(WHOLE))
        cifar10.load(tmp_path)
        assert left_in(tmp_path) == ["cifar-10-batches-bin"]

    def test_a_folder_in_its_place_is_not_overwritten(self, tmp_path):
        (tmp_path / "cifar-10-batches-bin").mkdir()
        (tmp_path / "cifar-10-batches-bin" / "notes.txt").write_text("mine")
        with pytest.raises(DataError, match=r"data_batch_1\.bin: cannot be read"):
            cifar10.load(tmp_path)
        assert (tmp_path / "cifar-10-batches-bin" / "notes.txt").read_text() == "mine"

    def test_a_changed_one_is_refused(self, serve, tmp_path):
        content = archive(WHOLE)
        serve(content[:-1] + bytes([content[-1] ^ 1]), pinned=content)
        with pytest.raises(DataError, match="md5"):
            cifar10.load(tmp_path)
        assert not left_in(tmp_path)

    def test_a_longer_one_is_refused(self, serve, tmp_path):
        content = archive({})
        serve(content + bytes(1 << 20), pinned=content)
        with pytest.raises(DataError, match=r"received [\d,]+ bytes instead of"):
            cifar10.load(tmp_path)
        assert not left_in(tmp_path)

    @pytest.mark.parametrize(
        "content",
        [
            archive({name.replace("cifar", "/cifar"): b"" for name in WHOLE}),
            archive({f"../{name}": b"" for name in WHOLE}),
            archive({}, links=dict.fromkeys(WHOLE, "/etc/passwd")),
            archive({}),
            b"no archive",
        ],
        ids=["absolute paths", "parent paths", "links", "empty", "not an archive"],
    )
    def test_an_archive_without_the_plain_files_is_refused(self, serve, tmp_path, content):
        serve(content)
        with pytest.raises(DataError, match="cannot be unpacked"):
            cifar10.load(tmp_path / "below")
        assert not list(tmp_path.iterdir())

    def test_without_network_names_file_folder_and_the_way_round(self, monkeypatch, tmp_path):
        url = f"http://127.0.0.1:9/{cifar10.ARCHIVE.name}"
        monkeypatch.setattr(cifar10, "ARCHIVE", cifar10.ARCHIVE._replace(url=url))
        with pytest.raises(DataError) as error:
            cifar10.load(tmp_path / "new")
        for part in ("cifar-10-binary.tar.gz", str(tmp_path), "the data set digits"):
            assert part in str(error.value)
        assert not list(tmp_path.iterdir())


class TestTheArchiveThatTheUserHasFetched:
    @pytest.fixture
    def packed(self, serve, tmp_path):
        """A folder with the archive; the server has nothing to send."""
        content = archive(WHOLE)
        serve(content, sent=0)
        (tmp_path / "packed").mkdir()
        (tmp_path / "packed" / cifar10.ARCHIVE.name).write_bytes(content)
        return tmp_path / "packed"

    def test_is_unpacked_and_stays(self, packed):
        assert len(cifar10.load(packed).train.labels) == 5 * FEW
        assert sorted(left_in(packed)) == ["cifar-10-batches-bin", cifar10.ARCHIVE.name]

    def test_may_be_named_itself(self, packed):
        assert len(cifar10.load(packed / cifar10.ARCHIVE.name).test.labels) == FEW
        (packed / cifar10.ARCHIVE.name).write_bytes(b"not needed any more")
        assert len(cifar10.load(packed / cifar10.ARCHIVE.name).test.labels) == FEW

    def test_may_have_another_name(self, packed):
        renamed = packed / "cifar-10-binary (1).tar.gz"
        (packed / cifar10.ARCHIVE.name).rename(renamed)
        assert len(cifar10.load(renamed).test.labels) == FEW

    @pytest.mark.parametrize("change", ["truncated", "changed", "another file"])
    def test_is_verified_first(self, packed, change):
        path = packed / cifar10.ARCHIVE.name
        content = path.read_bytes()
        damaged = {
            "truncated": content[:-100],
            "changed": content[:-1] + bytes([content[-1] ^ 1]),
            "another file": b"hello",
        }[change]
        path.write_bytes(damaged)
        for data_dir in (packed, path):
            with pytest.raises(DataError, match=r"\.tar\.gz: is not the file at .*; delete it"):
                cifar10.load(data_dir)
        assert left_in(packed) == [cifar10.ARCHIVE.name]
        assert path.read_bytes() == damaged

    def test_is_not_just_any_file(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("not to be deleted")
        with pytest.raises(DataError, match="is neither a folder nor the archive") as error:
            cifar10.load(tmp_path / "thesis.txt")
        assert error.value.argument == "data_dir"
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_as_a_pipe_is_not_waited_for(self, packed):
        (packed / cifar10.ARCHIVE.name).unlink()
        os.mkfifo(packed / cifar10.ARCHIVE.name)
        with pytest.raises(DataError, match="not a regular file"):
            cifar10.load(packed)

    def test_is_not_unpacked_where_nothing_may_be_written(self, packed):
        with pytest.raises(DataError, match="holds no CIFAR-10"):
            cifar10.load(packed, may_download=False)
        assert [path.name for path in packed.iterdir()] == [cifar10.ARCHIVE.name]


class TestOtherVersions:
    @pytest.mark.parametrize(
        ("path", "version"),
        [
            ("cifar-10-batches-py/data_batch_1", "the Python version of CIFAR-10"),
            ("data_batch_1", "the Python version of CIFAR-10"),
            ("cifar-10-python.tar.gz", "the Python version of CIFAR-10"),
            ("cifar-10-batches-mat/data_batch_1.mat", "the Matlab version of CIFAR-10"),
            ("cifar-10-matlab.tar.gz", "the Matlab version of CIFAR-10"),
            ("fine_label_names.txt", "CIFAR-100"),
        ],
    )
    def test_are_named_and_nothing_is_downloaded(self, tmp_path, path, version):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
        for data_dir in (tmp_path, tmp_path / path):
            with pytest.raises(DataError, match=f"is or holds {version}, but") as error:
                cifar10.load(data_dir)
            assert error.value.argument == "data_dir"
        assert [path.name for path in tmp_path.iterdir()] == [Path(path).parts[0]]

    def test_beside_the_binary_one_do_not_matter(self, batches):
        (batches.parent / "cifar-10-batches-py").mkdir()
        assert cifar10.find_batches(batches.parent) == batches


class TestGivenAsAFolderOfImages:
    @pytest.mark.parametrize("path", ["", "cifar-10-batches-bin"])
    def test_the_batches_are_recognized(self, batches, path):
        with pytest.raises(DataError, match="is CIFAR-10, not a folder of image files") as error:
            data.load(str(batches.parent / path))
        assert error.value.argument == "name"
        instead = {"name": "cifar10", "data_dir": str(batches.parent / path)}
        assert error.value.instead == instead
        assert cifar10.find_batches(Path(instead["data_dir"])) == batches

    def test_so_is_the_archive(self, tmp_path):
        (tmp_path / cifar10.ARCHIVE.name).touch()
        with pytest.raises(DataError, match="is CIFAR-10, not a folder of image files"):
            data.load(str(tmp_path / cifar10.ARCHIVE.name))

    def test_so_are_other_versions(self, tmp_path):
        (tmp_path / "cifar-10-batches-py").mkdir()
        with pytest.raises(DataError, match="is the Python version of CIFAR-10") as error:
            data.load(str(tmp_path / "cifar-10-batches-py"))
        assert error.value.instead == {"name": "cifar10"}


@pytest.mark.cifar10
def test_the_real_images_are_6000_of_each_class():
    dataset = cifar10.load(Path(os.environ["CIFAR10_DIR"]))
    for split, size in ((dataset.train, 5_000), (dataset.test, 1_000)):
        np.testing.assert_array_equal(np.bincount(split.labels), [size] * 10)
        assert 110 < split.records.mean() < 130  # photographs, not noise or black


def test_files_that_are_not_there_are_not_downloaded_where_that_was_not_asked(tmp_path):
    with pytest.raises(DataError, match="holds no CIFAR-10; give the folder that does"):
        cifar10.load(tmp_path, may_download=False)
    assert not list(tmp_path.iterdir())
