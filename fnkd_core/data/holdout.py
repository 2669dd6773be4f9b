"""Which images are held out: to test on, in a folder without splits, and to choose by, where no data are set aside."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TEST_SHARE = 0.2
"""Of each class of a folder without splits."""


def serving(names: Collection[str], validation: Sequence[str]) -> dict[str, str]:
    """Split -> which of the parts that data come in serves as it; empty where there is none to train or to test on.

    validation: what people call the part to choose by; the first that is there counts. It is for testing where no
    `test` is.
    """
    to_choose_by = next((name for name in validation if name in names), None)
    test = "test" if "test" in names else to_choose_by
    if "train" not in names or test is None:
        return {}
    chosen = {"train": "train"} | ({"validation": to_choose_by} if to_choose_by and to_choose_by != test else {})
    return chosen | {"test": test}


def place(key: str, purpose: str) -> float:
    """A number in [0, 1) that follows from the key and the purpose alone, evenly spread over keys."""
    data = f"{purpose}\0{key}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.sha256(data).digest()[:8]) / 2**64


def to_test(keys: Sequence[str]) -> frozenset[str]:
    """The keys of one class that are for testing: those whose own place lies below the share.

    An image stays where it is however many are added. Only where a class would have none to test on, the first by
    place is taken until it has; and in a class of a few where none would be left to train on, the last by place is not.
    """
    places = {key: place(key, "test") for key in keys}
    below = frozenset(key for key, x in places.items() if x < TEST_SHARE)
    if not below and len(keys) > 1:
        return frozenset({min(places, key=places.__getitem__)})
    return below if len(below) < len(keys) else below - {max(places, key=places.__getitem__)}


def to_validate(keys: Sequence[str], labels: Tensor, share: float) -> Tensor:
    """(M,) indices of the training samples that are held out: this share of each class, the first by place.

    At least one of each class that has two, never a whole class. A sample that is added changes the part of at most one
    other. keys: of the samples; labels: (N,).
    """
    import torch

    places = torch.tensor([place(key, "validation") for key in keys], dtype=torch.float64)
    chosen = []
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        count = min(max(1, round(share * len(own))), len(own) - 1)
        chosen.append(own[places[own].argsort(stable=True)[:count]])
    return torch.cat(chosen).sort().values
