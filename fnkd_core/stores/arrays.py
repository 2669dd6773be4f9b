"""Arrays of a store, written and read a part at a time: a full disk and a file that is cut short are sentences.

A mapped file that becomes shorter, or for a page of which the disk has no room, ends the whole process with SIGBUS;
`pread` gives fewer bytes, and of single rows it reads no more than these. NumPy's own writer forgets the system's
reason.
"""

from __future__ import annotations

import io
import operator
import os
import struct
import weakref
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from fnkd_core.errors import Damaged


class Bytes:
    """A file that stays open, also when it is deleted. size: its bytes when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise Damaged(path, "is missing")
        self.file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)
        self.size = os.fstat(self.file).st_size

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill the target with the bytes from `offset` on. `Damaged` where the file has fewer."""
        while target:
            count = os.preadv(self.file, [target], offset)
            if not count:
                raise Damaged(self.path, "is cut short")
            target, offset = target[count:], offset + count


class Rows:
    """An array in a .npy file, of which rows are taken by number, slice or numbers, or all by `np.asarray`."""

    def __init__(self, path: Path, dtype: type[np.generic], *shape: int, member: str = "") -> None:
        """`Damaged` unless the file holds exactly an array of this kind and shape. member: of an .npz file."""
        self.dtype, self.shape, self._bytes = np.dtype(dtype), shape, Bytes(path)
        size = self._bytes.size
        try:
            with path.open("rb") as file:
                if member:
                    size = _go_to(file, f"{member}.npy")
                read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
                found = read(file)
                self._start = file.tell()
        except Exception:  # whatever is made of bytes that are no header
            raise Damaged(path, "is no array") from None
        if found != (shape, False, self.dtype):
            raise Damaged(path, f"holds {found[2]} {found[0]}, not {self.dtype} {shape}")
        self._row = self.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        if size != self._start + self._row * len(self):
            raise Damaged(path, "is cut short")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """The rows; `Damaged` where they are not there, or hold what no model's outputs are."""
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            found = self._read(first, max(last, first)) if step == 1 else self[np.arange(first, last, step)]
        elif np.ndim(index):
            numbers = np.asarray(index)
            found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
            for k, i in enumerate(numbers.tolist()):
                found[k] = self._read(i, i + 1)[0]
        else:
            i = operator.index(index)
            found = self._read(i, i + 1)[0]
        if self.dtype.kind == "f" and not np.isfinite(found).all():
            raise Damaged(self._bytes.path, "holds what is no number")
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._read(0, len(self)).astype(dtype or self.dtype, copy=False)

    def _read(self, first: int, last: int) -> NDArray[Any]:
        if not 0 <= first <= last <= len(self):
            raise IndexError(f"rows {first} to {last} of {len(self)}")
        found = np.empty((last - first, *self.shape[1:]), self.dtype)
        self._bytes.read_into(found.reshape(-1).view(np.uint8).data, self._start + first * self._row)
        return found


def _go_to(file: BinaryIO, name: str) -> int:
    """Go to where a member of a .zip file begins that is stored as it is; where it ends. `ValueError` for another."""
    with zipfile.ZipFile(file) as whole:
        info = whole.getinfo(name)
    file.seek(info.header_offset)
    # A member's own header: 26 bytes, then the lengths of its name and of what is added to it, which follow.
    file.seek(sum(struct.unpack("<26x2H", file.read(30))), os.SEEK_CUR)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(name)
    return file.tell() + info.file_size


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file; `OSError` with the system's reason where the disk does not take it."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())


class Writer:
    """Writes a .npy file of an array of a known shape, some rows at a time: it may be larger than the memory."""

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def add(self, rows: NDArray[Any]) -> None:
        """Append rows."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
