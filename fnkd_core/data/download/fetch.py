"""Fetching published data sets: with progress, resumed, verified.

A set counts as here when every path it needs is here. Archives are unpacked beside their place and moved into
it, so what is half downloaded or half unpacked does not count.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from fnkd_core.data.download.addresses import Archive, _published, data_root, is_here, to_fetch
from fnkd_core.data.download.unpack import _unpack, _verify
from fnkd_core.errors import UserError, require
from fnkd_core.locks import locked
from fnkd_core.wording import megabytes

CHUNK = 2**18
TIMEOUT_S = 30


def fetched_bytes(name: str, root: str | Path | None = None) -> int:
    """How much of an unfinished download is here, in bytes."""
    return sum(part.stat().st_size for part in _parts(name, data_root(root)).glob("[!.]*"))


def ensure(name: str, root: str | Path | None = None) -> None:
    """Fetch the data set if it is not here; says so, with a bar on a terminal."""
    if is_here(name, root):
        return
    from tqdm import tqdm

    print(f"Downloading {name} ({to_fetch(name, root)}) into {data_root(root)}")
    bar = tqdm(desc=f"downloading {name}", unit="B", unit_scale=True, disable=None, leave=False)
    with contextlib.closing(bar):
        for bar.n, bar.total in fetch(name, root):
            bar.refresh()


def fetch(name: str, root: str | Path | None = None) -> Iterator[tuple[int, int]]:
    """(bytes here, bytes in all) as the data set's archives arrive; at the end they are verified and unpacked.

    Goes on with what an earlier call has left, and uses archives that lie where they would be put. Archives that
    it downloads are not kept. `UserError` where the network, the server, the checksum or the disk says no; the part
    that has arrived stays for the next call, unless its checksum is wrong.
    """
    published, base = _published(name), data_root(root)
    require(not published.by_hand, published.by_hand.format(root=base))
    from torchvision import datasets

    parts, done = _parts(name, base), 0
    for archive in published.archives(datasets):
        needs = [path for path in published.needs if Path(path).is_relative_to(archive.target)]
        if all((base / path).exists() for path in needs):
            continue
        given, part = (base / archive.target).parent / archive.file, parts / archive.file
        with _in_one_line(archive, base):
            size = 0
            if not given.exists():
                part.parent.mkdir(parents=True, exist_ok=True)
                busy = f"{part} is being downloaded already; wait for that, or stop it and fetch again."
                with locked(parts / ".lock", wait=False, busy=busy):
                    try:
                        with part.open("ab") as file:
                            for size in _receive(archive, file):
                                yield done + size, max(published.num_bytes, done + size)
                    finally:
                        if not part.stat().st_size:  # nothing came
                            part.unlink()
            done += size
            _verify(archive, given if given.exists() else part, part)
            _unpack(archive, given if given.exists() else part, base, needs)
            part.unlink(missing_ok=True)
    shutil.rmtree(parts, ignore_errors=True)


def _parts(name: str, base: Path) -> Path:
    return base / "downloading" / name


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_safe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")
    require(safe, f"Data are downloaded over https only, got {url}; put the file in its place by hand.")


def _open(url: str, start: int) -> Any:
    _require_safe(url)
    headers = {"User-Agent": "fnkd-lab"} | ({"Range": f"bytes={start}-"} if start else {})
    opener = urllib.request.build_opener(_SafeRedirects)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)


def _receive(archive: Archive, file: IO[bytes]) -> Iterator[int]:
    """The file's size as it grows to the whole archive."""
    size = file.seek(0, os.SEEK_END)
    try:
        response = _open(archive.url, size)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{size}":
            yield size  # nothing is left to receive
            return
        file.truncate(0)  # there is more than the server has
        size, response = 0, _open(archive.url, 0)
    with response:
        if size and not (response.headers.get("Content-Range") or "").startswith(f"bytes {size}-"):
            file.truncate(0)  # the server sends all of it again
            size = 0
        length = response.headers.get("Content-Length")
        whole = size + int(length) if length else None
        yield size
        while chunk := response.read(CHUNK):
            file.write(chunk)
            size += len(chunk)
            yield size
    file.flush()
    if whole is not None and size < whole:
        raise ConnectionError(f"cut after {megabytes(size)} of {megabytes(whole)}")


@contextlib.contextmanager
def _in_one_line(archive: Archive, base: Path) -> Iterator[None]:
    """Whatever the network or the disk says, as one `UserError`."""
    host = urlsplit(archive.url).netloc
    resume = "fetch again, it goes on where it stopped"
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        place = (base / archive.target).parent
        raise UserError(
            f"{archive.url} answered {error.code} {error.reason}; try later, or put {archive.file} into {place}."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise UserError(f"No space is left in {base} for {archive.file}; free some, then {resume}.") from None
        reason = getattr(error, "reason", None) or error
        reason = getattr(reason, "strerror", None) or reason
        if isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError | http.client.HTTPException):
            raise UserError(f"{host} cannot be reached ({reason}); connect to the network and {resume}.") from None
        raise UserError(f"{archive.file} cannot be written to {base} ({reason}); mend that, then {resume}.") from None
