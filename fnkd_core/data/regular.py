"""Files that are files: a pipe or a device by the name of one is not opened for reading, which could last for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from fnkd_core.errors import UserError, require

MOST_TEXT = 64 * 2**20
"""Bytes of a text that comes with data, such as a list of labels."""


def open_regular(path: str | Path) -> BinaryIO:
    """The file, opened to be read. `OSError` where it is none."""
    # A pipe that nobody writes to opens at once this way.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError("it is no regular file")
    return os.fdopen(file, "rb")


def read_text(path: str | Path, most: int = MOST_TEXT) -> str:
    """What a UTF-8 text holds, whatever else may be in it. `UserError` where it is no regular file or is too long."""
    try:
        with open_regular(path) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); mend or remove it.") from None
    require(len(data) <= most, f"{path} is longer than {most / 1e6:.0f} MB; it is no list of names, so remove it.")
    return data.decode("utf-8-sig", errors="replace")


ARCHIVES = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"\x28\xb5\x2f\xfd": "zstd",
}  # fmt: skip


def archive_kind(path: str | Path) -> str:
    """Which kind of archive a file is, by how it begins; empty where it is none."""
    try:
        with open_regular(path) as file:
            begin = file.read(512)
    except OSError:
        return ""
    if begin[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in ARCHIVES.items() if begin.startswith(magic)), "")
