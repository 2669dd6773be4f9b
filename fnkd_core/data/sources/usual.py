"""The usual normalisation of data that are known by their classes, wherever their files lie. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fnkd_core.data.sources import cifar, published

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, in units where white is 1."""
_BIRD = re.compile(r"\d{3}\.[A-Z]\S+")
"""A folder of CUB-200-2011: 001.Black_footed_Albatross."""


def normalisation(classes: Sequence[str], channels: int) -> Normalisation:
    """The usual one of CIFAR-10's, CIFAR-100's and CUB's classes, in colour; else that of `others`."""
    names = {name.lower().replace(" ", "_") for name in classes}
    if channels == 3:
        for known, usual in ((cifar.CIFAR10, cifar.NORMAL_10), (cifar.FINE, cifar.NORMAL_100)):
            if names == set(known):
                return usual
        if len(classes) == 200 and all(_BIRD.fullmatch(name) for name in classes):
            return published.MEAN, published.STD
    return others(channels)


def others(channels: int) -> Normalisation:
    """That of data that are not known: .5 and .25 in each channel."""
    return (0.5,) * channels, (0.25,) * channels
