"""AUROCs and their intervals are those that counting every pair gives, and of scores together as DeLong says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from fnkd_core.analysis.auroc import FEW, Z, paired_aurocs, placements, rank_correlation, ranks


def by_every_pair(
    scores: list[NDArray[np.float64]], correct: NDArray[np.bool_]
) -> tuple[list[float], NDArray[np.float64]]:
    """DeLong's estimates and their covariance, by its definition: a loop over all right-wrong pairs."""
    right, wrong = np.flatnonzero(correct), np.flatnonzero(~correct)
    pairs = np.zeros((len(scores), len(right), len(wrong)))
    for s, score in enumerate(scores):
        for i, a in enumerate(right):
            for j, b in enumerate(wrong):
                pairs[s, i, j] = 1.0 if score[a] > score[b] else 0.5 if score[a] == score[b] else 0.0
    of_right, of_wrong = pairs.mean(axis=2), pairs.mean(axis=1)
    covariance = np.cov(of_right) / len(right) + np.cov(of_wrong) / len(wrong)
    return [float(one.mean()) for one in pairs], np.atleast_2d(covariance)


def drawn(seed: int, n: int = 90, ties: bool = True) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Three scores of which two go together, with ties, and what they are to tell."""
    rng = np.random.default_rng(seed)
    correct = rng.random(n) < 0.7
    base = rng.normal(size=n) + correct
    scores = {"a": base, "b": base + rng.normal(size=n) / 2, "c": rng.normal(size=n)}
    return {name: np.round(one, 1) if ties else one for name, one in scores.items()}, correct


@pytest.mark.parametrize("seed", range(6))
def test_they_are_what_a_loop_over_every_pair_and_scikit_learn_give(seed: int) -> None:
    scores, correct = drawn(seed)
    found = paired_aurocs(scores, correct)
    values, covariance = by_every_pair(list(scores.values()), correct)
    assert found.values == pytest.approx(values, abs=1e-12)
    assert found.values == pytest.approx([roc_auc_score(correct, one) for one in scores.values()], abs=1e-12)
    assert found.covariance == pytest.approx(covariance, abs=1e-12)
    a, b = found.interval("a"), found.difference("a", "b")
    se = math.sqrt(covariance[0, 0])
    logit = math.log(a.value / (1 - a.value))
    assert math.log(a.high / (1 - a.high)) - logit == pytest.approx(Z * se / (a.value * (1 - a.value)))
    paired = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert (b.high - b.low) / 2 == pytest.approx(Z * paired)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_with_any_ties_each_sample_is_placed_among_those_of_the_other_outcome(rows: list[tuple[int, bool]]) -> None:
    score, correct = np.array([s for s, _ in rows], float), np.array([c for _, c in rows])
    placed = placements(score, correct)
    for s, c, found in zip(score, correct, placed, strict=True):
        others = score[correct != c]
        below = (others < s).sum() if c else (others > s).sum()
        expected = (below + (others == s).sum() / 2) / len(others) if len(others) else None
        assert expected is None or found == pytest.approx(expected)


def test_an_interval_holds_the_true_value_as_often_as_it_says() -> None:
    inside, rounds, rng = 0, 400, np.random.default_rng(1)
    true = 0.5 * (1 + math.erf(1 / 2))  # of normal scores one sd apart
    for _ in range(rounds):
        correct = np.arange(160) < 120
        found = paired_aurocs({"a": rng.normal(size=160) + correct}, correct).interval("a")
        inside += found.low <= true <= found.high
    assert 0.92 <= inside / rounds <= 0.98


@pytest.mark.parametrize("num_wrong", [1, 2, FEW - 1])
def test_with_few_wrong_samples_it_is_wide_and_holds_what_pairs_without_a_sample_in_common_allow(
    num_wrong: int,
) -> None:
    correct = np.arange(300) >= num_wrong
    found = paired_aurocs({"a": np.arange(300.0)}, correct)
    value, low, high = found.interval("a")
    assert (value, high) == (1.0, 1.0)
    assert low**num_wrong == pytest.approx(0.025), "were it lower, so many pairs would hardly all fall the right way"
    assert math.isnan(found.difference("a", "a").low)


def test_where_every_pair_falls_the_same_way_there_is_still_an_interval() -> None:
    correct = np.arange(400) >= 100
    value, low, high = paired_aurocs({"a": np.arange(400.0)}, correct).interval("a")
    assert (value, high) == (1.0, 1.0) and low == pytest.approx(0.025 ** (1 / 100))


@pytest.mark.parametrize("right", [True, False])
def test_without_a_pair_there_is_no_auroc(right: bool) -> None:
    found = paired_aurocs({"a": np.arange(5.0)}, np.full(5, right))
    assert np.isnan(found.interval("a")).all() and (found.num_right, found.num_wrong) == ((5, 0) if right else (0, 5))


@pytest.mark.parametrize("seed", range(4))
def test_ranks_and_their_correlation_are_scipy_s(seed: int) -> None:
    scores, _ = drawn(seed)
    assert ranks(scores["a"]) == pytest.approx(rankdata(scores["a"]))
    assert rank_correlation(scores["a"], scores["b"]) == pytest.approx(spearmanr(scores["a"], scores["b"]).statistic)
    assert math.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


@pytest.mark.parametrize("hits", [0, 1, 4, 9])
def test_the_interval_of_few_pairs_is_scipy_s_exact_one(hits: int) -> None:
    correct = np.arange(18) >= 9
    score = np.where(correct, 2.0, np.where(np.arange(18) < hits, 1.0, 3.0))
    value, low, high = paired_aurocs({"a": score}, correct).interval("a")
    exact = binomtest(hits, 9).proportion_ci(method="exact")
    assert (value, low, high) == pytest.approx((hits / 9, exact.low, exact.high))
