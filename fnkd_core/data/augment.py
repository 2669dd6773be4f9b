"""Augmentation of a batch, with parameters drawn for each sample."""

from __future__ import annotations

import torch
from torch import Tensor


def augment(images: Tensor, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """(N, C, H, W) the images shifted by up to `pad` pixels (zeros come in), half of them mirrored if `flip`.

    One gather for the batch; every sample has its own shift and coin. The dtype stays.
    """
    n, _, height, width = images.shape
    if pad:
        padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
        top, left = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    else:
        padded, top, left = images, torch.zeros(n, 1, dtype=torch.long), torch.zeros(n, 1, dtype=torch.long)
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    if flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    elif not pad:
        return images
    sample = torch.arange(n)[:, None, None]
    # Indices around the channel axis put it last; the view puts it back.
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
