"""Files and folders that are whole or absent, temporary ones that go whatever happens, names that can be paths."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fnkd_core.errors import require, shortages_said
from fnkd_core.locks import CAN_LOCK, is_locked, locked, locked_if_free
from fnkd_core.paths import cache_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_OURS = re.compile(r"\..*\.[0-9a-f]{8}\.(tmp|deleted)", re.DOTALL)
"""Names of temporary files and folders, and of what is being deleted."""


class _Noted:
    """The temporary paths of this process, in a file of the home that it owns for as long as it lives.

    A path that a process which lives no more has noted is one that it could not remove: the next process does, before
    it notes its first.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / secrets.token_hex(8)
        self.count = 0
        self._owned = contextlib.ExitStack()
        self._owned.enter_context(locked(path))
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, path: Path) -> None:
        os.write(self._file, os.fsencode(path.absolute()) + b"\0")
        self.count += 1

    def drop(self) -> None:
        self.count -= 1
        if not self.count:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        os.close(self._file)
        self._owned.close()


_homes: dict[Path, _Noted] = {}
_noting = threading.Lock()


@contextlib.contextmanager
def _note(path: Path) -> Iterator[None]:
    """Note a temporary path for as long as the block runs; where the home takes no notes, none is taken."""
    noted = None
    with contextlib.suppress(OSError), _noting:
        home = _of_home()
        if home is not None:
            home.add(path)
            noted = home
    try:
        yield
    finally:
        if noted is not None:
            with contextlib.suppress(OSError), _noting:
                noted.drop()


def _of_home() -> _Noted | None:
    folder = cache_dir() / "processes"
    if folder not in _homes and CAN_LOCK:
        for other in [other for other, noted in _homes.items() if not noted.count]:
            _homes.pop(other).close()
        sweep()
        _homes[folder] = _Noted(folder)
    return _homes.get(folder)


def sweep() -> None:
    """Remove the temporary files and folders of processes that live no more, and nothing else."""
    for notes in (cache_dir() / "processes").glob("*") if CAN_LOCK else ():
        if is_locked(notes):
            continue
        with locked_if_free(notes) as mine:
            if mine:
                for path in map(Path, map(os.fsdecode, notes.read_bytes().split(b"\0"))):
                    if _OURS.fullmatch(path.name):
                        _remove(path)
                notes.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _beside(path: Path, end: str = "tmp") -> Iterator[Path]:
    """A path that nothing has yet, in the folder of `path`; whatever is there after the block is removed."""
    temporary = path.with_name(f".{path.name.lstrip('.')}.{secrets.token_hex(4)}.{end}")
    with _note(temporary):
        try:
            yield temporary
        finally:
            _remove(temporary)


@contextlib.contextmanager
def replacing(path: str | Path, new: bool = False) -> Iterator[Path]:
    """A temporary file in the folder of `path`; it takes the place of `path` when the block succeeds.

    A reader sees the old file or the new one, never a part; after an error the old file stands. new: there must be no
    old one: of several processes that write it at once one succeeds, and the others get `FileExistsError`. `UserError`
    where the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with shortages_said(path), _beside(path) as temporary:
        file = os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666)
        mode = os.fstat(file).st_mode & 0o777
        os.close(file)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(mode)  # as the umask says, whatever a library has made of it
        if new:
            os.link(temporary, path)  # a rename would take the place of another's
        else:
            os.replace(temporary, path)


@contextlib.contextmanager
def making(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; it becomes `path` when the block succeeds, and is gone when it does not.

    `FileExistsError` where something has become `path` meanwhile, an empty folder apart. `UserError` where the disk is
    full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with shortages_said(path), _beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        try:
            os.replace(temporary, path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            raise


@contextlib.contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """An empty folder beside this path, readable by the user alone, for as long as the block runs."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    with shortages_said(beside.parent), _beside(beside) as temporary:
        temporary.mkdir(mode=0o700)
        yield temporary


def write_bytes(path: str | Path, data: bytes, new: bool = False) -> None:
    """Write a file, whole or not at all. new: `FileExistsError` where there is one, see `replacing`."""
    with replacing(path, new) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str, new: bool = False) -> None:
    """Write a file of text in UTF-8, whole or not at all. new: `FileExistsError` where there is one."""
    write_bytes(path, text.encode(), new)


def write_json(path: str | Path, value: Any, new: bool = False) -> None:
    """Strict JSON: `ValueError` for NaN and infinity, which no other program reads. new: `FileExistsError` where there
    is a file."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", new)


def append_json(path: str | Path, *values: Any, durable: bool = True) -> None:
    """Add lines of strict JSON to a file; after an error the file is as it was.

    durable: they are on the disk when this returns; else they outlive this process, but perhaps not the machine.
    """
    lines = "".join(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)
    with shortages_said(path), Path(path).open("ab", buffering=0) as file:
        whole = file.tell()
        try:
            data = memoryview(lines.encode())
            while data:
                data = data[file.write(data) :]
            if durable:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise


def discard(path: Path) -> None:
    """Take a file or folder out of its place in one step, then off the disk: nobody ever finds a part of it there."""
    with _beside(path, "deleted") as gone:
        os.replace(path, gone)


def check_name(kind: str, name: str) -> str:
    """The name, where it can be a file's: letters, digits, dots, - and _, not beginning with a dot, at most 64.

    kind: what it is the name of, for the error. `UserError` otherwise.
    """
    require(
        isinstance(name, str) and _NAME.fullmatch(name) is not None,
        f"A {kind}'s name has letters, digits, dots, - and _, at most 64, and begins with a letter or digit, "
        f"got {name!r}.",
    )
    return name


def expanded(path: str | Path) -> Path:
    """The path, with the user's home for ~. `UserError` where it can be no path."""
    require("\0" not in str(path), f"A path has no character NUL, got {str(path)!r}.")
    return Path(os.path.expanduser(path))


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: str | Path) -> tuple[int, int, int] | None:
    """What changes with a file: its size, time of change in ns and number on the disk; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
