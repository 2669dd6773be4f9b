"""How a model's features lie by class: norms of the class means, angles between them, and how far they have collapsed.

NC1 to NC3: Papyan, Han, Donoho, "Prevalence of neural collapse during the terminal phase of deep learning training",
PNAS 2020. Features are read a block at a time. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fnkd_core.stores.arrays import Rows
    from fnkd_core.stores.store import Store

BLOCK = 4096
"""Samples whose features are in memory at a time."""
STRIPE = 256
"""Where a part of the samples is enough, it is made of stripes of so many neighbours."""
MOST_PRODUCTS = 1e11
"""Multiplications that NC1 may cost: some ten seconds of one core. Of more, a seeded part of the samples is used."""
NOTHING = 1e-6
"""A direction in which the class means spread less than this, relative to the widest, is rounding."""


@dataclass(frozen=True)
class Geometry:
    """Class means of the features, of the C classes that occur, in float64, and what follows from them.

    labels: (C,) the classes' numbers. counts: (C,) samples of each. means: (C, D). norms: (C,) mean ||f|| of each.
    nc1: tr(S_W pinv(S_B)) / C, or NaN of fewer than two classes. num_samples: those that NC1 was computed from.
    """

    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    norms: NDArray[np.float64]
    nc1: float
    num_samples: int

    @cached_property
    def centred(self) -> NDArray[np.float64]:
        """(C, D) class means less their own mean, in which each class counts alike."""
        return np.asarray(self.means - self.means.mean(axis=0))

    def cosines(self, centred: bool) -> NDArray[np.float64]:
        """(C, C) cosines of the angles between class means; 0 with a mean that is nothing."""
        return _cosines(self.centred if centred else self.means)

    def angles(self, centred: bool) -> NDArray[np.float64]:
        """(C, C) angles between class means, in degrees; 0 of a class with itself."""
        found = np.degrees(np.arccos(np.clip(self.cosines(centred), -1, 1)))
        np.fill_diagonal(found, 0)
        return np.asarray(found)

    @property
    def simplex_angle(self) -> float:
        """The angle between any two centred means that lie as far apart as C can, in degrees; NaN of one class."""
        c = len(self.labels)
        return math.degrees(math.acos(-1 / (c - 1))) if c > 1 else math.nan

    @property
    def mean_angle(self) -> float:
        """The mean angle between two class means as they lie from the origin, in degrees; NaN of one class."""
        pairs = self.angles(False)[np.triu_indices(len(self.labels), 1)]
        return float(pairs.mean()) if len(pairs) else math.nan

    @property
    def equal_norms(self) -> float:
        """NC2: coefficient of variation of the centred means' norms; 0 where all are as long."""
        sizes = np.linalg.norm(self.centred, axis=1)
        return float(sizes.std() / sizes.mean()) if sizes.mean() > 0 else math.nan

    @property
    def equal_angles(self) -> tuple[float, float]:
        """NC2: sd of the cosines between centred means, and mean distance to -1 / (C - 1); both 0 in a simplex."""
        c = len(self.labels)
        if c < 2:
            return math.nan, math.nan
        pairs = self.cosines(True)[np.triu_indices(c, 1)]
        return float(pairs.std()), float(np.abs(pairs + 1 / (c - 1)).mean())

    def alignment(self, weights: NDArray[np.floating]) -> tuple[float, float]:
        """NC3: mean cosine of head weights with centred means, and ||W/||W|| - M/||M||||^2; 1 and 0 as they collapse.

        weights: (K, D) of the head, of all classes.
        """
        w, m = np.asarray(weights, np.float64)[self.labels], self.centred
        sizes = np.linalg.norm(w, axis=1) * np.linalg.norm(m, axis=1)
        cosines = np.divide((w * m).sum(axis=1), sizes, out=np.zeros(len(w)), where=sizes > 0)
        whole = np.linalg.norm(w) * np.linalg.norm(m)
        return float(cosines.mean()), float(2 - 2 * (w * m).sum() / whole) if whole > 0 else math.nan


def geometry(features: Rows | NDArray[np.floating], labels: NDArray[np.integer], num_classes: int) -> Geometry:
    """The geometry of features (N, D), of which blocks are read, and of their labels (N,), below `num_classes`."""
    from scipy.sparse import csr_array

    count, width = features.shape
    sums, norms = np.zeros((num_classes, width)), np.zeros(num_classes)
    for rows in _all(count):
        block, own = np.asarray(features[rows], np.float64), labels[rows]
        belongs = csr_array((np.ones(len(own)), (own, np.arange(len(own)))), shape=(num_classes, len(own)))
        sums += belongs @ block
        norms += np.bincount(own, np.linalg.norm(block, axis=1), num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    there = np.flatnonzero(counts)
    found = Geometry(there, counts[there], sums[there] / counts[there, None], norms[there] / counts[there], math.nan, 0)
    nc1, used = _within_over_between(features, labels, num_classes, found)
    return Geometry(found.labels, found.counts, found.means, found.norms, nc1, used)


def _within_over_between(
    features: Rows | NDArray[np.floating], labels: NDArray[np.integer], num_classes: int, found: Geometry
) -> tuple[float, int]:
    """tr(S_W pinv(S_B)) / C, and of how many samples: S_W over the samples, S_B over the classes, each counting alike.

    With S_B = U L U^T this is the mean over the samples of |L^(-1/2) U^T (f - mean of its class)|^2, which needs
    neither of the (D, D) matrices.
    """
    _, sizes, directions = np.linalg.svd(found.centred, full_matrices=False)
    kept = sizes > NOTHING * sizes[0]
    if not kept.any():
        return math.nan, 0
    c = len(found.labels)
    onto = directions[kept].T * (math.sqrt(c) / sizes[kept])
    place = np.zeros(num_classes, np.intp)
    place[found.labels] = np.arange(c)
    total, used = 0.0, 0
    for rows in _part(len(labels), MOST_PRODUCTS / onto.size):
        block = np.concatenate([features[one] for one in rows]).astype(np.float64)
        own = np.concatenate([labels[one] for one in rows])
        projected = (block - found.means[place[own]]) @ onto
        total, used = total + float((projected**2).sum()), used + len(own)
    return total / used / c, used


def _all(count: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK))


def _part(count: int, most: float) -> Iterator[list[slice]]:
    """Blocks of rows: all of them, or about as many as `most`, in stripes drawn from all over."""
    if count <= most:
        yield from ([rows] for rows in _all(count))
        return
    stripes = -(-count // STRIPE)
    drawn = np.random.default_rng(0).choice(stripes, max(1, int(most // STRIPE)), replace=False)
    for first in range(0, len(drawn), BLOCK // STRIPE):
        starts = np.sort(drawn[first : first + BLOCK // STRIPE]) * STRIPE
        yield [slice(int(start), min(int(start) + STRIPE, count)) for start in starts]


def _cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, sizes, out=np.zeros_like(rows), where=sizes > 0)
    return np.asarray(unit @ unit.T)


def nearest_classes(found: Geometry, classes: Sequence[str], centred: bool) -> pd.DataFrame:
    """A row per class that occurs, the closest pairs first: class, mean norms, the two nearest and their angles."""
    angles = found.angles(centred)
    np.fill_diagonal(angles, np.inf)
    order = np.argsort(angles, axis=1)
    rows = np.arange(len(angles))
    names = np.array([classes[label] for label in found.labels], dtype=object)
    table = pd.DataFrame({"class": names})
    for i, title in enumerate(("nearest", "second")[: len(names) - 1]):
        table[title], table[f"angle {title}"] = names[order[:, i]], angles[rows, order[:, i]]
    table["norm of mean"], table["mean norm"] = np.linalg.norm(found.means, axis=1), found.norms
    return table.sort_values("angle nearest") if "angle nearest" in table else table


def by_likeness(angles: NDArray[np.float64]) -> NDArray[np.intp]:
    """(C,) an order of the classes that puts those at small angles side by side: the leaves of average linkage."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(angles) < 3:
        return np.arange(len(angles))
    return np.asarray(
        leaves_list(linkage(squareform(angles, checks=False), "average", optimal_ordering=len(angles) <= 200))
    )


def head_weights(checkpoint: Path, store: Store) -> NDArray[np.float64] | None:
    """(K, D) of the linear head in a checkpoint's file, or None where no matrix there makes the store's logits.

    Found by what it does, whatever it is called: W f + b, or the cosines times a scale, are the logits of some samples
    up to the rounding of the stored features.
    """
    from safetensors import SafetensorError, safe_open

    shape = (store.manifest["num_classes"], store.manifest["num_features"])
    features, logits = store.features[:64].astype(np.float64), store.logits[:64].astype(np.float64)
    bias = 0.0 if store.bias is None else store.bias.astype(np.float64)
    try:
        with safe_open(checkpoint, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  # it is no mapping
                if tuple(file.get_slice(name).get_shape()) != shape:
                    continue
                weights = np.asarray(file.get_tensor(name), np.float64)
                if _makes(logits, features @ weights.T + bias) or _makes_cosines(logits, features, weights):
                    return weights
    except (SafetensorError, OSError, TypeError):  # the last of a kind of numbers that NumPy has not
        return None
    return None


def _makes(logits: NDArray[np.float64], found: NDArray[np.float64]) -> bool:
    return bool(np.abs(found - logits).max() <= 5e-3 * max(float(np.abs(logits).max()), 1e-12))


def _makes_cosines(logits: NDArray[np.float64], features: NDArray[np.float64], weights: NDArray[np.float64]) -> bool:
    """Whether the logits are one multiple of the cosines."""
    sizes = np.linalg.norm(features, axis=1)[:, None] * np.linalg.norm(weights, axis=1)
    cosines = np.divide(features @ weights.T, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    scale = float((cosines * logits).sum() / max(float((cosines**2).sum()), 1e-12))
    return scale > 0 and _makes(logits, scale * cosines)
