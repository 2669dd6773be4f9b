"""Angles between class means and the measures of neural collapse are what plain loops in float64 give."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.spatial.distance import cosine

from fnkd_core.analysis import geometry as module
from fnkd_core.analysis.geometry import by_likeness, geometry, head_weights, nearest_classes
from fnkd_core.checkpoints.io import load_checkpoint
from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.stores.store import Store


def drawn(seed: int, n: int = 400, d: int = 12, k: int = 6, spread: float = 0.5) -> tuple[Any, Any]:
    """Features around class means, of unequal classes, one of which does not occur."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([c for c in range(k) if c != 2], n, p=np.array([5, 4, 3, 2, 1])[: k - 1] / 15)
    return (rng.normal(size=(k, d))[labels] + spread * rng.normal(size=(n, d))).astype(np.float16), labels


def by_loops(features: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any]) -> dict[str, Any]:
    """Everything by its definition, a sample and a class at a time."""
    x = features.astype(np.float64)
    there = sorted(set(labels.tolist()))
    means = [np.mean([x[i] for i in range(len(x)) if labels[i] == c], axis=0) for c in there]
    middle, c = sum(means) / len(means), len(means)
    within, between = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1],) * 2)
    for row, label in zip(x, labels, strict=True):
        gap = row - means[there.index(label)]
        within += np.outer(gap, gap) / len(x)
    for mean in means:
        between += np.outer(mean - middle, mean - middle) / c
    pairs = [1 - cosine(means[i] - middle, means[j] - middle) for i in range(c) for j in range(i)]
    lengths = [float(np.linalg.norm(mean - middle)) for mean in means]
    rows = [weights[label].astype(np.float64) for label in there]
    centred = [mean - middle for mean in means]
    whole_w, whole_m = (math.sqrt(sum(float(one @ one) for one in many)) for many in (rows, centred))
    return {
        "nc1": np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / c,
        "norms": np.std(lengths) / np.mean(lengths),
        "angles": (np.std(pairs), np.mean([abs(one + 1 / (c - 1)) for one in pairs])),
        "aligned": (
            np.mean([1 - cosine(w, m) for w, m in zip(rows, centred, strict=True)]),
            sum(float(((w / whole_w - m / whole_m) ** 2).sum()) for w, m in zip(rows, centred, strict=True)),
        ),
        "means": means,
        "mean norms": [np.mean([np.linalg.norm(x[i]) for i in range(len(x)) if labels[i] == c]) for c in there],
    }


@pytest.mark.parametrize(("seed", "d", "block"), [(0, 12, 4096), (1, 12, 64), (2, 3, 100)])
def test_they_are_what_plain_loops_give(seed: int, d: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    features, labels = drawn(seed, d=d)
    weights = np.random.default_rng(9).normal(size=(6, d))
    found, plain = geometry(features, labels, 6), by_loops(features, labels, weights)
    assert found.labels.tolist() == [0, 1, 3, 4, 5] and found.num_samples == 400
    assert found.means == pytest.approx(np.array(plain["means"]), abs=1e-12)
    assert found.norms == pytest.approx(plain["mean norms"], abs=1e-12)
    assert found.nc1 == pytest.approx(plain["nc1"], rel=1e-9)
    assert found.equal_norms == pytest.approx(plain["norms"], abs=1e-12)
    assert found.equal_angles == pytest.approx(plain["angles"], abs=1e-12)
    assert found.alignment(weights) == pytest.approx(plain["aligned"], abs=1e-12)


def test_what_has_collapsed_measures_as_collapsed() -> None:
    simplex = np.eye(5) - 1 / 5  # five means as far apart as they can be
    labels = np.repeat(np.arange(5), 30)
    found = geometry((simplex @ np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0])[labels] + 3.0, labels, 5)
    assert found.nc1 == pytest.approx(0, abs=1e-12) and found.equal_norms == pytest.approx(0, abs=1e-9)
    assert found.equal_angles == pytest.approx((0, 0), abs=1e-9)
    assert found.alignment(7 * found.centred) == pytest.approx((1, 0), abs=1e-9)
    off = found.angles(True)[~np.eye(5, dtype=bool)]
    assert off == pytest.approx(found.simplex_angle) and found.simplex_angle == pytest.approx(104.4775)


def test_of_many_samples_a_seeded_part_is_enough_for_nc1_and_its_number_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = drawn(3, n=20_000)
    whole = geometry(features, labels, 6)
    monkeypatch.setattr(module, "MOST_PRODUCTS", 4096 * 4 * 12.0)
    part, again = (geometry(features, labels, 6) for _ in range(2))
    assert 0 < part.num_samples <= 4096 and part.nc1 == again.nc1
    assert part.nc1 == pytest.approx(whole.nc1, rel=0.05)
    assert part.means == pytest.approx(whole.means), "the means are always of all"


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_alone_has_no_angles(labels: list[int]) -> None:
    found = geometry(np.ones((3, 4), np.float16), np.array(labels), 2)
    assert math.isnan(found.nc1) and math.isnan(found.simplex_angle) and np.isnan(found.equal_angles).all()


def test_nearest_classes_are_those_at_the_smallest_angles() -> None:
    angle = np.radians([0, 10, 80, 95, 170])
    found = geometry(np.stack([np.cos(angle), np.sin(angle)], axis=1), np.arange(5), 5)
    table = nearest_classes(found, list("abcde"), centred=False)
    assert table["class"].tolist()[:2] == ["a", "b"] and table["nearest"].tolist()[:2] == ["b", "a"]
    rows = table.set_index("class")
    assert rows.loc["c", "nearest"] == "d" and rows.loc["c", "angle nearest"] == pytest.approx(15)
    assert rows.loc["c", "second"] == "b" and rows.loc["c", "angle second"] == pytest.approx(70)
    two = geometry(np.eye(2), np.arange(2), 2)
    assert "second" not in nearest_classes(two, list("ab"), True)


def test_similar_classes_stand_side_by_side() -> None:
    features, labels = drawn(0, spread=0.01)
    means = geometry(features, labels, 6).means
    pairs = np.repeat(means, 2, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(10, 12))
    mixed = np.random.default_rng(1).permutation(10)
    found = geometry(pairs[mixed], np.arange(10), 10)
    order = mixed[by_likeness(found.angles(True))]
    assert sorted(order) == list(range(10))
    assert all(order[i] // 2 == order[i + 1] // 2 for i in range(0, 10, 2))


def test_the_head_is_found_by_the_logits_that_it_makes(teacher_store: Store) -> None:
    entry = find_checkpoint("digits-teacher")
    weights = head_weights(entry.path, teacher_store)
    assert weights is not None
    classifier, _ = load_checkpoint(entry.path)
    assert np.array_equal(weights, classifier.head.weight.detach().numpy().astype(np.float64))
    assert head_weights(find_checkpoint("digits-ce").path, teacher_store) is None, "another network's head makes others"
    labels = teacher_store.samples["label"].to_numpy()
    found = geometry(teacher_store.features, labels, 10)
    plain = by_loops(np.asarray(teacher_store.features), labels, weights)
    assert found.nc1 == pytest.approx(plain["nc1"], rel=1e-6)
    assert found.alignment(weights) == pytest.approx(plain["aligned"], abs=1e-9)


def test_a_cosine_head_is_found_too_and_a_file_without_one_has_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights, features = rng.normal(size=(5, 8)), np.abs(rng.normal(size=(80, 8))).astype(np.float16)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features.astype(np.float64), weights)]
    manifest = {"num_classes": 5, "num_features": 8}
    store: Any = SimpleNamespace(manifest=manifest, features=features, logits=16 * unit[0] @ unit[1].T, bias=None)
    other = {"body": rng.normal(size=(5, 8)), "bias": np.ones(5)}
    save_file(other | {"fc.weight": weights}, tmp_path / "cosine.safetensors")
    found = head_weights(tmp_path / "cosine.safetensors", store)
    assert found is not None and np.array_equal(found, weights)
    save_file(other, tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for name in ("none", "broken", "missing"):
        assert head_weights(tmp_path / f"{name}.safetensors", store) is None
