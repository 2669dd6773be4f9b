"""Divergences, searches and factors against plain references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from fnkd_core.analysis import targets as targets_module
from fnkd_core.analysis.divergence import (
    EXACT,
    GROUPS,
    between_models,
    between_rules,
    binned,
    divergence_column,
    jensen_shannon,
    largest,
)
from fnkd_core.analysis.targets import Source, part_of, said_of_part, summary_under
from fnkd_core.errors import UserError
from fnkd_core.kd.rules import RULES
from fnkd_core.stores.curves import softmax
from fnkd_core.stores.store import Store

SIMILAR = tuple((k ^ 1,) for k in range(10))


@pytest.fixture
def source(teacher_store: Store, fn_store: Store) -> Source:
    return Source(teacher_store, fn_store, SIMILAR)


def reference(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """scipy's distance is the root; its logarithm is natural."""
    return np.array([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)])


@pytest.mark.parametrize("first", RULES)
@pytest.mark.parametrize("second", ["t", "fn_released"])
def test_the_divergence_of_two_rules_is_scipy_s(source: Source, first: str, second: str) -> None:
    values = source.defaults()
    every = slice(0, 360)
    p, q = (source.targets(rule, values, every) for rule in (first, second))
    assert p.sum(axis=1) == pytest.approx(np.ones(360))
    found = between_rules(source, first, second, values)
    assert found == pytest.approx(np.nan_to_num(reference(p, q)), abs=1e-9)
    assert found.min() >= 0 and found.max() <= np.log(2)
    if first == second:
        assert found == pytest.approx(np.zeros(360), abs=1e-9)


def test_targets_that_share_no_class_are_ln_2_apart() -> None:
    with np.errstate(divide="ignore"):
        a, b = np.log(np.array([[1.0, 0, 0]])), np.log(np.array([[0, 0.5, 0.5]]))
    assert jensen_shannon(a, b)[0] == pytest.approx(np.log(2))
    assert jensen_shannon(a, a)[0] == 0


def test_two_models_diverge_under_one_rule_each_by_its_own_temperatures(source: Source, fn_store: Store) -> None:
    student, values = Source(fn_store, source.store, SIMILAR), {"tau": 3.0}
    p = softmax(source.store.logits[:] / (source.store.samples["norm"].to_numpy() / 3.0)[:, None])
    q = softmax(fn_store.logits[:] / (fn_store.samples["norm"].to_numpy() / 3.0)[:, None])
    found = between_models(source, student, "fn", values)
    assert found == pytest.approx(reference(p, q), abs=1e-7)
    rows = np.array([3, 30, 300])
    assert between_models(source, student, "fn", values, rows) == pytest.approx(found[rows])


def test_stores_of_different_data_are_not_compared(source: Source, fn_store: Store) -> None:
    other = Store(fn_store.path, "elsewhere")
    other.__dict__["manifest"] = fn_store.manifest | {"identity": "another split"}
    with pytest.raises(UserError, match="different data"):
        between_models(source, Source(other), "t", {"t": 4.0})


def test_the_column_holds_every_sample_or_a_stated_part(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    values = source.defaults()
    column = divergence_column(source, "t", "fn", values)
    assert column == pytest.approx(between_rules(source, "t", "fn", values), abs=1e-6)
    assert said_of_part(360, 10) == ""
    monkeypatch.setattr(targets_module, "MOST", 1000)
    part_of.cache_clear()
    part = divergence_column(source, "t", "fn", values, most=1000)
    measured = ~np.isnan(part)
    assert measured.sum() == 100 and part[measured] == pytest.approx(column[measured])
    assert said_of_part(360, 10) == "Of 100 samples drawn from 360, always the same."
    assert len(summary_under(source, values)) == len(RULES)
    part_of.cache_clear()


def test_the_largest_are_those_and_fall() -> None:
    values = np.array([0.1, 0.5, 0.3, 0.5])
    assert largest(values, None, 3) == [(1, 0.5), (3, 0.5), (2, 0.3)]
    assert largest(values, np.array([10, 20, 30, 40]), 2) == [(20, 0.5), (40, 0.5)]
    assert largest(np.empty(0), None, 3) == []


def invented(num_classes: int, count: int, seed: int, head: float) -> Source:
    """Outputs as a trained network has them: a few classes far above a normal rest."""
    import pandas as pd

    generator = np.random.default_rng(seed)
    logits = 2 * generator.standard_normal((count, num_classes))
    labels = generator.integers(0, num_classes, count)
    logits[np.arange(count), labels] += head * generator.random(count)
    store = Store.__new__(Store)
    bias = (0.3 * generator.standard_normal(num_classes)).astype(np.float32)
    norms = 4 + 8 * generator.random(count)
    frame = pd.DataFrame({
        "label": labels, "norm": norms, "max_logit": logits.max(1), "logit_std": logits.std(1),
        "prediction": logits.argmax(1),
    })  # fmt: skip
    manifest = {"classes": [str(k) for k in range(num_classes)], "identity": "invented", "dead_outputs": []}
    store.__dict__.update(samples=frame, logits=logits.astype(np.float32), bias=bias, manifest=manifest, called="x")
    groups = tuple(
        tuple(j for j in range(k - k % 5, min(k - k % 5 + 5, num_classes)) if j != k) for k in range(num_classes)
    )
    return Source(store, None, groups)


def on_bins(source: Source, rule_name: str, values: dict[str, float], bins: object, rows: np.ndarray) -> np.ndarray:
    """(n, B) log of the mean target in each bin, and its mass: what the browser computes, plainly."""
    rule = RULES[rule_name]
    role = next(iter(bins.logits))  # type: ignore[attr-defined]
    counts, v = bins.counts, bins.logits[role].astype(np.float64)  # type: ignore[attr-defined]
    t = source.temperatures(rule_name, values)
    if t is None:
        k, n = source.num_classes, bins.similar.sum(axis=1, keepdims=True)  # type: ignore[attr-defined]
        uniform = values[rule.uniform] if rule.uniform else 0
        given = values[rule.similar] if rule.similar else 0
        q = counts * uniform / k + np.where(n > 0, given * bins.similar / np.maximum(n, 1), counts * given / k)  # type: ignore[attr-defined]
        q[:, 0] += 1 - uniform - given
    else:
        b = bins.biases[role] if rule.through_head else 0  # type: ignore[attr-defined]
        z = (v - b) / t[rows][:, None] + b
        q = np.exp(z - z.max(1, keepdims=True)) * counts
        q /= q.sum(1, keepdims=True)
    return q


@pytest.mark.parametrize(("num_classes", "most", "mean"), [(10, 1e-6, 1e-6), (100, 0.01, 0.006), (1000, 0.01, 0.006)])
def test_what_the_browser_computes_of_bins_is_near_the_exact_divergence(
    num_classes: int, most: float, mean: float
) -> None:
    source = invented(num_classes, 300, num_classes, head=12.0)
    rows = np.arange(0, 300, 2)
    bins = binned({"teacher": source}, rows)
    assert bins.counts.sum() == num_classes and len(bins.counts) <= EXACT + GROUPS
    labels = source.store.samples["label"].to_numpy()[rows]
    assert np.array_equal(bins.logits["teacher"][:, 0], source.store.logits[rows, labels])
    values = source.defaults()
    worst, means = 0.0, 0.0
    for t in (1.0, 4.0, 16.0):
        for first, second in (("t", "fn"), ("t", "std"), ("one_hot", "t"), ("alsd", "fn"), ("fn_released", "t")):
            at = values | {"t": t}
            p, q = (on_bins(source, rule, at, bins, rows) for rule in (first, second))
            with np.errstate(divide="ignore"):
                near = jensen_shannon(np.log(p), np.log(q))
            error = np.abs(near - between_rules(source, first, second, at, rows))
            worst, means = max(worst, error.max()), max(means, error.mean())
    assert worst < most and means < mean
