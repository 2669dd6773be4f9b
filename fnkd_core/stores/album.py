"""The pictures of a split as people look at them, before any model has seen it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fnkd_core.data import DatasetInfo, decoding, load_split
from fnkd_core.data.catalogue import files_of
from fnkd_core.data.pictures import thumbnail
from fnkd_core.data.types import ImageFiles
from fnkd_core.errors import UserError
from fnkd_core.stores.thumbnails import encoded


@dataclass(frozen=True)
class Album:
    """labels: (N,) int64. keys: a stable name of each sample. sources: a path each, empty where they lie in no files.

    picture: a sample's image file, at most `THUMBNAIL` pixels long; `UserError` where it cannot be read.
    """

    labels: NDArray[np.int64]
    keys: Sequence[str]
    sources: Sequence[str | bytes]
    picture: Callable[[int], bytes]

    def counts(self, num_classes: int) -> NDArray[np.int64]:
        """(K,) samples of each class."""
        return np.bincount(self.labels, minlength=num_classes)


@lru_cache(maxsize=4)
def album(info: DatasetInfo, split: str) -> Album:
    """Of images in files nothing is decoded before it is looked at; others are loaded. `UserError` as `load_split`."""
    files = files_of(info, split)
    if files is None:
        samples = load_split(info, split)
        images = samples.images
        assert not isinstance(images, ImageFiles)
        pixels = images.numpy()
        return Album(samples.labels.numpy(), samples.keys, (), lambda i: encoded(pixels[i]))

    def picture(i: int) -> bytes:
        source = files.sources[i]
        try:
            with decoding.reading(source, info.image[0]) as image:
                return thumbnail(source, image)
        except (Exception, Image.DecompressionBombWarning) as error:
            raise UserError(f"{files.keys[i]}: {decoding.reason(error)}") from None

    return Album(np.asarray(files.labels, np.int64), files.keys, files.sources, picture)
