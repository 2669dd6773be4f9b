"""What a data set says of itself, and a split of it: in memory, or in files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from fnkd_core.data.pictures import ImageFiles

Unreadable = Literal["refuse", "skip"]


@dataclass(frozen=True)
class DatasetInfo:
    """A data set, described without loading it.

    classes: names in the order of the labels. label_space: which of label_spaces they are. image: (C, H, W).
    mean, std: per channel, in units where white is 1; for networks trained from scratch here. pad, flip:
    the augmentation that suits it. note: what a user should know. sizes: samples of each
    split. fingerprint: changes with the files.
    download: what would have to be fetched first, "170 MB", or empty where the data are here.
    resizable: the images lie in files of any size and are read at the size that is asked for. crop_pct: share of
    the shorter side that evaluation keeps, in the middle. interpolation: of that scaling. unreadable: whether
    broken images and empty classes are refused or left out.
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
    resizable: bool = False
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    unreadable: Unreadable = "refuse"

    def named(self, name: str) -> DatasetInfo:
        """The same data under another name."""
        return dataclasses.replace(self, name=name, title=name)


@dataclass(frozen=True)
class Listing:
    """The images of a split that lie in files.

    sources: a path each, or the bytes of an image file. labels: of each. keys: a stable name of each. boxes: the
    part of each image that is used, as (left, top, right, bottom) in pixels; None for the whole.
    """

    sources: Sequence[str | bytes]
    labels: Sequence[int]
    keys: Sequence[str]
    boxes: Sequence[tuple[float, float, float, float]] | None = None


@dataclass(frozen=True)
class Samples:
    """A split: images (N, C, H, W) uint8 in memory or in files, labels (N,) int64, keys: a stable name of each."""

    info: DatasetInfo
    split: str
    images: Tensor | ImageFiles
    labels: Tensor
    keys: list[str]
