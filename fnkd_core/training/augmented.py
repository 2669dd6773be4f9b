"""A run's training images, batch by batch, as each epoch sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fnkd_core.data import Samples
from fnkd_core.data.augment import augment, key_hashes
from fnkd_core.data.batches import batches_of
from fnkd_core.data.types import ImageFiles, random_crops
from fnkd_core.data.views import View
from fnkd_core.training.distributed import Group

ON_DEVICE = 0.25
"""Share of an accelerator's memory that a split may take to be held there."""


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch.

    rows: (n,) places in the training set, on the CPU; index: the same on the device. images: (n, C, H, W) uint8 and
    labels: (n,), on the device. size: of the whole batch, all processes together.
    """

    rows: Tensor
    index: Tensor
    images: Tensor
    labels: Tensor
    size: int

    def parts(self, count: int) -> list[Batch]:
        """The batch in so many parts, each of the same `size`: that of the whole batch."""
        if count == 1:
            return [self]
        cut = (each.tensor_split(count) for each in (self.rows, self.index, self.images, self.labels))
        return [Batch(rows, index, images, labels, self.size) for rows, index, images, labels in zip(*cut, strict=True)]


class Augmented:
    """Views of a training set. Small ones lie on the device and are augmented there."""

    def __init__(self, samples: Samples, augmented: bool, view_seed: int, device: torch.device) -> None:
        self.samples, self.augmented, self.view_seed, self.device = samples, augmented, view_seed, device
        self.images, self.labels = samples.images, samples.labels.to(device)
        self.hashes = key_hashes(samples.keys)
        if isinstance(self.images, Tensor) and device.type != "cpu" and _fits(self.images, device):
            self.images, self.hashes = self.images.to(device), self.hashes.to(device)

    def views(self, rows: Tensor, batch_size: int, number: int) -> Iterator[Tensor]:
        """(batch_size, C, H, W) uint8 on the device: this view of the samples in these rows, in their order."""
        return self._views([*rows.split(batch_size)], number)

    def epoch(self, order: Tensor, batch_size: int, number: int, group: Group) -> Iterator[Batch]:
        """The batches of an epoch in this order, of which each process of the group has its part."""
        whole = order.split(batch_size)
        mine = [group.part(rows) for rows in whole]
        # Moved at once: a copy from unpinned memory waits for the device.
        on_device = torch.cat(mine).to(self.device).split([len(rows) for rows in mine])
        images = self._views(mine, number)
        for batch, rows, index in zip(whole, mine, on_device, strict=True):
            yield Batch(rows, index, next(images), self.labels[index], len(batch))

    def _views(self, parts: list[Tensor], number: int) -> Iterator[Tensor]:
        view, info, images = View(self.view_seed, number), self.samples.info, self.images
        crops = random_crops(info, view) if self.augmented and isinstance(images, ImageFiles) else None
        moved = torch.cat(parts).to(self.hashes.device).split([len(part) for part in parts])
        if isinstance(images, ImageFiles):
            found = batches_of(images, [part.tolist() for part in parts], crops)
        else:
            found = (images.index_select(0, index) for index in moved)
        for index, batch in zip(moved, found, strict=True):
            if self.augmented and crops is None:
                batch = augment(batch, info.pad, info.flip, self.hashes[index], view)
            yield to_device(batch, self.device)


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    return images.nbytes <= ON_DEVICE * torch.cuda.mem_get_info(device)[1]


def to_device(found: Tensor, device: torch.device) -> Tensor:
    """The tensor there; from pinned memory, so that the copy runs beside the computation."""
    if device.type == "cuda" and found.device.type == "cpu":
        return found.pin_memory().to(device, non_blocking=True)
    return found.to(device)


def order_of(count: int, seed: int, epoch: int) -> Tensor:
    """(count,) the order in which an epoch sees the training set: a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)
