"""A random part of an image, of a JPEG decoded no larger than it is needed. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

Box = tuple[float, float, float, float]
REDUCTIONS = (8, 4, 2)
"""By how much a JPEG can be decoded smaller."""


@dataclass(frozen=True)
class Part:
    """left, top, width, height: in pixels, fractions of them too. mirrored: left and right."""

    left: float
    top: float
    width: float
    height: float
    mirrored: bool


def random_part(width: int, height: int, least_area: float, flip: bool, seed: Sequence[int]) -> Part:
    """Its area is uniform from `least_area` to 1 of the image's, its shape from 3:4 to 4:3, mirrored half the time if
    `flip`.

    Everything follows from the seed. After ten parts that do not fit it is the largest middle part of an allowed shape
    (Szegedy et al., "Going Deeper with Convolutions", 2015).
    """
    generator = np.random.default_rng(list(seed))
    mirrored = bool(flip and generator.random() < 0.5)
    for _ in range(10):
        area = width * height * generator.uniform(least_area, 1)
        shape = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = np.sqrt(area * shape), np.sqrt(area / shape)
        if w <= width and h <= height:
            return Part(generator.uniform(0, width - w), generator.uniform(0, height - h), w, h, mirrored)
    w, h = min(width, height * 4 / 3), min(height, width * 4 / 3)
    return Part((width - w) / 2, (height - h) / 2, w, h, mirrored)


def region(size: tuple[int, int], box: Box | None) -> tuple[int, int, int, int]:
    """The whole pixels of an image of (width, height) that a box holds. `ValueError` where it is outside."""
    if box is None:
        return 0, 0, *size
    left, top, right, bottom = box
    whole = max(0, left), max(0, top), min(size[0], right), min(size[1], bottom)
    if whole[2] - whole[0] < 1 or whole[3] - whole[1] < 1:
        raise ValueError(f"its box {left:g}, {top:g}, {right:g}, {bottom:g} is outside it")
    return round(whole[0]), round(whole[1]), round(whole[2]), round(whole[3])


class RandomCrop:
    """(size, size) a random part of one image, scaled; see `random_part`.

    box: the part of the image that is used. The part is chosen in pixels of the whole image, whether that is then
    decoded smaller or not.
    """

    def __init__(self, size: int, least_area: float, flip: bool, seed: Sequence[int], box: Box | None = None) -> None:
        self.size, self.least_area, self.flip, self.seed, self.box = size, least_area, flip, seed, box
        self._chosen = False

    def choose(self, size: tuple[int, int]) -> int:
        """By how much an image of (width, height) may be decoded smaller and the part still has the pixels wanted."""
        self._chosen, self.region = True, region(size, self.box)
        left, top, right, bottom = self.region
        self.part = random_part(right - left, bottom - top, self.least_area, self.flip, self.seed)
        least = min(self.part.width, self.part.height)
        self.reduction = next((times for times in REDUCTIONS if least >= times * self.size), 1)
        return self.reduction

    def of(self, image: Image.Image) -> Image.Image:
        """Of the image upright, decoded as much smaller as `choose` has said, or whole."""
        if not self._chosen:
            self.choose(image.size)
            self.reduction = 1
        times, part = self.reduction, self.part
        if self.box is not None:
            image = image.crop(tuple(round(x / times) for x in self.region))  # type: ignore[arg-type]
        right, bottom = (part.left + part.width) / times, (part.top + part.height) / times
        box = (part.left / times, part.top / times, min(right, image.width), min(bottom, image.height))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        return ImageOps.mirror(image) if part.mirrored else image
