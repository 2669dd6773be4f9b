"""Files that are whole or absent, folders that have one owner, names that can be paths."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fnkd_core.errors import UserError, require

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOOK_S = 0.5
"""A lock that is held for no longer than this may be held by `is_locked`."""
HANDED_OVER = "FNKD_LOCK"
"""The variable in which a process is told the descriptor of a lock that it was started with."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`; it takes the place of `path` when the block succeeds.

    A reader sees the old file or the new one, never a part; after an error the old file stands.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; what we save is for the user's group as the umask says.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Strict JSON: `ValueError` for NaN and infinity, which no other program reads."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_json(path: str | Path, value: Any) -> None:
    """Add a line of strict JSON to a file, on the disk when this returns."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    with Path(path).open("a") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def discard(path: Path) -> None:
    """Take a file or folder out of its place in one step, then off the disk: nobody ever finds a part of it there."""
    gone = path.with_name(f".{path.name.lstrip('.')}.deleted-{secrets.token_hex(2)}")
    os.replace(path, gone)
    if gone.is_dir():
        shutil.rmtree(gone, ignore_errors=True)
    else:
        gone.unlink(missing_ok=True)


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


@contextlib.contextmanager
def locked(path: str | Path, *, wait: bool = True, busy: str = "") -> Iterator[None]:
    """Own what this file stands for, for as long as the block runs or the process lives.

    The only way to own something: a job's folder, the turn on a device, a store being made, a registry being changed.
    The system drops the lock with the process, however that ends. wait: for as long as another process holds it; else
    `UserError` with the text `busy`. `FileNotFoundError` where the folder is gone, so that a deleted folder is not made
    again.
    """
    _require_flock()
    path = Path(path)
    file = _handed_over(path)
    if file is None:
        file = _own(path, wait, busy)
    try:
        yield
    finally:
        os.close(file)


@contextlib.contextmanager
def locked_for_child(path: str | Path, busy: str = "") -> Iterator[tuple[int, dict[str, str]]]:
    """Own what this file stands for on behalf of a process that is started within the block.

    Yields the descriptor to pass to it and what to add to its environment. It owns the file from its first moment, and
    its first `locked` of it finds it owned by itself; the block's own share ends with the block. `UserError` with the
    text `busy` where somebody owns it already.
    """
    _require_flock()
    file = _own(Path(path), False, busy)
    try:
        yield file, {HANDED_OVER: str(file)}
    finally:
        os.close(file)


def _handed_over(path: Path) -> int | None:
    """The descriptor by which this process has owned the file since it was started, taken once."""
    try:
        file = int(os.environ.get(HANDED_OVER, ""))
        mine = path.exists() and os.path.samestat(os.fstat(file), path.stat())
    except (ValueError, OSError):
        return None
    if not mine:
        return None
    del os.environ[HANDED_OVER]
    os.set_inheritable(file, False)
    return file


def _own(path: Path, wait: bool, busy: str) -> int:
    """The descriptor of a file that is owned now."""
    patience = time.monotonic() + LOOK_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Deleted or moved while we waited: then it is not the lock that others see.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            # Somebody who only looks holds it for an instant.
            if time.monotonic() > patience:
                os.close(file)
                raise UserError(busy or f"{path} is in use by another process; wait for it.") from None
            time.sleep(0.01)
        except BaseException:
            os.close(file)
            raise
        os.close(file)


@contextlib.contextmanager
def locked_if_free(path: str | Path) -> Iterator[bool]:
    """Own what this file stands for if nobody does, and say whether: for those that have something else to do then."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path, wait=False))
        except UserError:
            mine = False
        else:
            mine = True
        yield mine


def is_locked(path: str | Path) -> bool:
    """Whether a living process, this one included, owns what this file stands for."""
    _require_flock()
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _require_flock() -> None:
    if fcntl is None:
        raise UserError("Jobs need file locks (flock), which this system lacks; use Linux, macOS or WSL.")


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
