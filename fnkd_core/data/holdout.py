"""Which images are held out: to test on, in a folder without splits, and to choose by, where no data are set aside."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TEST_SHARE = 0.2
"""Of each class of a folder without splits."""

SPLIT_NAMES = {
    "train": ("train", "training", "trainset", "trainingset"),
    "validation": (
        *("val", "valid", "validation", "dev", "eval", "evaluation"),
        *("valset", "validset", "validationset", "devset", "evalset", "evaluationset"),
    ),
    "test": ("test", "testing", "testset", "testingset"),
}
"""What people call the splits; of two for the same, the first that is here counts. Case, spaces, _ and - do not."""


def split_called(name: str) -> str | None:
    """Which split people mean by a name, if any."""
    return next((split for split, names in SPLIT_NAMES.items() if _plain(name) in names), None)


def preference(name: str) -> tuple[int, bool, str]:
    """What sorts the names that people give one split, the one that counts first."""
    known = SPLIT_NAMES[split_called(name) or ""]
    return known.index(_plain(name)), name not in known, name


def serving(names: Collection[str]) -> dict[str, str]:
    """Split -> which of the parts that data come in serves as it; empty where there is none to train or to test on.

    A part to choose by is for testing where no `test` is.
    """
    called = {split: sorted((n for n in names if split_called(n) == split), key=preference) for split in SPLIT_NAMES}
    if not called["test"]:
        called["validation"], called["test"] = [], called["validation"]
    if not called["train"] or not called["test"]:
        return {}
    return {split: found[0] for split, found in called.items() if found}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


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
    import numpy as np
    import torch

    places = np.array([place(key, "validation") for key in keys])
    classes = labels.numpy()
    # By class, and in each by place; equal ones as they come.
    order = np.lexsort((places, classes))
    counts = np.unique(classes, return_counts=True)[1].tolist()
    chosen, first = [], 0
    for count in counts:
        chosen.append(order[first : first + min(max(1, round(share * count)), count - 1)])
        first += count
    return torch.from_numpy(np.sort(np.concatenate(chosen)))
