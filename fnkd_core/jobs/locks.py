"""A POSIX record lock as the sign of life: the system drops it with the process, however that ends.

A process number can be given to another program, a lock cannot. Two traps: a process never sees its own
record lock, and closing any descriptor of the file drops it; so the holder keeps one descriptor open and
nobody opens the file in the process that holds it.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import IO, Any

from fnkd_core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_held: dict[Path, IO[Any]] = {}


def _require_fcntl() -> None:
    if fcntl is None:
        raise UserError("Background runs need POSIX file locks, which this system lacks; use Linux, macOS or WSL.")


def acquire(path: Path, patience_s: float = 2.0) -> bool:
    """Take the lock for the life of this process; False where another process holds it.

    Waits a little, because someone who looks whether it is held holds a shared one for an instant.
    """
    _require_fcntl()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _held[path.resolve()] = file
            return True
        except OSError:
            if time.monotonic() > end:
                file.close()
                return False
            time.sleep(0.02)


def release(path: Path) -> None:
    """Give the lock back."""
    file = _held.pop(path.resolve(), None)
    if file:
        file.close()


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock, this one included."""
    _require_fcntl()
    if path.resolve() in _held:
        return True
    if not path.exists():
        return False
    with path.open("r") as file:
        if sys.platform == "linux" and struct.calcsize("P") == 8:  # look without touching
            query = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
            answer = fcntl.fcntl(file, fcntl.F_GETLK, query)
            return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
