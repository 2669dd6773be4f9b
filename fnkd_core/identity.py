"""What a thing is, never what it is called: short digests of canonical values. No torch.

A card, a split and a run have an `identity` that is built on `digest`. Stores, comparisons, resuming and health checks
go by identities; names are for people.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fnkd_core.files import sha256
from fnkd_core.paths import cache_dir
from fnkd_core.records import recall, remember


def digest(value: Any) -> str:
    """16 hexadecimal digits that are equal for equal values: of the SHA-256 of the value's canonical JSON.

    Records are mappings, tuples are lists, 1.0 is 1, the order of keys does not count. `ValueError` for NaN.
    """
    text = json.dumps(_plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of_rows(rows: Iterable[tuple[str | int, ...]]) -> str:
    """The `digest` of many rows, in a fifth of the time: texts and whole numbers are plain as they are."""
    text = json.dumps([*rows], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def content_of(path: Path) -> str:
    """The SHA-256 of a file's content, summed once for as long as its size and time of change stay the same.

    `OSError` where it cannot be read.
    """
    stat = path.stat()
    return _summed(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _summed(path: Path, *stamp: int) -> str:
    memory = cache_dir() / "contents" / f"{digest(str(path.resolve()))}.json"
    known = recall(memory)
    if known.get("stamp") == list(stamp) and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    found = sha256(path)
    remember(memory, {"stamp": stamp, "sha256": found})
    return found
