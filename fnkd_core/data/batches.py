"""Images of a split in memory or in files, and batches of either in a given order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fnkd_core.data.loader import Loader
from fnkd_core.data.resident import resident
from fnkd_core.data.types import DatasetInfo, ImageFiles, Listing, RandomCrops, Samples, Shown, random_crops
from fnkd_core.data.views import View

RESIDENT_BYTES = 2**30
"""A split with no more pixels than this is decoded once and kept in memory."""


def batches(
    images: Tensor | ImageFiles,
    batch_size: int,
    order: Tensor | None = None,
    crops: RandomCrops | None = None,
    workers: int | None = None,
    shown: Shown | None = None,
) -> Iterator[Tensor]:
    """(batch_size, C, H, W) uint8 batches of the images in this order, the last maybe smaller.

    shown: is given the thumbnails of images in files, those of a batch before the batch; of images in memory nothing.
    The same bits whatever the number of workers. `UserError` in one line where an image cannot be read.
    """
    if isinstance(images, Tensor):
        yield from (
            images.split(batch_size) if order is None else (images.index_select(0, i) for i in order.split(batch_size))
        )
        return
    chosen: Sequence[int] = range(len(images)) if order is None else order.tolist()
    yield from batches_of(
        images, [chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)], crops, workers, shown
    )


def batches_of(
    images: ImageFiles,
    whole: Sequence[Sequence[int]],
    crops: RandomCrops | None = None,
    workers: int | None = None,
    shown: Shown | None = None,
) -> Iterator[Tensor]:
    """(n, C, H, W) uint8 of the images in each of these lists, list by list."""
    if images.reader is not None:
        yield from images.reader.batches(images, whole, crops, shown)
        return
    with Loader(workers) as loader:
        yield from loader.batches(loader.reading(images), whole, crops, shown)


def from_files(info: DatasetInfo, split: str, listing: Listing, identity: str, in_memory: bool = True) -> Samples:
    """A split whose images lie in files: in memory if small, but for training images that are to be cropped.

    identity: what these files are, all of them. in_memory: whether they may be held there.
    """
    channels, size = info.image[0], info.image[1]
    index = torch.arange(len(listing.labels))
    images = ImageFiles(listing, index, channels, size, info.crop_pct, info.interpolation)
    cropped = split == "train" and random_crops(info, View(0, 0)) is not None
    small = in_memory and not cropped and len(index) * channels * size * size <= RESIDENT_BYTES
    held = resident(images, f"{info.title} ({split})", identity) if small else images
    return Samples(info, split, held, torch.tensor(list(listing.labels)), list(listing.keys))
