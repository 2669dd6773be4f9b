"""Views: which augmented version of each sample is looked at. No torch.

A view is a function of (seed, key of the sample, number) alone. Neither the order of the samples, nor the batch they
come in, nor workers, processes, devices or the seed of a run change it, so that what a teacher says of a view can be
asked once and kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """seed: of the augmentation. number: which view, from 0."""

    seed: int
    number: int


@dataclass(frozen=True)
class Augmentation:
    """What is done to a view beyond shifts, crops and flips; nothing by default.

    trivial: TrivialAugment's wide space. erasing: probability that a box is erased. mixup, cutmix: alpha of the Beta
    distribution of an image's share when it is mixed with another one of the training set, 0 to leave it whole.
    """

    trivial: bool = False
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images are mixed."""
        return self.mixup > 0 or self.cutmix > 0


def key_hash(key: str) -> int:
    """A signed 64-bit number that follows from the key."""
    return int.from_bytes(hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).digest(), signed=True)
