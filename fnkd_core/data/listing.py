"""What lies in folders: looked up once for a while, and told apart by key, size and time of change. No torch."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from fnkd_core.data.types import DatasetInfo
from fnkd_core.identity import digest

P = ParamSpec("P")
T = TypeVar("T")
KEPT, LONG_S = 20.0, 0.05
"""A look at the disk that took long is kept for so many times as long, so that pages spend little time on it."""


@dataclass(frozen=True)
class File:
    """A file as a directory knows it: size in bytes, time of change in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


class Recent(Generic[P, T]):
    """A function of what is on the disk, whose answer is kept for a little while (see `KEPT`).

    What must not act on an old answer, a run that starts or an extraction, calls `look_again` first.
    """

    def __init__(self, look: Callable[P, T]) -> None:
        self.look = look
        self._kept: dict[Hashable, tuple[float, T]] = {}
        self._lock = threading.Lock()
        _RECENT.append(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        key: Hashable = (args, tuple(sorted(kwargs.items())))
        with self._lock:
            begun = time.monotonic()
            if key in self._kept and begun < self._kept[key][0]:
                return self._kept[key][1]
            found = self.look(*args, **kwargs)
            now = time.monotonic()
            self._kept = {k: v for k, v in self._kept.items() if now < v[0]}
            if now - begun > LONG_S:
                self._kept[key] = (now + KEPT * (now - begun), found)
            return found

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()


_RECENT: list[Recent] = []


def look_again() -> None:
    """Forget what was found on the disk a moment ago."""
    for recent in _RECENT:
        recent.forget()


def files_in(folder: str | os.PathLike[str], suffixes: Iterable[str] | None = None) -> list[File]:
    """The visible files of a folder by name; of these suffixes, in small letters, where any are given."""
    wanted = None if suffixes is None else frozenset(suffixes)
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or (wanted and os.path.splitext(entry.name)[1].lower() not in wanted):
                continue
            try:
                if entry.is_dir():
                    continue
                stat = entry.stat()
            except OSError:  # a link to nowhere: reading it says so
                found.append(File(entry.path, -1, 0))
                continue
            found.append(File(entry.path, stat.st_size, stat.st_mtime_ns))
    return sorted(found, key=lambda file: file.path)


def split_identity(
    label_space: str,
    classes: Sequence[str],
    split: str,
    rows: Iterable[tuple[str, int, int, int]],
    more: object = None,
) -> str:
    """The identity of a split whose images lie in files: label space, classes in order, and each file in order.

    rows: (key, label, size, time of change in ns) of each. more: what else decides its pixels. It does not see a file
    that was overwritten within the clock's tick by another of the same size, or whose time of change was put back.
    """
    listing = digest([list(row) for row in rows])
    return digest({"space": label_space, "classes": list(classes), "split": split, "files": listing, "more": more})


def with_contents(info: DatasetInfo, content: str) -> DatasetInfo:
    """The data set with the identities of its splits, which are held in memory.

    content: the digest of the files they are read from; empty where these are not here, and so the identities.
    """
    facts = {"space": info.label_space, "classes": info.classes, "content": content}
    identities = tuple(digest(facts | {"split": split}) for split in info.splits) if content else ()
    return dataclasses.replace(info, identities=identities)
