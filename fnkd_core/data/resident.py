"""Images that are held in memory: a split is decoded once, into one file, which is read from then on.

It is read whole, not mapped: that takes a tenth of a second for CIFAR-100, and a mapped file that somebody cuts short
would end the process.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from fnkd_core.data import decoding
from fnkd_core.data.types import ImageFiles
from fnkd_core.errors import UserError
from fnkd_core.files import replacing
from fnkd_core.identity import digest
from fnkd_core.locks import locked
from fnkd_core.paths import cache_dir

WORTH_IT = 512
"""Fewer images than this are decoded faster than anyone waits."""
SMALL_BYTES = 16 * 2**10
"""Files of fewer bytes on average are decoded one after the other."""
KEPT_BYTES = 8 * 2**30
"""All files together; those that were not used for longest go first."""


def resident(images: ImageFiles, what: str, identity: str) -> Tensor:
    """(N, C, size, size) uint8 of all images; decoded where this split was not read at this size before.

    identity: of the split whose images these are. what: how an error calls it. The file is a cache: one that is
    damaged is made anew, and where it cannot be written the images are held without it. `UserError` that counts the
    images that cannot be read.
    """
    if len(images) < WORTH_IT or not identity:
        return torch.from_numpy(_decoded(images, what))
    path = _folder() / f"{_name(images, identity)}.npy"
    held = _read(path, images.shape)
    if held is None:
        with contextlib.ExitStack() as owned:
            with contextlib.suppress(OSError):  # a home that takes no files costs time, not the run
                path.parent.mkdir(parents=True, exist_ok=True)
                owned.enter_context(locked(path.parent / f".{path.stem}.lock"))  # others may read another set meanwhile
            held = _read(path, images.shape)
            if held is None:
                held = _decoded(images, what)
                with contextlib.suppress(OSError, UserError), locked(path.parent / ".lock"):  # nor does a full disk
                    _keep(path, held)
    return torch.from_numpy(held)


def _folder() -> Path:
    return cache_dir() / "pixels"


def _name(images: ImageFiles, identity: str) -> str:
    # Another Pillow may decode or scale to other bits.
    read = [images.shape, images.crop_pct, images.interpolation, PIL.__version__]
    return digest({"split": identity, "read": read})


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The file's pixels; None where it is missing or damaged."""
    try:
        held: np.ndarray = np.load(path)
        os.utime(path)
    except (OSError, ValueError, EOFError):
        return None
    return held if held.shape == shape and held.dtype == np.uint8 else None


def _keep(path: Path, held: np.ndarray) -> None:
    """Write the file, and let go of others until all of them fit."""
    others = sorted((p for p in path.parent.glob("*.npy") if p != path), key=lambda p: p.stat().st_mtime_ns)
    room = KEPT_BYTES - held.nbytes - sum(p.stat().st_size for p in others)
    for other in others:
        if room >= 0:
            break
        room += other.stat().st_size
        other.unlink()
        other.with_name(f".{other.stem}.lock").unlink(missing_ok=True)
    if room >= 0:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, held)


def _decoded(images: ImageFiles, what: str) -> np.ndarray:
    held = np.empty(images.shape, np.uint8)

    def fill(i: int) -> str | None:
        found = images.try_read(i)
        if isinstance(found, str):
            return found
        held[i] = found
        return None

    if _are_small(images):
        problems = [fill(i) for i in range(len(images))]
    else:
        with ThreadPoolExecutor(4) as pool:
            problems = list(pool.map(fill, range(len(images))))
    broken = {images.key(i): why for i, why in enumerate(problems) if why is not None}
    if broken:
        raise decoding.refusal(what, broken)
    return held


def _are_small(images: ImageFiles) -> bool:
    """Whether the files are so small that threads wait for each other longer than they decode: 3 times as long for
    CIFAR's."""
    sources = [images.listing.sources[int(i)] for i in images.index[:: max(1, len(images) // 64)]]
    with contextlib.suppress(OSError):
        sizes = [len(source) if isinstance(source, bytes) else os.stat(source).st_size for source in sources]
        return sum(sizes) < SMALL_BYTES * len(sizes)
    return False
