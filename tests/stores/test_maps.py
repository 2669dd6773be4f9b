"""A map of features: PCA against the singular vectors, t-SNE as a job that keeps its layout with the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.errors import Damaged, UserError
from fnkd_core.jobs.tasks import map_of, start_map
from fnkd_core.stores import maps
from fnkd_core.stores.maps import FILE, ITERATIONS, drawn_ids, make_map, pca_map, tsne_map
from fnkd_core.stores.store import Store, store_path
from tests.waiting import until

ENDED = ("finished", "failed", "cancelled", "interrupted", "gone")


@pytest.fixture
def store(home: Path) -> Store:
    from fnkd_core.stores.extract import extract

    entry, info = find_checkpoint("digits-ce"), dataset_info("digits")
    for _ in extract(entry, info, "test"):
        pass
    return Store(store_path(entry, info, "test"))


def test_pca_is_the_projection_on_the_two_first_singular_vectors(store: Store) -> None:
    found = pca_map(store)
    features = store.features[:].astype(np.float64)
    centred = features - features.mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ vectors[:2].T
    signs = np.sign((expected * found.places).sum(0))
    np.testing.assert_allclose(found.places * signs, expected, atol=1e-3 * np.abs(expected).max())
    assert found.explained == pytest.approx(values[:2] ** 2 / (values**2).sum(), abs=1e-4)
    assert np.array_equal(found.ids, np.arange(360))
    assert np.array_equal(pca_map(store).places, found.places)


def test_of_a_large_split_the_same_samples_are_drawn_each_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "MOST", 100)
    ids = drawn_ids(store)
    assert len(ids) == 100 and (np.diff(ids) > 0).all() and np.array_equal(ids, drawn_ids(store))
    assert len(pca_map(store).places) == 100


def test_a_layout_by_tsne_is_made_by_a_job_and_keeps_neighbours_together(store: Store) -> None:
    assert tsne_map(store) is None
    task = start_map(store)
    until(lambda: task.state in ENDED)
    assert task.state == "gone" and map_of(store) == task
    made = tsne_map(store)
    assert made is not None and made.places.shape == (360, 2)
    from sklearn.manifold import trustworthiness

    assert trustworthiness(store.features[:].astype(np.float32), made.places, n_neighbors=5) > 0.95


def test_its_progress_rises_to_the_last_iteration(store: Store) -> None:
    said = list(make_map(store))
    assert said[0] == (0, ITERATIONS) and said[-1][0] == ITERATIONS
    assert [done for done, _ in said] == sorted(done for done, _ in said) and len(said) > 5


def test_a_damaged_layout_is_a_sentence(store: Store) -> None:
    for content in (b"", b"torn", (store.path / "curves.npz").read_bytes()):
        (store.path / FILE).write_bytes(content)
        with pytest.raises(Damaged, match=FILE):
            tsne_map(store)


def test_too_few_samples_are_a_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "MOST", 3)
    with pytest.raises(UserError, match="at least 5 samples"):
        list(make_map(store))
