"""What was found out of each run's folder, so that nobody reads thousands of them to show a few.

An index is a cache, never the truth: it can be deleted at any time, and what it says of a run counts for as long as the
run's folder and its `end.json` are what they were. A run without an end is looked at each time, and so is one that has
changed within the last seconds, since a clock's ticks do not tell two changes of one moment apart.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, TypeVar

from fnkd_core.paths import cache_dir, runs_dir
from fnkd_core.records import recall, remember
from fnkd_core.shapes import misfit

T = TypeVar("T")
Stamp = tuple[int, int, int]
"""Of a run's folder: when it was changed in ns, and its end's time and size, 0 without one."""
RECENT_NS = 2_000_000_000
UNSAVED = 64
"""So many rows are found out anew by each process before they are written for the others."""

_once: ContextVar[dict[Path, dict[str, Stamp]] | None] = ContextVar("once", default=None)


@contextlib.contextmanager
def looked_once() -> Iterator[None]:
    """Within the block the runs' folder is looked at once; what changes meanwhile is seen after it."""
    before = _once.set({})
    try:
        yield
    finally:
        _once.reset(before)


def folders() -> dict[str, Stamp]:
    """The names of the runs' folders, newest first, with what changes with each."""
    once, where = _once.get(), runs_dir()
    if once is not None and where in once:
        return once[where]
    found = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(where) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir() and not entry.name.startswith("."):
                    found[entry.name] = (entry.stat().st_mtime_ns, *_end(entry.path))
    found = dict(sorted(found.items(), reverse=True))
    if once is not None:
        once[where] = found
    return found


def _end(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(f"{folder}/end.json")
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


class Index(Generic[T]):
    """One row for each run. name: of its file. shape: what a row is. look: finds it out, and never raises."""

    def __init__(self, name: str, shape: type[T], look: Callable[[Path], T]) -> None:
        self.name, self.shape, self.look = name, shape, look
        self._rows: dict[Path, dict[str, tuple[Stamp, T]]] = {}
        self._unsaved = 0
        self._turn = threading.RLock()

    @property
    def path(self) -> Path:
        """Where it is kept between processes."""
        return cache_dir() / "index" / f"{self.name}.json"

    def rows(self) -> dict[str, T]:
        """Name of a run's folder -> its row, newest first. Nobody may change one."""
        there, where = folders(), runs_dir()
        with self._turn:
            known = self._known()
            found: dict[str, T] = {}
            long_ago = time.time_ns() - RECENT_NS
            for name, stamp in there.items():
                kept = known.get(name)
                if kept is not None and kept[0] == stamp:
                    found[name] = kept[1]
                    continue
                found[name] = self.look(where / name)
                known.pop(name, None)
                if stamp[1] and max(stamp[:2]) < long_ago:
                    known[name] = (stamp, found[name])
                    self._unsaved += 1
            for name in known.keys() - there.keys():
                del known[name]
            if self._unsaved >= UNSAVED:
                self._unsaved = 0
                remember(self.path, {name: [*stamp, row] for name, (stamp, row) in known.items()})
        return found

    def _known(self) -> dict[str, tuple[Stamp, T]]:
        if self.path not in self._rows:
            self._rows.clear()  # of another home
            self._rows[self.path] = {
                name: (tuple(kept[:3]), kept[3]) for name, kept in recall(self.path).items() if self._sound(kept)
            }
        return self._rows[self.path]

    def _sound(self, kept: Any) -> bool:
        return misfit(kept, list[Any]) is None and len(kept) == 4 and misfit(kept[3], self.shape) is None
