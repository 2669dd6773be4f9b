"""Mixup and CutMix of a batch, with a partner and a share drawn for each sample by its key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fnkd_core.data.augment import draws, to_device
from fnkd_core.data.distort import in_boxes, uniform
from fnkd_core.data.views import Augmentation, View

PARTNER, SHARE, KIND, ROW, COLUMN = range(20, 25)
"""Streams of random numbers; `augment` and `distort` have those below."""
WHOLE = 2**16


@dataclass(frozen=True)
class Mixing:
    """How each image of a batch is mixed with its partner: blended, and then a box of it replaced.

    weights: (n,) int32 of the image itself where it is blended, of 65,536. boxes: (4, n) of the partner's pixels, as
    top, bottom, left, right. share: (n,) float32 of the image itself in both, which its label has too.
    """

    weights: Tensor
    boxes: np.ndarray
    share: Tensor


def partners(hashes: Tensor, view: View, count: int) -> Tensor:
    """(N,) the place of each sample's partner among `count` training samples. hashes: (N,) on the CPU."""
    return draws(hashes, view, PARTNER) % count


def mixing(hashes: Tensor, view: View, how: Augmentation, height: int, width: int) -> Mixing:
    """The mixing of the samples with these (N,) hashes, on the CPU.

    mixup (Zhang et al., ICLR 2018): a share ~ Beta(mixup, mixup). CutMix (Yun et al., ICCV 2019): a box of the area 1 -
    Beta(cutmix, cutmix), its middle anywhere, what lies outside cut off. Of both, a coin chooses for each sample.
    """
    from scipy.special import betaincinv  # a quarter of a second that a run without mixing need not wait for

    cut = np.full(len(hashes), not how.mixup)
    if how.mixup and how.cutmix:
        cut = uniform(hashes, view, KIND) < 0.5
    alpha = np.where(cut, how.cutmix, how.mixup)
    share = betaincinv(alpha, alpha, uniform(hashes, view, SHARE))
    weights = np.where(cut, WHOLE, np.round(share * WHOLE)).astype(np.int32)
    half = 0.5 * np.sqrt(1 - share) * cut
    ends = []
    for size, stream in ((height, ROW), (width, COLUMN)):
        middle, reach = np.floor(uniform(hashes, view, stream) * size), np.floor(half * size)
        ends += [np.clip(middle - reach, 0, size), np.clip(middle + reach, 0, size)]
    boxes = np.stack(ends)
    kept = 1 - (boxes[1] - boxes[0]) * (boxes[3] - boxes[2]) / (height * width)
    return Mixing(torch.from_numpy(weights), boxes, torch.from_numpy(np.where(cut, kept, weights / WHOLE)).float())


def mixed(images: Tensor, others: Tensor, how: Mixing) -> Tensor:
    """(n, C, H, W) uint8 the images mixed with the others, in whole numbers, so that every device rounds alike."""
    weights = to_device(how.weights, images.device)[:, None, None, None]
    blended = (images.int() * weights + others.int() * (WHOLE - weights) + WHOLE // 2) >> 16
    return torch.where(in_boxes(how.boxes, images), others, blended.to(torch.uint8))
