"""Nearest neighbours are those that scikit-learn finds by brute force."""

from __future__ import annotations

import types

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances
from sklearn.neighbors import NearestNeighbors

from fnkd_core.errors import UserError
from fnkd_core.stores import neighbours
from fnkd_core.stores.neighbours import Metric, central, closest_pairs, nearest
from fnkd_core.stores.store import Store


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("block", [2**22, 1000])
def test_the_nearest_are_those_that_brute_force_finds_whatever_the_blocks(
    teacher_store: Store, monkeypatch: pytest.MonkeyPatch, metric: Metric, block: int
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", block)
    features = np.asarray(teacher_store.features, np.float64)
    reference = NearestNeighbors(algorithm="brute", metric=metric).fit(features)
    for sample in (0, 7, 359):
        ids, distances = nearest(teacher_store, sample, 12, metric)
        expected, places = reference.kneighbors(features[[sample]], 13)
        known = dict(zip(places[0].tolist(), expected[0].tolist(), strict=True))
        known.pop(sample)
        assert np.allclose(distances, list(known.values()), atol=2e-6)
        # Those that differ by less than float32 tells apart may change places.
        assert {int(i) for i in ids[:10]} <= set(known)
        assert sample not in ids and len(set(ids.tolist())) == 12


def made_of(rows: list[list[float]]) -> Store:
    features = np.array(rows, np.float16)
    return types.SimpleNamespace(features=features)  # type: ignore[return-value]


def test_equal_distances_stand_by_number_and_a_feature_of_zeros_is_at_distance_one() -> None:
    store = made_of([[1, 0], [0, 2], [3, 0], [0, 0], [2, 0]])
    ids, distances = nearest(store, 0, 4)
    assert ids.tolist() == [2, 4, 1, 3] and distances.tolist() == [0, 0, 1, 1]
    ids, distances = nearest(store, 0, 2, "euclidean")
    assert ids.tolist() == [3, 4] and distances.tolist() == [1, 1]
    assert nearest(store, 0, 99)[0].tolist() == [2, 4, 1, 3]
    assert nearest(made_of([[1, 0]]), 0, 5)[0].tolist() == []


def test_another_distance_is_a_sentence(teacher_store: Store) -> None:
    with pytest.raises(UserError, match="distance"):
        nearest(teacher_store, 0, 3, "manhattan")  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [2**22, 5000])
def test_the_closest_pairs_are_those_of_the_whole_matrix_of_distances(
    teacher_store: Store, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", block)
    ids = np.arange(20, 320, 2)
    pairs, distances = closest_pairs(teacher_store, ids, 15)
    whole = cosine_distances(np.asarray(teacher_store.features, np.float64)[ids])
    upper = whole[np.triu_indices(len(ids), 1)]
    assert np.allclose(distances, np.sort(upper)[:15], atol=2e-6)
    places = {sample: i for i, sample in enumerate(ids.tolist())}
    for (a, b), distance in zip(pairs.tolist(), distances, strict=True):
        assert a < b and whole[places[a], places[b]] == pytest.approx(float(distance), abs=2e-6)
    assert closest_pairs(teacher_store, ids[:1], 3)[0].shape == (0, 2)
    assert len(closest_pairs(teacher_store, ids[:3], 9)[0]) == 3


def test_representatives_are_those_nearest_to_the_mean_direction(teacher_store: Store) -> None:
    ids = np.arange(0, 360, 3)
    rows = np.asarray(teacher_store.features, np.float64)[ids]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = rows @ rows.mean(0)
    chosen = central(teacher_store, ids, 5)
    assert np.allclose(np.sort(cosine)[::-1][:5], cosine[np.searchsorted(ids, chosen)], atol=1e-5)
