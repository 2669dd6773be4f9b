"""Folders and files that have one owner. `locked` is the only way to own something."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fnkd_core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOOK_S = 0.5
"""A lock that is held for no longer than this may be held by `is_locked`."""
HANDED_OVER = "FNKD_LOCK"
"""The variable in which a process is told the descriptor of a lock that it was started with."""
CAN_LOCK = fcntl is not None
"""Whether this system has file locks."""


@contextlib.contextmanager
def locked(path: str | Path, *, wait: bool = True, busy: str = "", shared: bool = False) -> Iterator[None]:
    """Own what this file stands for, for as long as the block runs or the process lives.

    The only way to own something: a job's folder, the turn on a device, a store being made, a registry being changed.
    The system drops the lock with the process, however that ends. wait: for as long as another process holds it; else
    `UserError` with the text `busy`. shared: together with others that share it, so that nobody owns it alone.
    `FileNotFoundError` where the folder is gone, so that a deleted folder is not made again.
    """
    _require_flock()
    path = Path(path)
    file = _handed_over(path)
    if file is None:
        file = _own(path, wait, busy, shared)
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


def _own(path: Path, wait: bool, busy: str, shared: bool = False) -> int:
    """The descriptor of a file that is owned now."""
    patience = time.monotonic() + LOOK_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            # Deleted or moved while we waited: then it is not the lock that others see.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.stat()):
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
    """Whether a living process, this one included, owns what this file stands for, alone."""
    return _is_held(path, shared=False)


def in_use(path: str | Path) -> bool:
    """Whether a living process owns what this file stands for, alone or with others; so does who only looks, for an
    instant."""
    end = time.monotonic() + LOOK_S / 5
    while _is_held(path, shared=True):
        if time.monotonic() > end:
            return True
        time.sleep(0.01)
    return False


def _is_held(path: str | Path, shared: bool) -> bool:
    _require_flock()
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _require_flock() -> None:
    if fcntl is None:
        raise UserError("Jobs need file locks (flock), which this system lacks; use Linux, macOS or WSL.")
