"""Thumbnails of a split's images; a file a piece, joined at the end.

Of images in files they are made of these, by whoever decodes them, since a network may read a photograph at 64 pixels;
of images in memory by threads beside the forward pass. The smallest are kept as they are instead: encoding them costs a
tenth of what a network does with them, and two threads of a small machine wait for each other.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fnkd_core.data import DatasetInfo
from fnkd_core.data.catalogue import files_of
from fnkd_core.data.decoding import native_shape
from fnkd_core.data.pictures import THUMBNAIL
from fnkd_core.errors import shortages_said
from fnkd_core.stores.arrays import save_array

if TYPE_CHECKING:
    from torch import Tensor

PIXELS = 32
"""Longest side of images that are kept as pixels; who looks at one encodes it."""
AT_ONCE = 16
"""Images that a thread takes at a time."""
WAITING = 512
"""So many images wait for a thread; then the forward pass waits."""


class Thumbnails:
    """Those of a split, a piece at a time. Pillow lets go of the interpreter lock where it scales and encodes."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._futures: list[Future[list[bytes]]] = []

    def add(self, batch: Tensor) -> None:
        """Begin with those of the next batch. batch: (N, C, H, W) uint8 in memory, which stays as it is."""
        behind = len(self._futures) - WAITING // AT_ONCE
        if behind >= 0:
            self._futures[behind].result()
        images = batch.numpy()
        self._futures += [self._pool.submit(_encoded, images[i : i + AT_ONCE]) for i in range(0, len(images), AT_ONCE)]

    def take(self, pictures: list[bytes]) -> None:
        """The next ones, made already."""
        self._futures.append(Future())
        self._futures[-1].set_result(pictures)

    def write(self, path: Path) -> NDArray[np.int64]:
        """Write what was added since the last time to a file, one after the other; (N,) the bytes of each.

        `UserError` where the disk is full.
        """
        pictures = [picture for future in self._futures for picture in future.result()]
        self._futures.clear()
        with shortages_said(path), path.open("wb") as file:
            file.writelines(pictures)
            file.flush()
            os.fsync(file.fileno())
        return np.array([len(picture) for picture in pictures], np.int64)


@contextmanager
def thumbnails() -> Iterator[Thumbnails]:
    """Where thumbnails are made for as long as the block runs."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "thumbnails") as pool:
        try:
            yield Thumbnails(pool)
        finally:
            pool.shutdown(cancel_futures=True)


def are_pictures(info: DatasetInfo, split: str) -> bool:
    """Whether what a network reads of the split is what people look at.

    So it is of images that are in no files, or in files of `PIXELS` at most that are read whole, at their own size.
    """
    files = files_of(info, split)
    if files is None:
        return True
    if max(info.image) > PIXELS or files.boxes is not None or info.crop_pct != 1:
        return False
    return native_shape(files.sources, PIXELS)[1] == info.image[1]


def join(parts: list[Path], sizes: NDArray[np.int64], folder: Path) -> None:
    """Write `thumbnails.bin` and `thumbnail_offsets.npy` of a store. parts: the pieces' files in order. sizes: (N,)."""
    with (folder / "thumbnails.bin").open("wb") as whole:
        for path in parts:
            with path.open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
    save_array(folder / "thumbnail_offsets.npy", np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def _encoded(images: NDArray[np.uint8]) -> list[bytes]:
    return [encoded(image) for image in images]


def encoded(image: NDArray[np.uint8]) -> bytes:
    """A picture as WebP, at most `THUMBNAIL` pixels long. image: (C, H, W) uint8."""
    picture = Image.fromarray(image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0))
    small = max(picture.size) <= THUMBNAIL
    if not small:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=small, quality=85, method=0 if small else 2)
    return buffer.getvalue()
