"""The samples whose features are nearest to those of one, found by looking at all of them. No torch."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fnkd_core.errors import unknown
from fnkd_core.stores.store import Store

Metric = Literal["cosine", "euclidean"]
BLOCK_NUMBERS = 2**22
"""So many numbers are looked at together: 16 MB in float32."""


def nearest(
    store: Store, sample: int, count: int, metric: Metric = "cosine"
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `count` samples nearest to one by their features, itself left out, and their distances, nearest first.

    cosine: 1 - cos of the angle, so that norms do not count; a feature of zeros is at distance 1 from any. euclidean:
    the length of the difference. Exact: distances of the stored features in float32, those of one distance by their
    numbers. `UserError` for another metric.
    (count,) each, fewer where there are fewer.
    """
    if metric not in get_args(Metric):
        raise unknown("distance", metric, get_args(Metric))
    features = store.features
    rows, width = features.shape
    own = features[sample].astype(np.float32)
    distances = np.empty(rows, np.float32)
    step = max(1, BLOCK_NUMBERS // width)
    for first in range(0, rows, step):
        part = slice(first, min(first + step, rows))
        distances[part] = _distances(features[part].astype(np.float32), own, metric)
    distances[sample] = np.inf
    count = min(count, rows - 1)
    # All that are as near as the last one, then the first of these: a tie is not cut as chance has it.
    last = np.partition(distances, count - 1)[count - 1] if count else -np.inf
    near = np.flatnonzero(distances <= last)
    chosen = near[np.argsort(distances[near], kind="stable")][:count]
    return chosen, distances[chosen]


def closest_pairs(store: Store, ids: NDArray[np.integer], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(P, 2) the `count` pairs of these samples that are nearest by cosine, and their (P,) distances, nearest first.

    Exact: each is compared with every other. ids: (M,), which takes M * M * D multiplications.
    """
    rows = _directions(store, ids)
    found, distances = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    step = max(1, BLOCK_NUMBERS // max(len(rows), 1))
    for first in range(0, len(rows), step):
        block = 1 - np.minimum(rows[first : first + step] @ rows.T, 1)
        a, b = np.nonzero(np.arange(len(rows))[None, :] > np.arange(first, first + len(block))[:, None])
        values = block[a, b]
        if len(values) > count:
            near = np.argpartition(values, count - 1)[:count]
            a, b, values = a[near], b[near], values[near]
        found = np.concatenate([found, np.stack([a + first, b], 1)])
        distances = np.concatenate([distances, values])
        order = np.lexsort((found[:, 1], found[:, 0], distances))[:count]
        found, distances = found[order], distances[order]
    return np.asarray(ids, np.int64)[found], distances


def central(store: Store, ids: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """The `count` of these samples whose features are nearest, by their angle, to the mean of their directions.

    (count,), fewer where there are fewer.
    """
    rows = _directions(store, ids)
    return np.asarray(ids, np.int64)[np.argsort(-(rows @ rows.mean(axis=0)), kind="stable")[:count]]


def _directions(store: Store, ids: NDArray[np.integer]) -> NDArray[np.float32]:
    """(M, D) the features of these samples at length 1; those of zeros stay zeros."""
    rows = store.features[np.asarray(ids)].astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def num_looked_at(store: Store) -> int:
    """How many numbers `nearest` looks at."""
    rows, width = store.features.shape
    return int(rows * width)


def _distances(block: NDArray[np.float32], own: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    if metric == "euclidean":
        difference = block - own
        return np.sqrt(np.einsum("nd,nd->n", difference, difference))
    lengths = np.sqrt(np.einsum("nd,nd->n", block, block)) * np.sqrt(own @ own)
    cosine = np.divide(block @ own, lengths, out=np.zeros(len(block), np.float32), where=lengths > 0)
    return np.asarray(1 - np.minimum(cosine, 1), np.float32)
