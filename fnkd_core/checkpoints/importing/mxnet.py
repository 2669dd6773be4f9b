"""MXNet's `.params`: where each array lies in the file. No torch."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fnkd_core.checkpoints.importing.formats import MAX_NDIM, MAX_TENSORS, check_name, check_shape, shown
from fnkd_core.errors import UserError, require

# By MXNet's number: torch's name and bytes per value.
DTYPES = (("float32", 4), ("float64", 8), ("float16", 2), ("uint8", 1), ("int32", 4), ("int8", 1), ("int64", 8))
V2, V3 = 0xF993FAC9, 0xF993FACA
V1 = 0xF993FAC8


@dataclass(frozen=True)
class Array:
    """dtype: torch's name. offset, num_bytes: of the values, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


class _Reader:
    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self.file, self.name, self.size = file, name, size

    def bytes(self, count: int) -> bytes:
        data = self.file.read(count) if count <= self.left() else b""
        require(len(data) == count, f"{self.name} is cut off at byte {self.file.tell()}; copy it again.")
        return data

    def number(self, kind: str) -> int:
        return int(struct.unpack("<" + kind, self.bytes(struct.calcsize("<" + kind)))[0])

    def left(self) -> int:
        return self.size - self.file.tell()


def arrays(path: Path) -> dict[str, Array]:
    """Names, without `arg:` and `aux:`, and arrays in the file's order.

    Layout: u64 0x112, u64 0, u64 n, n arrays, u64 n, n names (u64 length, bytes). An array, version 2 or 3:
    u32 magic, i32 storage (0 dense), i32 ndim, ndim x i64, i32 device, i32 device id, i32 dtype, values.
    `UserError` for anything else.
    """
    name = shown(path.name)
    with path.open("rb") as file:
        reader = _Reader(file, name, path.stat().st_size)
        reader.bytes(16)
        count = reader.number("Q")
        require(
            0 < count <= MAX_TENSORS, f"{name} has {count} arrays, and a checkpoint has 1 to {MAX_TENSORS}; save anew."
        )
        found = [_array(reader, i) for i in range(count)]
        named = reader.number("Q")
        require(
            named == count,
            f"{name} has {named} names for {count} arrays; save it with names (save_parameters, or nd.save of a dict).",
        )
        entries: dict[str, Array] = {}
        for array in found:
            length = reader.number("Q")
            require(length <= 256, f"{name} has a name of {length} bytes, at most 256 fit; rename it.")
            try:
                key = reader.bytes(length).decode()
            except UnicodeDecodeError:
                raise UserError(f"{name} has a name that is not text; copy it again.") from None
            key = key.removeprefix("arg:").removeprefix("aux:")
            check_name(key, name)
            require(key not in entries, f"{name} has two arrays named {key}; rename one.")
            check_shape(array.shape, key, name)
            entries[key] = array
        require(reader.left() == 0, f"{name} goes on after its end by {reader.left()} bytes; copy it again.")
    return entries


def _array(reader: _Reader, index: int) -> Array:
    where = f"{reader.name} has array {index}"
    magic = reader.number("I")
    version = {V1: "version 1"}.get(magic, f"the legacy form (0x{magic:x})")
    require(magic in (V2, V3), f"{where} in {version}, only versions 2 and 3 are read; save it with MXNet >= 1.0.")
    storage = reader.number("i")
    require(storage == 0, f"{where} in sparse storage ({storage}), only dense is read; convert it with tostype.")
    ndim = reader.number("i")
    require(
        (0 if magic == V3 else 1) <= ndim <= MAX_NDIM, f"{where} of {ndim} dimensions, 1 to {MAX_NDIM} are; save anew."
    )
    shape = tuple(reader.number("q") for _ in range(ndim))
    reader.bytes(8)  # the device it was saved from
    dtype = reader.number("i")
    require(
        0 <= dtype < len(DTYPES),
        f"{where} of MXNet's dtype {dtype}, only {', '.join(d for d, _ in DTYPES)} are read; cast it.",
    )
    kind, item_bytes = DTYPES[dtype]
    num_bytes = math.prod(shape) * item_bytes
    require(
        min(shape, default=0) >= 0 and num_bytes <= reader.left(),
        f"{where} of shape {shown(str(shape))}, which is more than the file holds; copy it again.",
    )
    array = Array(kind, shape, reader.file.tell(), num_bytes)
    reader.file.seek(num_bytes, 1)
    return array
