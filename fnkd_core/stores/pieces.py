"""Anything of N rows that is made a piece at a time, by any number of processes, and survives kills. No torch.

What is to lie at `NAME` is made in `.NAME.parts` beside it:

plan.json      how many rows and arrays it has, and how many rows a piece
whole/         the files that it will have; the arrays are there from the beginning, with holes
12.done        piece 12 is written
12.lock        owned by the process that works on piece 12
finish.lock    owned by the process that adds the other files and gives the folder its name

`.NAME.lock` is shared by all that take part, so that nobody removes the folder meanwhile.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from fnkd_core.errors import UserError, require, shortages_said
from fnkd_core.files import discard, making, write_json
from fnkd_core.locks import is_locked, locked, locked_if_free
from fnkd_core.records import recall

POLL_S = 0.2
Row = tuple[DTypeLike, tuple[int, ...]]
"""Kind of numbers and shape of one row of an array."""
Arrays = Mapping[str, Row]
"""By file stem."""


def lock_of(final: Path) -> Path:
    """Shared by those who make what is to lie here, and owned by who deletes it."""
    return final.with_name(f".{final.name}.lock")


def discard_if(final: Path, useless: Callable[[], bool], busy: str = "") -> None:
    """Remove what lies here if it is of no use, which is asked while nobody makes it or removes it.

    Whoever found that before may have waited for a process that has made it anew. busy: the text of the `UserError`
    where it is being made; by default that is waited for.
    """
    with locked(lock_of(final), wait=not busy, busy=busy):
        if final.exists() and useless():
            discard(final)
        lock_of(final).unlink()


def parts_of(final: Path) -> Path:
    """The folder in which it is made."""
    return final.with_name(f".{final.name}.parts")


def progress(final: Path) -> tuple[int, int] | None:
    """Rows of what is to lie here that are done, and in all; None where nobody has begun, or it is whole."""
    begun = _begun(final)
    if begun is None or final.exists():
        return None
    return _rows_done(parts_of(final), *begun), begun[0]


def rows_of(final: Path) -> int | None:
    """Rows of a piece of what has been begun here; None where nobody has."""
    begun = _begun(final)
    return None if begun is None else begun[1]


def _begun(final: Path) -> tuple[int, int] | None:
    """Rows in all and of a piece, as whoever has begun wanted it."""
    plan = recall(parts_of(final) / "plan.json")
    count, size = plan.get("count"), plan.get("size")
    return (count, size) if isinstance(count, int) and isinstance(size, int) and size >= 1 else None


class Pieces:
    """One process's share in making the folder `final`. Whoever makes one of these for the same folder helps.

        pieces = Pieces(final, len(images), 1024, {"logits": (np.float32, (10,))})
        for part in pieces.todo():
            pieces.write(part, logits=model(images[part]))
        pieces.finish(lambda folder: write_json(folder / "manifest.json", {}))

    folder: where the files lie that `final` will have. scratch: a folder for what is needed only until then, such as a
    file a piece; it goes when `final` is there.
    """

    def __init__(self, final: Path, count: int, size: int, arrays: Arrays, scratch: Arrays | None = None) -> None:
        """count: rows in all. size: rows a piece. arrays: the .npy files in `folder`, and in `scratch`."""
        require(count >= 0 and size >= 1, f"Pieces have >= 1 row, got {size} of {count}.")
        self.final, self.count, self.size = final, count, size
        self.scratch = parts_of(final)
        self.folder = self.scratch / "whole"
        self._arrays = {name: _Array(self.folder / f"{name}.npy", count, *row) for name, row in arrays.items()}
        self._arrays |= {
            name: _Array(self.scratch / f"{name}.npy", count, *row) for name, row in (scratch or {}).items()
        }
        self._plan = {"count": count, "size": size} | {
            "arrays": {name: [array.descr, list(array.shape)] for name, array in self._arrays.items()}
        }
        self._held, self._piece = contextlib.ExitStack(), contextlib.ExitStack()
        self._taking_part, self._useless, self._mine = False, False, -1

    @property
    def done(self) -> int:
        """Rows that are done, by whomever."""
        return self.count if self.final.exists() else _rows_done(self.scratch, self.count, self.size)

    def todo(self) -> Iterator[slice]:
        """The rows of a piece that nobody has done, owned by the caller until it asks for the next, which says that it
        is done.

        A piece that another process works on is left to it, and taken over where that has died. Ends when all are done.
        `UserError` where the disk is full, or another process makes the same in other pieces.
        """
        if not self._takes_part():
            return
        waiting = True
        while waiting and not self.final.exists():
            waiting = worked = False
            for k in range(-(-self.count // self.size)):
                if self._is_done(k):
                    continue
                if not self._own(k):
                    waiting = True
                    continue
                try:
                    if not self._is_done(k):
                        yield slice(k * self.size, min((k + 1) * self.size, self.count))
                        # What could not be written is left for later.
                        worked = self._mine == k
                        waiting |= not worked
                        if worked:
                            self._mark(k)
                finally:
                    self._let_go()
            if waiting and not worked:
                time.sleep(POLL_S)

    def write(self, part: slice, **rows: NDArray[Any]) -> None:
        """Write these rows of the arrays. part: within the piece that is owned. `UserError` where the disk is full."""
        own = slice(self._mine * self.size, (self._mine + 1) * self.size)
        require(
            self._mine >= 0 and own.start <= part.start <= part.stop <= own.stop,
            f"Rows {part.start} to {part.stop} are not of the piece that is owned; ask for it by todo().",
        )
        try:
            with shortages_said(self.final):
                for name, values in rows.items():
                    self._arrays[name].write(part, values)
        except BaseException:
            self._let_go()  # for others, and for who tries again
            raise

    def finish(self, write_rest: Callable[[Path], None]) -> None:
        """Give the folder its name, once all pieces are done. One process does, the others wait until it is there.

        write_rest: adds the other files to the folder that it is given. It begins anew, over what it had written, where
        the process is killed meanwhile. `UserError` where the disk is full.
        """
        if not self._takes_part():
            return
        try:
            with self._unless_finished(), shortages_said(self.final), locked(self.scratch / "finish.lock"):
                if not self.final.exists():
                    require(self.done == self.count, f"{self.final.name} is not done yet; do all of its pieces first.")
                    write_rest(self.folder)
                    for path in (*self.folder.iterdir(), self.folder):
                        _to_disk(path)
                    os.replace(self.folder, self.final)
                    _to_disk(self.final.parent)
                discard(self.scratch)
                lock_of(self.final).unlink(missing_ok=True)
        finally:
            self.close()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Where the block raises `UserError`, what is done is of no use: it goes when nobody takes part any more."""
        try:
            yield
        except UserError:
            self._useless = True
            raise

    def close(self) -> None:
        """Take part no longer; the piece that is not done is for others."""
        self._let_go()
        self._held.close()
        self._taking_part = False
        if self._useless:
            self._useless = False
            self._tidy_up()

    def _takes_part(self) -> bool:
        """Whether there is something to do; then nobody removes the folder while this process takes part."""
        self.final.parent.mkdir(parents=True, exist_ok=True)
        while not self._taking_part and not self.final.exists():
            with shortages_said(self.final):
                self._held.enter_context(locked(lock_of(self.final), shared=True))
                if not self.scratch.exists():
                    self._prepare()
                if recall(self.scratch / "plan.json") == self._plan:
                    with self._unless_finished():
                        for array in self._arrays.values():
                            self._held.enter_context(array.opened())
                        self._taking_part = True
                    break
                self._held.close()
                busy = f"{self.final.name} is being made in other pieces by another process; wait for it."
                with locked(lock_of(self.final), wait=False, busy=busy), contextlib.suppress(FileNotFoundError):
                    discard(self.scratch)
        if not self.final.exists():
            return True
        self.close()
        if self.scratch.exists() or lock_of(self.final).exists():
            self._tidy_up()  # the one that finished was killed before it had
        return False

    def _tidy_up(self) -> None:
        with locked_if_free(lock_of(self.final)) as mine, contextlib.suppress(FileNotFoundError):
            if mine:
                lock_of(self.final).unlink()
                discard(self.scratch)

    def _prepare(self) -> None:
        """Make the folder with its empty arrays, whole at once."""
        with contextlib.suppress(FileExistsError), making(self.scratch) as folder:  # else another process has made it
            (folder / self.folder.name).mkdir()
            for array in self._arrays.values():
                array.create(folder / array.path.relative_to(self.scratch))
            write_json(folder / "plan.json", self._plan)

    @contextlib.contextmanager
    def _unless_finished(self) -> Iterator[None]:
        """What the block finds no more is where others have put it, who have finished."""
        try:
            yield
        except FileNotFoundError:
            if not self.final.exists():
                raise

    def _own(self, k: int) -> bool:
        lock = self.scratch / f"{k}.lock"
        try:
            mine = not is_locked(lock) and self._piece.enter_context(locked_if_free(lock))
        except FileNotFoundError:  # others have finished it
            require(self.final.exists(), f"{self.scratch} was removed while it was being made; start again.")
            return True
        self._mine = k if mine else -1
        return mine

    def _let_go(self) -> None:
        self._piece.close()
        self._mine = -1

    def _is_done(self, k: int) -> bool:
        return (self.scratch / f"{k}.done").exists() or self.final.exists()

    def _mark(self, k: int) -> None:
        with shortages_said(self.final):
            for array in self._arrays.values():
                array.to_disk()
            os.close(os.open(self.scratch / f"{k}.done", os.O_CREAT | os.O_WRONLY, 0o666))
            _to_disk(self.scratch)
        (self.scratch / f"{k}.lock").unlink(missing_ok=True)


class _Array:
    """A .npy file of which rows are written in any order: holes are zeros, and take no room on the disk."""

    def __init__(self, path: Path, count: int, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        self.path, self.count, self.dtype, self.shape = path, count, np.dtype(dtype), tuple(shape)
        self.descr = repr(npy.dtype_to_descr(self.dtype))
        header = io.BytesIO()
        known = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (count, *self.shape)}
        npy.write_array_header_1_0(header, known)
        self._header = header.getvalue()
        self._row = self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))
        self._file = -1

    def create(self, path: Path) -> None:
        with path.open("wb") as file:
            file.write(self._header)
            file.truncate(len(self._header) + self.count * self._row)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        self._file = os.open(self.path, os.O_WRONLY)
        try:
            yield
        finally:
            os.close(self._file)
            self._file = -1

    def write(self, part: slice, rows: NDArray[Any]) -> None:
        values = np.ascontiguousarray(rows, self.dtype)
        shape = (part.stop - part.start, *self.shape)
        require(values.shape == shape, f"{self.path.stem} needs rows of shape {shape}, got {values.shape}.")
        data, offset = values.reshape(-1).view(np.uint8).data, len(self._header) + part.start * self._row
        while data:
            count = os.pwrite(self._file, data, offset)
            data, offset = data[count:], offset + count

    def to_disk(self) -> None:
        os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)


def _rows_done(scratch: Path, count: int, size: int) -> int:
    try:
        done = [int(name.removesuffix(".done")) for name in os.listdir(scratch) if name.endswith(".done")]
    except FileNotFoundError:
        return 0
    return sum(min(size, count - k * size) for k in done)


def _to_disk(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
