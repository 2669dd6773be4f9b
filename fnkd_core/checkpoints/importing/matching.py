"""Which output of a network stands for which class: by name, and by what it says of labelled images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnkd_core.data.listing import same_name

CLEAR = 0.2
"""Matching has to raise the accuracy by this much before the outputs count as being in another order."""
DEAD = 0.01
"""An output that is never given this probability is dead."""


@dataclass(frozen=True)
class Matching:
    """order: for each class the output that stands for it, (C,). as_is, matched: accuracy before and after."""

    order: NDArray[np.int64]
    as_is: float
    matched: float

    @property
    def moved(self) -> int:
        """How many classes have another output than the one of their own number."""
        return int((self.order != np.arange(len(self.order))).sum())


def match_by_images(
    predictions: NDArray[np.int64], labels: NDArray[np.int64], num_outputs: int, num_classes: int
) -> Matching:
    """The order of outputs under which most labelled images are right.

    predictions, labels: (N,); num_outputs >= num_classes. The order stays as it is unless another one is clearly
    better: for all classes together, or for a few that plainly stand for each other.
    """
    counts = np.zeros((num_classes, num_outputs))
    np.add.at(counts, (labels, predictions), 1)
    own = np.arange(num_classes)
    # Where counts tie, the output of the class's own number is preferred.
    nudged = counts.copy()
    nudged[own, own] += 1e-3
    best = nudged.argmax(1)
    if not np.array_equal(best, own):
        from scipy.optimize import linear_sum_assignment  # a quarter of a second that most networks need not wait for

        best = linear_sum_assignment(nudged, maximize=True)[1]
    as_is, matched = counts[own, own].sum() / len(labels), counts[own, best].sum() / len(labels)
    if matched >= as_is + CLEAR:
        return Matching(best, float(as_is), float(matched))
    sizes = counts.sum(1)
    swapped = (best != own) & (sizes >= 5) & (counts[own, best] >= 0.5 * sizes) & (counts[own, own] <= 0.1 * sizes)
    if set(best[swapped]) == set(own[swapped]):
        order = np.where(swapped, best, own)
        return Matching(order, float(as_is), float(counts[own, order].sum() / len(labels)))
    return Matching(own, float(as_is), float(as_is))


def match_by_name(outputs: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64] | None:
    """(C,) for each class the output of the same name; None where a class has none, or names are given twice.

    Case, spaces, underscores, hyphens and how Unicode writes an accent do not count.
    """
    place = {_plain(name): i for i, name in enumerate(outputs)}
    wanted = [_plain(name) for name in classes]
    if len(place) < len(outputs) or len(set(wanted)) < len(wanted) or not set(wanted) <= set(place):
        return None
    return np.array([place[name] for name in wanted])


def dead_outputs(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """The outputs that no image gives `DEAD` or more. probabilities: (N, K)."""
    return np.flatnonzero(probabilities.max(0) < DEAD)


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", same_name(name)).strip().casefold()
