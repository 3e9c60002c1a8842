"""Published files: downloaded once, verified, all of a file or nothing."""

import hashlib
import http.server
import os
import threading

import pytest

from base import UserError
from data.download import PublishedFile, fetch

CONTENT = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served():
    """Serves CONTENT over HTTP, or less of it, or without its size; gives the file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            if not self.path.startswith("/without-size/"):
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1_000] if self.path.startswith("/cut/") else CONTENT)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield PublishedFile(f"http://127.0.0.1:{server.server_port}/file.bin", SHA256)
    server.shutdown()
    server.server_close()


def error_of(file, folder):
    """The sentence with which a download fails, leaving nothing behind."""
    with pytest.raises(UserError) as error:
        fetch(file, folder, "do something else")
    assert not list(folder.iterdir())
    assert "do something else" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_is_downloaded_once_and_nothing_else_stays(served, tmp_path, sha256):
    file = served._replace(sha256=sha256)
    path = fetch(file, tmp_path / "new" / "folder", "")
    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file.bin"]
    unreachable = file._replace(url="http://127.0.0.1:9/file.bin")
    assert fetch(unreachable, path.parent, "") == path


@pytest.mark.parametrize(
    ("path", "sizes"),
    [("cut", "1,000 bytes instead of 1,024,000"), ("without-size", "262,144 bytes instead of 0")],
)
def test_of_another_size_than_the_server_said_is_refused(served, tmp_path, path, sizes):
    url = served.url.replace("file.bin", f"{path}/file.bin")
    error = error_of(served._replace(url=url), tmp_path)
    assert f"cannot be downloaded to {tmp_path} (received {sizes}); " in error


def test_that_was_changed_is_refused(served, tmp_path):
    assert "its SHA-256 is not" in error_of(served._replace(sha256="0" * 64), tmp_path)


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[:-1] + b"?"])
def test_that_the_user_has_fetched_is_verified_and_left_as_it_is(served, tmp_path, content):
    (tmp_path / "file.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"file\.bin: is not the file at http.*; delete it"):
        fetch(served, tmp_path, "")
    assert (tmp_path / "file.bin").read_bytes() == content


def test_cannot_be_stored_in_a_file(served, tmp_path):
    (tmp_path / "thesis.txt").write_text("not to be deleted")
    with pytest.raises(UserError, match=r"thesis\.txt \(File exists\); do something else"):
        fetch(served, tmp_path / "thesis.txt", "do something else")
    assert (tmp_path / "thesis.txt").read_text() == "not to be deleted"
