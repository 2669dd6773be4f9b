"""What a data set says of itself, and a split of it: in memory, or in files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from fnkd_core.data import decoding, pictures
from fnkd_core.data.crops import Box, RandomCrop, region
from fnkd_core.data.views import View, key_hash
from fnkd_core.errors import require

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

Unreadable = Literal["refuse", "skip"]


@dataclass(frozen=True)
class DatasetInfo:
    """A data set, described without loading it.

    classes: names in the order of the labels. label_space: which of label_spaces they are. image: (C, H, W).
    mean, std: per channel, in units where white is 1; for networks trained from scratch here. pad, flip:
    the augmentation that suits it. note: what a user should know. sizes: samples of each
    split. identities: of each split, empty where its files are not here yet.
    download: what would have to be fetched first, "170 MB", or empty where the data are here.
    resizable: the images lie in files of any size and are read at the size that is asked for. crop_pct: share of
    the shorter side that evaluation keeps, in the middle. interpolation: of that scaling. unreadable: whether
    broken images and empty classes are refused or left out. follow_links: whether links may lead out of the root.
    left_out: (kind, how many) of the files that are not read.

    `UserError` where a split is empty: nothing can be trained or measured on it.
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
    identities: tuple[str, ...] = ()
    download: str = ""
    resizable: bool = False
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    unreadable: Unreadable = "refuse"
    follow_links: bool = False
    left_out: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        empty = [split for split, size in zip(self.splits, self.sizes, strict=False) if size == 0]
        require(not empty, no_images(self.title, empty))

    def identity(self, split: str) -> str:
        """What the split is: it changes with its label space, classes and files. Empty where they are not here."""
        return self.identities[self.splits.index(split)] if self.identities else ""

    def size(self, split: str) -> int:
        """How many samples the split has."""
        return self.sizes[self.splits.index(split)]

    @property
    def chosen_on(self) -> str:
        """The split to measure on where something is decided: never the one for testing."""
        return "validation" if "validation" in self.splits else "train"

    def named(self, name: str) -> DatasetInfo:
        """The same data under another name."""
        return dataclasses.replace(self, name=name, title=name)


def no_images(title: str, splits: Sequence[str]) -> str:
    """The sentence on empty splits, which no data set may have."""
    what = " and its ".join(splits)
    return f"{title} has 0 images in its {what} split; add some, mend those that were left out, or take the split away."


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
class RandomCrops:
    """Training's view of a large image: a random part, a function of the view and the sample's key alone."""

    view: View
    least_area: float
    flip: bool


def random_crops(info: DatasetInfo, view: View) -> RandomCrops | None:
    """How training crops this data set's images; None where it shifts small ones instead (see `augment`)."""
    size = min(info.image[1:])
    if not info.resizable or size < decoding.LARGE:
        return None
    return RandomCrops(view, 0.08 if size >= 160 else 0.35, info.flip)


Shown = Callable[[list[bytes]], object]
"""Takes thumbnails, in the order of the images; see `fnkd_core.data.pictures`."""


class Reader(Protocol):
    """Who decodes images in files."""

    def batches(
        self,
        images: ImageFiles,
        whole: Sequence[Sequence[int]],
        crops: RandomCrops | None = None,
        shown: Shown | None = None,
    ) -> Iterator[Tensor]:
        """(n, C, H, W) uint8 of the images at each of these lists of places, list by list. shown: is given the
        thumbnails of the files before the images that were read of them."""


@dataclass(frozen=True)
class ImageFiles:
    """Images in files, to be taken for an (N, C, size, size) uint8 tensor that is decoded when it is asked for.

    index: which of the listing's images these are. reader: who decodes them in batches; None where that is for whoever
    asks to arrange. Indexing with a slice or a tensor selects without decoding.
    """

    listing: Listing
    index: Tensor
    channels: int
    size: int
    crop_pct: float
    interpolation: str
    reader: Reader | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) of all images."""
        return len(self), self.channels, self.size, self.size

    def __getitem__(self, chosen: slice | Tensor) -> ImageFiles:
        return dataclasses.replace(self, index=self.index[chosen])

    def read(self, i: int, crops: RandomCrops | None = None) -> np.ndarray:
        """(C, size, size) uint8 image i, as evaluation sees it or randomly cropped."""
        sample = int(self.index[i])
        source, box = (
            self.listing.sources[sample],
            self.listing.boxes[sample] if self.listing.boxes is not None else None,
        )
        if crops is not None:
            crop = RandomCrop(self.size, crops.least_area, crops.flip, self._seed(i, crops.view), box)
            with decoding.reading(source, self.channels, crop.choose) as image:
                return decoding.pixels(crop.of(image))
        with decoding.reading(source, self.channels) as image:
            return self._evaluated(image, box)

    def read_shown(self, i: int) -> tuple[np.ndarray, bytes]:
        """(C, size, size) uint8 image i, as evaluation sees it, and the thumbnail of its file: decoded once."""
        sample = int(self.index[i])
        source = self.listing.sources[sample]
        box = self.listing.boxes[sample] if self.listing.boxes is not None else None
        with decoding.reading(source, self.channels) as image:
            return self._evaluated(image, box), pictures.thumbnail(source, image)

    def _evaluated(self, image: Image.Image, box: Box | None) -> np.ndarray:
        used = image.crop(region(image.size, box)) if box is not None else image
        return decoding.pixels(decoding.centre(used, self.size, self.crop_pct, self.interpolation))

    def _seed(self, i: int, view: View) -> tuple[int, int, int]:
        return view.seed, view.number, key_hash(self.key(i)) & (2**64 - 1)

    def try_read(self, i: int, crops: RandomCrops | None = None) -> np.ndarray | str:
        """The same, or why not."""
        try:
            return self.read(i, crops)
        except Exception as error:
            return decoding.reason(error)

    def try_read_shown(self, i: int) -> tuple[np.ndarray, bytes] | str:
        """The same with its thumbnail, or why not."""
        try:
            return self.read_shown(i)
        except Exception as error:
            return decoding.reason(error)

    def key(self, i: int) -> str:
        """The key of image i."""
        return self.listing.keys[int(self.index[i])]


@dataclass(frozen=True)
class Samples:
    """A split: images (N, C, H, W) uint8 in memory or in files, labels (N,) int64, keys: a stable name of each."""

    info: DatasetInfo
    split: str
    images: Tensor | ImageFiles
    labels: Tensor
    keys: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    def subset(self, index: Tensor) -> Samples:
        """The samples at these places, in this order."""
        keys = [self.keys[i] for i in index.tolist()]
        images = self.images[index] if isinstance(self.images, ImageFiles) else self.images.index_select(0, index)
        return dataclasses.replace(self, images=images, labels=self.labels[index], keys=keys)
