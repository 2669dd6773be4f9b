"""Augmentation of a batch, with parameters drawn for each sample by its key."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fnkd_core.data.views import View, key_hash

_STEP, _MIX = -0x61C8864680B583EB, (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
"""Constants of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), as signed numbers."""


def key_hashes(keys: Iterable[str]) -> Tensor:
    """(N,) int64 `key_hash` of each."""
    return torch.tensor([key_hash(key) for key in keys], dtype=torch.int64)


def draws(hashes: Tensor, view: View, stream: int) -> Tensor:
    """(N,) int64 in [0, 2^31): a random number for each sample. Streams are independent of each other.

    hashes: (N,) int64 of the samples' keys. The same bits on every device.
    """
    salt = key_hash(f"{view.seed} {view.number} {stream}")
    return (_mixed(_mixed(hashes) + salt) >> 33) & 0x7FFFFFFF


def _mixed(z: Tensor) -> Tensor:
    """(N,) int64 splitmix64's output; integers of torch come round as C's unsigned ones do."""
    z = z + _STEP
    z = (z ^ _shifted(z, 30)) * _MIX[0]
    z = (z ^ _shifted(z, 27)) * _MIX[1]
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The tensor there; from pinned memory, so that the copy runs beside the computation.

    Shape and dtype stay.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def augment(images: Tensor, pad: int, flip: bool, hashes: Tensor, view: View) -> Tensor:
    """(N, C, H, W) the images shifted by up to `pad` pixels (zeros come in), half of them mirrored if `flip`.

    hashes: (N,) of the samples' keys, on the images' device. Every sample has its own shift and coin. One gather for
    the batch; the dtype stays.
    """
    n, _, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(n, height)
    columns = torch.arange(width, device=device).expand(n, width)
    if pad:
        images = torch.nn.functional.pad(images, (pad, pad, pad, pad))
        rows = rows + (draws(hashes, view, 0) % (2 * pad + 1))[:, None]
        columns = columns + (draws(hashes, view, 1) % (2 * pad + 1))[:, None]
    if flip:
        mirrored = (draws(hashes, view, 2) % 2 == 0)[:, None]
        columns = torch.where(mirrored, columns.flip(1), columns)
    elif not pad:
        return images
    sample = torch.arange(n, device=device)[:, None, None]
    # Indices around the channel axis put it last; the view puts it back.
    return images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
