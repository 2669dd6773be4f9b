"""Archives, which hold weights files and are none: what to do with one. No torch; nothing is unpacked."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fnkd_core.checkpoints.importing.formats import GZIP, TAR, program, shown
from fnkd_core.errors import UserError

MAX_MEMBERS, LISTED = 2000, 3
_BLOCK = 512
_WEIGHTS = re.compile(r"(?!.*__MACOSX/).*[^/]\.(pth|pt|th|ckpt|safetensors|bin|params)(\.tar)?", re.I)


def packed(path: Path, kind: str) -> UserError:
    """What an archive is told: to be unpacked, and which member to import where that is cheap to know."""
    name = shown(path.name)
    if kind == GZIP:
        with path.open("rb") as file:
            start = _unpacked(file.read(1 << 16))
        if start[257:262] != b"ustar":
            inner = re.sub(r"\.gz$", "", path.name, flags=re.I)
            which = shown(inner) if inner != path.name else "the file in it"
            return UserError(f"{name} is packed with gzip; unpack it and import {which}.")
        kind, members = "packed tar", [_tar_name(start)]
    elif kind == TAR:
        with path.open("rb") as file:
            members = list(_tar_names(file))
        if {"pickle", "storages", "tensors"} <= set(members):
            return UserError(f"{name} was saved by a PyTorch before 0.1.10; load it there and save its state_dict.")
    else:
        members = []
    return UserError(f"{name} is a {kind} archive, not weights; unpack it and import {_which(members)}.")


def packed_zip(path: Path) -> UserError | None:
    """As `packed`, for a zip that holds weights files; None where it may be one itself, or is broken."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member.orig_filename for member in archive.infolist()[:MAX_MEMBERS]]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if any(member.endswith("/data.pkl") or program(member) for member in members):
        return None
    if not any(_WEIGHTS.fullmatch(member) for member in members):
        return None
    return UserError(f"{shown(path.name)} is a zip archive, not weights; unpack it and import {_which(members)}.")


def _which(members: list[str]) -> str:
    weights = [member for member in members if _WEIGHTS.fullmatch(member)]
    if not weights:
        return "the weights file in it"
    more = f" or one of {len(weights) - LISTED} more" if len(weights) > LISTED else ""
    return " or ".join(shown(member, 255) for member in weights[:LISTED]) + more


def _unpacked(data: bytes) -> bytes:
    """The first block of what these bytes hold; b"" where they are broken."""
    try:
        return zlib.decompressobj(31).decompress(data, _BLOCK)
    except zlib.error:
        return b""


def _tar_names(file: IO[bytes]) -> Iterator[str]:
    for _ in range(MAX_MEMBERS):
        header = file.read(_BLOCK)
        size = re.match(rb"[0 ]*([0-7]{0,12})[ \0]*$", header[124:136])
        if len(header) < _BLOCK or not header.strip(b"\0") or size is None:
            return
        yield _tar_name(header)
        file.seek(-(-int(size[1] or b"0", 8) // _BLOCK) * _BLOCK, 1)


def _tar_name(header: bytes) -> str:
    """A member's name: its last part, and the folders before it where they did not fit beside it."""
    name, before = (header[a:b].partition(b"\0")[0].decode(errors="replace") for a, b in ((0, 100), (345, 500)))
    return f"{before}/{name}" if before and header[257:263] == b"ustar\0" else name
