"""A run's training images, batch by batch, as each epoch sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fnkd_core.data import Samples
from fnkd_core.data.augment import augment, key_hashes, to_device
from fnkd_core.data.batches import batches_of
from fnkd_core.data.distort import erase, trivial_augment
from fnkd_core.data.mixing import Mixing, mixed, mixing, partners
from fnkd_core.data.types import ImageFiles, random_crops
from fnkd_core.data.views import Augmentation, View
from fnkd_core.training.distributed import Group

ON_DEVICE = 0.25
"""Share of an accelerator's memory that a split may take to be held there."""


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch.

    rows: (n,) places in the training set, on the CPU; index: the same on the device. images: (n, C, H, W) uint8 and
    labels: (n,), on the device. size: of the whole batch, all processes together. others, share: of mixed images, the
    (n,) labels of what each is mixed with and the (n,) float32 share of its own; None of whole ones. weights: (n,) of
    each sample's loss, None where all count the same; other_weights: of what each is mixed with.
    """

    rows: Tensor
    index: Tensor
    images: Tensor
    labels: Tensor
    size: int
    others: Tensor | None = None
    share: Tensor | None = None
    weights: Tensor | None = None
    other_weights: Tensor | None = None

    def parts(self, count: int) -> list[Batch]:
        """The batch in so many parts, each of the same `size`: that of the whole batch."""
        if count == 1:
            return [self]
        cut = {k: v.tensor_split(count) for k, v in vars(self).items() if isinstance(v, Tensor)}
        each: list[dict[str, Any]] = [{name: parts[i] for name, parts in cut.items()} for i in range(count)]
        return [replace(self, **part) for part in each]


class Augmented:
    """Views of a training set, made on the device, where small ones lie. weights: (N,) of the samples' loss, None where
    all count the same."""

    def __init__(
        self,
        samples: Samples,
        augmented: bool,
        view_seed: int,
        device: torch.device,
        how: Augmentation = Augmentation(),  # noqa: B008
        weights: Tensor | None = None,
    ) -> None:
        self.samples, self.augmented, self.view_seed, self.device = samples, augmented, view_seed, device
        self.how = how
        self.weights = None if weights is None else weights.to(device)
        self.images, self.labels = samples.images, samples.labels.to(device)
        self.keys = key_hashes(samples.keys)
        self.hashes = self.keys.to(device)
        if isinstance(self.images, Tensor) and device.type != "cpu" and _fits(self.images, device):
            self.images = self.images.to(device)

    def views(self, rows: Tensor, batch_size: int, number: int) -> Iterator[Tensor]:
        """(batch_size, C, H, W) uint8 on the device: this view of the samples in these rows, in their order."""
        for images, _, _ in self._views([*rows.split(batch_size)], number):
            yield images

    def epoch(self, order: Tensor, batch_size: int, number: int, group: Group) -> Iterator[Batch]:
        """The batches of an epoch in this order, of which each process of the group has its part."""
        whole = order.split(batch_size)
        mine = [group.part(rows) for rows in whole]
        # Moved at once: a copy from unpinned memory waits for the device.
        on_device = torch.cat(mine).to(self.device).split([len(rows) for rows in mine])
        views = self._views(mine, number)
        for batch, rows, index in zip(whole, mine, on_device, strict=True):
            images, others, share = next(views)
            (labels, weights), (other_labels, other_weights) = self._of(index), self._of(others)
            assert labels is not None
            yield Batch(rows, index, images, labels, len(batch), other_labels, share, weights, other_weights)

    def _of(self, index: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Labels and weights of the samples at these places; None where there are none."""
        if index is None:
            return None, None
        return self.labels[index], None if self.weights is None else self.weights[index]

    def _views(self, parts: list[Tensor], number: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
        """This view of the samples, and of mixed ones the place of what each is mixed with and its own share."""
        view = View(self.view_seed, number)
        if not self.how.mixes:
            yield from ((images, None, None) for images in self._whole(parts, view))
            return
        others = [partners(self.keys[rows], view, len(self.keys)) for rows in parts]
        size = self.samples.info.image[1:]
        both = self._whole([torch.cat(pair) for pair in zip(parts, others, strict=True)], view)
        for rows, beside, images in zip(parts, others, both, strict=True):
            how: Mixing = mixing(self.keys[rows], view, self.how, *size)
            own, other = images.split(len(rows))
            yield mixed(own, other, how), to_device(beside, self.device), to_device(how.share, self.device)

    def _whole(self, parts: list[Tensor], view: View) -> Iterator[Tensor]:
        """This view of the samples, on the device, before any is mixed."""
        info, images = self.samples.info, self.images
        crops = random_crops(info, view) if self.augmented and isinstance(images, ImageFiles) else None
        moved = torch.cat(parts).to(self.device).split([len(part) for part in parts])
        if isinstance(images, ImageFiles):
            found = batches_of(images, [part.tolist() for part in parts], crops)
        else:
            held = moved if images.device.type == self.device.type else parts
            found = (images.index_select(0, places) for places in held)
        for rows, index, read in zip(parts, moved, found, strict=True):
            batch = to_device(read, self.device)
            if self.augmented and crops is None:
                batch = augment(batch, info.pad, info.flip, self.hashes[index], view)
            if self.how.trivial:
                batch = trivial_augment(batch, self.keys[rows], view)
            if self.how.erasing:
                batch = erase(batch, self.keys[rows], view, self.how.erasing, info.mean)
            yield batch


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    return images.nbytes <= ON_DEVICE * torch.cuda.mem_get_info(device)[1]


def order_of(count: int, seed: int, epoch: int) -> Tensor:
    """(count,) the order in which an epoch sees the training set: a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)
