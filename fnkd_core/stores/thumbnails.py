"""Thumbnails of images as they pass by: one file, and where each begins in it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fnkd_core.stores.arrays import save_array

THUMBNAIL = 96
"""Longest side of a thumbnail in pixels; smaller images are kept as they are, without loss."""


class Thumbnails:
    """Writes `thumbnails.bin` and `thumbnail_offsets.npy` into a store's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.offsets = folder, [0]

    def copied(self, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """The same batches, each with its thumbnails written."""
        with (self.folder / "thumbnails.bin").open("wb") as file:
            for batch in images:
                for image in batch.numpy():
                    self.offsets.append(self.offsets[-1] + file.write(_thumbnail(image)))
                yield batch

    def finish(self) -> None:
        save_array(self.folder / "thumbnail_offsets.npy", np.array(self.offsets, np.int64))


def _thumbnail(image: np.ndarray) -> bytes:
    picture = Image.fromarray(image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0))
    small = max(picture.size) <= THUMBNAIL
    if not small:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=small, quality=85, method=0 if small else 2)
    return buffer.getvalue()
