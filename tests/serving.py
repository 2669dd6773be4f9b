"""Files on a server of this machine, and data sets that are published there."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fnkd_core.data.download.addresses import PUBLISHED, Archive, Published

FILE = bytes(range(256)) * 12


class Files(ThreadingHTTPServer):
    """Serves `content` by path. ranges: whether it honours Range. cut: bytes after which it hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content: dict[str, bytes] = {}
        self.ranges = True
        self.cut: int | None = None
        self.asked: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: Files

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        data = self.server.content.get(self.path.strip("/"))
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if data is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : self.server.cut])


@pytest.fixture(scope="session")
def serving_files() -> Iterator[Files]:
    server = Files()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def file_server(serving_files: Files, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    serving_files.content, serving_files.ranges, serving_files.cut, serving_files.asked = (
        {"a.bin": FILE},
        True,
        None,
        [],
    )
    return serving_files


def closed_port() -> int:
    """A port at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes archives the data set `toy`."""

    def make(*archives: Archive, needs: tuple[str, ...] = ("toy/a.bin",), num_bytes: int = len(FILE)) -> None:
        monkeypatch.setitem(PUBLISHED, "toy", Published(num_bytes, needs, lambda datasets: archives))

    return make
