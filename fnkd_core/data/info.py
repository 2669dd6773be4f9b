"""What a data set says of itself, and a split of it in memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DatasetInfo:
    """A data set, described without loading it.

    classes: names in the order of the labels. label_space: which of label_spaces they are. image: (C, H, W).
    mean, std: per channel, in units where white is 1; for networks trained from scratch here. pad, flip:
    the augmentation that suits it. note: what a user should know. sizes: samples of each
    split. fingerprint: changes with the files.
    download: what would have to be fetched first, "170 MB", or empty where the data are here.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    label_space: str
    label_spaces: tuple[str, ...]
    splits: tuple[str, ...]
    image: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int
    flip: bool
    note: str = ""
    root: str | None = None
    sizes: tuple[int, ...] = ()
    fingerprint: str = ""
    download: str = ""

    def named(self, name: str) -> DatasetInfo:
        """The same data under another name."""
        return dataclasses.replace(self, name=name, title=name)


@dataclass(frozen=True)
class Samples:
    """A split: images (N, C, H, W) uint8, labels (N,) int64, keys: a stable name of each sample."""

    info: DatasetInfo
    split: str
    images: Tensor
    labels: Tensor
    keys: list[str]
