"""What targets say of each class, on average over its samples: the "dark knowledge" as a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.analysis.targets import Source, Values, part_of

Matrix = NDArray[np.float64]


def class_means(source: Source, rule: str, values: Values, rows: NDArray[np.int64] | None = None) -> Matrix:
    """(K, K) mean target of the samples of each label, a row a label; NaN where a label has no sample.

    rows: which samples, None for all.
    """
    labels = source.store.samples["label"].to_numpy()
    sums, counts = np.zeros((source.num_classes, source.num_classes)), np.zeros(source.num_classes)
    for _, block in source.blocks(rows):
        q, of = source.targets(rule, values, block), labels[block]
        order = np.argsort(of, kind="stable")
        found, first = np.unique(of[order], return_index=True)
        sums[found] += np.add.reduceat(q[order], first, axis=0)
        counts += np.bincount(of, minlength=source.num_classes)
    with np.errstate(invalid="ignore"):
        return sums / np.where(counts, counts, np.nan)[:, None]


def class_mean(source: Source, rule: str, values: Values, label: int) -> NDArray[np.float64]:
    """(K,) mean target of all samples of a label; NaN where it has none."""
    rows = np.flatnonzero(source.store.samples["label"].to_numpy() == label)
    part = part_of(len(rows), source.num_classes)
    found: NDArray[np.float64] = class_means(source, rule, values, rows if part is None else rows[part])[label]
    return found


def off_label(means: Matrix) -> Matrix:
    """What the targets of a class say of the others: the matrix without its diagonal, 0 where nothing is known."""
    found = np.nan_to_num(means)
    np.fill_diagonal(found, 0)
    return found


def by_likeness(off: Matrix) -> NDArray[np.int64]:
    """(K,) an order of the classes in which those that targets confuse stand beside each other.

    The order of the Fiedler vector, the second eigenvector of the normalised Laplacian of the symmetric part
    (Fiedler, 1973; as a seriation Atkins et al., 1998). off: (K, K) >= 0.
    """
    near = (off + off.T) / 2 + 1e-9
    root = 1 / np.sqrt(near.sum(axis=1))
    _, vectors = np.linalg.eigh(np.eye(len(near)) - root[:, None] * near * root[None, :])
    return np.argsort(root * vectors[:, 1], kind="stable")


def most_said(matrix: Matrix, count: int) -> NDArray[np.int64]:
    """Sorted numbers of the classes that take part most in a matrix, by rows and columns; all where there are few.

    (k,), k at most that few.
    """
    part: Any = np.abs(matrix)
    return np.sort(np.argsort(-(part.sum(axis=0) + part.sum(axis=1)), kind="stable")[:count])
