"""The features of a store in two dimensions: by PCA at once, by t-SNE as a job. No torch."""

from __future__ import annotations

import contextlib
import io
import queue
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnkd_core.errors import Damaged, require
from fnkd_core.files import replacing
from fnkd_core.machine import cores
from fnkd_core.stores.parts import part
from fnkd_core.stores.store import Store, is_store

MOST = 50_000
"""Samples of a map; of more, so many are drawn."""
FEWEST = 5
SEED = 0
ITERATIONS = 1000
BEFORE = 50
"""Dimensions that PCA leaves to t-SNE (van der Maaten and Hinton, 2008)."""
FILE = "tsne.npz"


@dataclass(frozen=True)
class Map:
    """ids: (n,) samples, ascending. places: (n, 2). explained: shares of the variance on the two axes, of a PCA."""

    ids: NDArray[np.int64]
    places: NDArray[np.float32]
    explained: tuple[float, float] | None = None


def drawn_ids(store: Store) -> NDArray[np.int64]:
    """The samples of this store's maps: all, or `MOST` of them drawn by a fixed seed, ascending.

    (n,), n at most `MOST`.
    """
    count = int(store.manifest["num_samples"])
    drawn = part(count, MOST)
    return np.arange(count) if drawn is None else drawn


def _features(store: Store, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    return (store.features[:] if len(ids) == len(store.features) else store.features[ids]).astype(np.float32)


def pca_map(store: Store) -> Map:
    """The two directions in which the features vary most, from the drawn samples. Signs are such that they repeat."""
    from sklearn.decomposition import PCA

    ids = drawn_ids(store)
    features = _features(store, ids)
    size = min(2, *features.shape)
    pca = PCA(size, svd_solver="covariance_eigh" if len(features) > features.shape[1] else "full").fit(features)
    places = np.zeros((len(ids), 2), np.float32)
    places[:, :size] = pca.transform(features)
    shares = [*pca.explained_variance_ratio_, 0.0, 0.0]
    return Map(ids, places, (float(np.nan_to_num(shares[0])), float(np.nan_to_num(shares[1]))))


def tsne_map(store: Store) -> Map | None:
    """The layout by t-SNE, or None while it is not made."""
    path = store.path / FILE
    if not path.is_file():
        return None
    ids = drawn_ids(store)
    try:
        with np.load(path) as arrays:
            places = np.asarray(arrays["places"])
    except Exception as error:
        raise Damaged(path, f"cannot be read: {type(error).__name__}") from None
    if places.shape != (len(ids), 2) or places.dtype != np.float32 or not np.isfinite(places).all():
        raise Damaged(path, "is no layout of these samples")
    return Map(ids, places)


def make_map(store: Store) -> Iterator[tuple[int, int]]:
    """Lay the drawn samples out by t-SNE and keep that with the store; yields (iterations done, of how many).

    Perplexity 30, begun from the PCA, Barnes-Hut, a fixed seed (van der Maaten, 2014).
    `UserError` where the split has too few samples.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = _features(store, drawn_ids(store))
    require(len(features) >= FEWEST, f"A map by t-SNE takes at least {FEWEST} samples, this split has {len(features)}.")
    if min(features.shape) > BEFORE:
        features = PCA(BEFORE, random_state=SEED).fit_transform(features)
    method = TSNE(
        perplexity=min(30.0, (len(features) - 1) / 3),
        init="pca" if min(features.shape) > 1 else "random",
        max_iter=ITERATIONS,
        random_state=SEED,
        n_jobs=cores(),
        verbose=2,
    )
    said: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    places: list[NDArray[np.float32]] = []
    wrong: list[Exception] = []

    def lay_out() -> None:
        try:
            with contextlib.redirect_stdout(_Iterations(said)):
                places.append(method.fit_transform(features).astype(np.float32))
        except Exception as error:
            wrong.append(error)
        said.put(None)

    worker = threading.Thread(target=lay_out, daemon=True)
    worker.start()
    yield 0, ITERATIONS
    while (iteration := said.get()) is not None:
        yield min(iteration, ITERATIONS), ITERATIONS
    worker.join()
    if wrong:
        raise wrong[0]
    require(is_store(store.path), f"The store {store.path.name} has been removed; extract it anew.")
    with replacing(store.path / FILE) as temporary:
        _save(temporary, places[0])


def _save(path: Path, places: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, places=places)
    path.write_bytes(buffer.getbuffer())


class _Iterations(io.TextIOBase):
    """Hears from scikit-learn's own lines at which iteration it is: it has no other way to ask."""

    def __init__(self, said: queue.SimpleQueue[int | None]) -> None:
        self._said = said

    def write(self, text: str) -> int:
        if found := re.search(r"Iteration (\d+)", text):
            self._said.put(int(found[1]))
        return len(text)
