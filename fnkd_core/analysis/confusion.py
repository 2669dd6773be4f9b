"""What similar-class sets do to a target, and which classes a teacher takes for each other. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fnkd_core.data.similar import Groups
from fnkd_core.errors import require
from fnkd_core.stores.curves import softmax
from fnkd_core.stores.store import Store

PART = 8192
"""Samples whose probabilities are in memory at a time."""


def alsd_target(
    label: int, similar: Sequence[int], num_classes: int, epsilon_uniform: float, epsilon_similar: float
) -> NDArray[np.float64]:
    """(K,) aLSD's target of a label; what its similar classes would get is spread over all where it has none.

    The same as `fnkd_core.kd.targets.SmoothedSimilar`, of one label.
    """
    target = np.full(num_classes, epsilon_uniform / num_classes)
    target[label] += 1 - epsilon_uniform - epsilon_similar
    members = list(similar) or list(range(num_classes))
    target[members] += epsilon_similar / len(members)
    return target


def confusion(store: Store, temperature: float = 4.0) -> NDArray[np.float64]:
    """(K, K) mean softened probability that the model gives to class j on samples of class i.

    Rows sum to 1; a class without samples has a uniform row.
    """
    k = len(store.classes)
    labels = store.samples["label"].to_numpy()
    sums, counts = np.zeros((k, k)), np.bincount(labels, minlength=k)[:, None]
    for start in range(0, len(labels), PART):
        part = slice(start, start + PART)
        np.add.at(sums, labels[part], softmax(store.logits[part].astype(np.float64) / temperature))
    return np.divide(sums, counts, out=np.full((k, k), 1 / k), where=counts > 0)


def confused_groups(store: Store, num_groups: int, temperature: float = 4.0) -> Groups:
    """Groups of classes that the model takes for each other, named by their members; None for a class alone.

    Clusters the classes until `num_groups` are left, lone classes among them: average linkage over
    -log((p(j|i) + p(i|j)) / 2), the mean softened probabilities. Sibling classes are those that each see the other.
    `UserError` where num_groups is not below the number of classes, or below 2.
    """
    from sklearn.cluster import AgglomerativeClustering

    k = len(store.classes)
    require(2 <= num_groups < k, f"num_groups must be 2 to {k - 1}, one less than the classes, got {num_groups}.")
    p = confusion(store, temperature)
    distance = -np.log(np.maximum((p + p.T) / 2, 1e-12))
    np.fill_diagonal(distance, 0)
    found = AgglomerativeClustering(num_groups, metric="precomputed", linkage="average").fit_predict(distance)
    groups: list[str | None] = []
    for cluster in found:
        members = [store.classes[j] for j in np.flatnonzero(found == cluster)]
        more = f" + {len(members) - 3} more" if len(members) > 3 else ""
        groups.append(" + ".join(members[:3]) + more if len(members) > 1 else None)
    return tuple(groups)
