"""Long lists in files without names, which worker processes read from instead of holding a copy each. No torch."""

from __future__ import annotations

import os
import struct
import tempfile
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import reduction
from typing import Any, BinaryIO

import numpy as np

from fnkd_core.data.types import Listing
from fnkd_core.errors import shortages_said
from fnkd_core.paths import cache_dir

Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
CODECS: dict[str, Codec] = {
    "text": (lambda text: text.encode(errors="surrogateescape"), lambda data: data.decode(errors="surrogateescape")),
    "bytes": (bytes, bytes),
    "box": (lambda box: struct.pack("=4d", *box), lambda data: struct.unpack("=4d", data)),
}
AT_ONCE = 2**16
"""So many values are encoded at once."""


class Packed(Sequence[Any]):
    """The values of a list, each read when it is asked for, by any number of processes at once.

    They lie in a file that has no name any more, so that nobody can change it and nothing is left of it when the last
    process that has it open ends, however that is. A process that is started with it gets the open file alone.
    """

    def __init__(self, values: Sequence[Any], kind: str) -> None:
        """kind: of `CODECS`. `UserError` where the disk is full."""
        encode, lengths, count = CODECS[kind][0], [np.zeros(1, np.int64)], len(values)
        with shortages_said(cache_dir()), _unnamed() as file:
            for first in range(0, count, AT_ONCE):
                encoded = [encode(value) for value in values[first : first + AT_ONCE]]
                file.write(b"".join(encoded))
                lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            ends = np.cumsum(np.concatenate(lengths))
            file.write(ends.tobytes())
            file.flush()
            self._hold(os.dup(file.fileno()), count, int(ends[-1]), kind)

    def _hold(self, file: int, count: int, ends_at: int, kind: str) -> None:
        """ends_at: where in the file the ends of the values begin, which follow after the last."""
        self._state = count, ends_at, kind
        self._file, self._count, self._ends_at, self._decode = file, count, ends_at, CODECS[kind][1]
        weakref.finalize(self, os.close, file)

    def __reduce__(self) -> tuple[Callable[..., Packed], tuple[Any, ...]]:
        return _received, (reduction.DupFd(self._file), *self._state)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if not 0 <= i < self._count:
            raise IndexError(i)
        start, end = struct.unpack("=2q", os.pread(self._file, 16, self._ends_at + 8 * i))
        return self._decode(os.pread(self._file, end - start, start))


def _received(file: Any, *state: Any) -> Packed:
    packed = Packed.__new__(Packed)
    packed._hold(file.detach(), *state)
    return packed


def _unnamed() -> BinaryIO:
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=cache_dir())  # type: ignore[return-value]
    except OSError:  # a home that takes no files
        return tempfile.TemporaryFile()  # type: ignore[return-value]


def packed(listing: Listing) -> Listing:
    """The same without labels; what is read row by row from the disk already stays as it is."""
    sources: Sequence[str | bytes] = listing.sources
    if isinstance(sources, list | tuple):
        kinds = {type(source) for source in sources}
        if len(kinds) == 1:
            sources = Packed(sources, "text" if kinds == {str} else "bytes")
    boxes = None if listing.boxes is None else Packed(listing.boxes, "box")
    return Listing(sources, (), Packed(listing.keys, "text"), boxes)
