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

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield PublishedFile(f"http://127.0.0.1:{server.server_port}/file.bin", SHA256)
        server.shutdown()


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_is_downloaded_once_and_nothing_else_stays(served, tmp_path, sha256):
    folder = tmp_path / "new" / "folder"
    for url in (served.url, "http://127.0.0.1:9/file.bin"):  # where nobody answers
        assert fetch(PublishedFile(url, sha256), folder, "") == folder / "file.bin"
        assert (folder / "file.bin").read_bytes() == CONTENT
        assert os.listdir(folder) == ["file.bin"]


@pytest.mark.parametrize(
    ("path", "sha256", "why"),
    [
        ("cut/file.bin", SHA256, "received 1,000 bytes instead of 1,024,000"),
        ("without-size/file.bin", SHA256, "received 262,144 bytes instead of 0"),
        ("file.bin", "0" * 64, "its SHA-256 is not 0{64}"),
    ],
)
def test_of_another_size_or_content_than_published_is_refused(served, tmp_path, path, sha256, why):
    file = PublishedFile(served.url.replace("file.bin", path), sha256)
    with pytest.raises(UserError, match=rf"loaded to {tmp_path} \({why}\); do something else\.$"):
        fetch(file, tmp_path, "do something else")
    assert not list(tmp_path.iterdir())


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
