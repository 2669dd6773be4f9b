"""What lies in folders: looked up once for a while, and told apart by key, size and time of change. No torch."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from fnkd_core.data.types import DatasetInfo
from fnkd_core.identity import digest, digest_of_rows

P = ParamSpec("P")
T = TypeVar("T")
KEPT, LONG_S = 20.0, 0.05
"""A look at the disk that took long is kept for so many times as long, so that pages spend little time on it."""
LEFT_S = 1.0
"""An answer that took so long is left behind for other processes."""
STAMPED = 10.0
"""So many times longer where it has stamps: these are looked at each time, and say nearly all that can have changed."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as a directory knows it: size in bytes, time of change in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Stamp:
    """When a folder or file was last changed, in nanoseconds. A folder changes with the names in it."""

    path: str
    mtime_ns: int

    def holds(self) -> bool:
        """Whether it has not been changed since."""
        try:
            return os.stat(self.path).st_mtime_ns == self.mtime_ns
        except OSError:
            return False


@dataclass
class _Kept(Generic[T]):
    """An answer, until when it is kept, and until when its stamps are taken to hold; both in monotonic seconds."""

    found: T
    until: float
    holds_until: float = 0.0


class Recent(Generic[P, T]):
    """A function of what is on the disk, whose answer is kept for a little while (see `KEPT`).

    stamps: of what the answer follows from; it is not kept when one of them has changed, which is looked at each time
    where that is quick. What must not act on an old answer, a run that starts or an extraction, calls `look_again`
    first. last: the answer that another process has left behind, where there is one, for a process that has not called
    `look_again`; leave: leaves an answer behind that took long.
    """

    def __init__(
        self,
        look: Callable[P, T],
        stamps: Callable[[T], Iterable[Stamp]] | None = None,
        last: Callable[P, T | None] | None = None,
        leave: Callable[[T, Hashable], None] | None = None,
    ) -> None:
        self.look, self.stamps, self.last, self.leave = look, stamps, last, leave
        self._kept: dict[Hashable, _Kept[T]] = {}
        self._first = True
        self._lock = threading.Lock()
        _RECENT.append(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        key: Hashable = (args, tuple(sorted(kwargs.items())))
        with self._lock:
            begun = time.monotonic()
            if key in self._kept and begun < self._kept[key].until and self._holds(self._kept[key], begun):
                return self._kept[key].found
            left = self._left(*args, **kwargs)
            found = left if left is not None else self.look(*args, **kwargs)
            now = time.monotonic()
            if left is None and self.leave is not None and now - begun > LEFT_S:
                self.leave(found, args)
            self._kept = {k: v for k, v in self._kept.items() if now < v.until}
            if now - begun > LONG_S:
                kept_s = KEPT * (STAMPED if self.stamps else 1) * (now - begun)
                self._kept[key] = _Kept(found, now + kept_s)
            return found

    def _left(self, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What another process has left behind, if its stamps hold."""
        if self.last is None or not self._first:
            return None
        found = self.last(*args, **kwargs)
        holds = found is not None and self.stamps is not None and all(stamp.holds() for stamp in self.stamps(found))
        return found if holds else None

    def _holds(self, kept: _Kept[T], begun: float) -> bool:
        if begun < kept.holds_until:
            return True
        if self.stamps is not None and not all(stamp.holds() for stamp in self.stamps(kept.found)):
            return False
        now = time.monotonic()
        if now - begun > LONG_S:
            kept.holds_until = now + KEPT * (now - begun)
        return True

    def forget(self) -> None:
        """Look again at the next question."""
        with self._lock:
            self._kept.clear()
            self._first = False


_RECENT: list[Recent] = []


_forgotten: list[bool] = []
"""Within a block of `one_look`: whether there was one."""


def look_again() -> None:
    """Forget what was found on the disk a moment ago; within a block of `one_look` the first time only."""
    if _forgotten == [True]:
        return
    _forgotten[:] = [True] * len(_forgotten)
    for recent in _RECENT:
        recent.forget()


@contextlib.contextmanager
def one_look() -> Iterator[None]:
    """For who checks a run and begins it at once: what the check has found on the disk counts for the run as well.

    It is kept no longer than else, and not where names in a folder have changed meanwhile.
    """
    _forgotten[:] = [False]
    try:
        yield
    finally:
        _forgotten.clear()


def files_in(folder: str | os.PathLike[str]) -> list[File]:
    """The visible files of a folder by name."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_dir():
                continue
            try:
                status = entry.stat()
                found.append(File(entry.path, status.st_size, status.st_mtime_ns))
            except OSError:  # a link to nowhere: reading it says so
                found.append(File(entry.path, -1, 0))
    return sorted(found, key=lambda file: file.path)


def same_name(name: str) -> str:
    """What two writings of one name have in common: systems differ in how they write an accent."""
    return unicodedata.normalize("NFC", name)


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
    listing = digest_of_rows(rows)
    return digest({"space": label_space, "classes": list(classes), "split": split, "files": listing, "more": more})


def with_contents(info: DatasetInfo, content: str) -> DatasetInfo:
    """The data set with the identities of its splits, which are held in memory.

    content: the digest of the files they are read from; empty where these are not here, and so the identities.
    """
    facts = {"space": info.label_space, "classes": info.classes, "content": content}
    identities = tuple(digest(facts | {"split": split}) for split in info.splits) if content else ()
    return dataclasses.replace(info, identities=identities)
