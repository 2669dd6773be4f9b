"""What is said of a model's norms follows from its samples: where they tell right from wrong, and where they do not."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, spearmanr
from sklearn.metrics import roc_auc_score

from fnkd_core.analysis import verdicts
from fnkd_core.analysis.auroc import Interval
from fnkd_core.analysis.verdicts import NORM, SCORES, decile_counts, decile_slope, kind_of, target_spread, verdict
from fnkd_core.stores.curves import GRID, softmax, temperature_curves
from fnkd_core.stores.store import Store

STRENGTH = {"well": 1.6, "weakly": 0.6, "hardly": 0.15, "against": -0.6}
"""By how many sd the norms of right samples lie above those of wrong ones."""


def constructed(strength: float, n: int = 3000, share_wrong: float = 0.3, seed: int = 0) -> Any:
    """A model whose norms lie so much higher where it is right, with logits that grow with the norm."""
    rng = np.random.default_rng(seed)
    correct = rng.permutation(n) >= round(share_wrong * n)
    norm = (10 + rng.normal(size=n) + strength * correct).clip(1).astype(np.float32)
    k = 10
    directions = rng.normal(0, 0.1, (n, k))
    labels = rng.integers(0, k, n)
    directions[np.arange(n), np.where(correct, labels, (labels + 1) % k)] += 0.35
    logits = directions * norm[:, None]
    right = logits.argmax(1) == labels
    p = softmax(logits)
    ordered = np.sort(p, axis=1)
    samples = pd.DataFrame(
        {
            "id": np.arange(n), "label": labels, "prediction": logits.argmax(1), "correct": right, "norm": norm,
            "confidence": ordered[:, -1], "margin": ordered[:, -1] - ordered[:, -2],
            "entropy": -(p * np.log(p)).sum(1), "max_logit": logits.max(1), "logit_std": logits.std(1),
        }
    )  # fmt: skip
    rank = samples["norm"].rank(method="first").to_numpy()
    samples["decile"] = ((rank - 1) * 10 // n + 1).astype(np.int8)
    entropy, top = temperature_curves(logits)
    curves = {"grid": GRID, "entropy": entropy.astype(np.float16), "top_probability": top.astype(np.float16)}
    return SimpleNamespace(samples=samples, curves=curves, logits=logits)


@pytest.mark.parametrize("kind", STRENGTH)
def test_a_model_of_each_kind_is_told_as_what_it_is(kind: str) -> None:
    store = constructed(STRENGTH[kind])
    found = verdict(store)
    assert found.kind == kind
    norm = found.aurocs[NORM]
    assert norm.value == pytest.approx(roc_auc_score(store.samples["correct"], store.samples["norm"]), abs=1e-12)
    assert norm.low < norm.value < norm.high
    assert verdicts.KINDS[kind] in found.sentence and f"{norm.value:.1%}" in found.sentence
    assert f"{found.aurocs['max probability'].value:.1%}" in found.sentence
    assert found.sentence.count(". ") == 0
    low, high = (1 - store.samples[store.samples["decile"] == d]["correct"].mean() for d in (1, 10))
    assert found.ends == pytest.approx((low, high))
    assert f"{low:.0%} of the lowest tenth are wrong, {high:.0%} of the highest" in found.caption
    assert ("Low-norm images are" in found.caption) == (kind in ("well", "weakly"))
    assert "high-norm images are the harder" in found.caption or kind != "against"


def test_every_score_is_oriented_so_that_more_is_rather_right(teacher_store: Store) -> None:
    found = verdict(constructed(1.0))
    assert list(found.aurocs) == list(SCORES)
    assert all(found.aurocs[name].value > 0.5 for name in SCORES)
    shipped = verdict(teacher_store)
    assert shipped.aurocs["negative entropy"].value == pytest.approx(
        roc_auc_score(teacher_store.samples["correct"], -teacher_store.samples["entropy"])
    )


@pytest.mark.parametrize(("share", "which"), [(0.0, "right"), (1.0, "wrong")])
def test_where_all_are_right_or_all_wrong_that_is_said_and_nothing_else(share: float, which: str) -> None:
    store = constructed(0.5, 400)
    store.samples["correct"] = share == 0.0
    found = verdict(store)
    assert found.kind == "untold" and found.sentence.startswith(f"All 400 samples are {which}")
    assert found.caption.startswith(f"All samples are {which}") and "nan" not in found.sentence + found.caption
    assert math.isnan(found.aurocs[NORM].value) and found.slope.value == 0


@pytest.mark.parametrize("num_wrong", [1, 4])
def test_with_few_wrong_samples_it_cannot_be_told(num_wrong: int) -> None:
    store = constructed(1.5, 360)
    store.samples["correct"] = store.samples["norm"].rank() > num_wrong
    found = verdict(store)
    assert (
        found.kind == "untold"
        and f"of 360 samples {'is' if num_wrong == 1 else 'are'} wrong, too few" in found.sentence
    )
    assert f"With {num_wrong} of 360 wrong it cannot be told" in found.caption
    norm = found.aurocs[NORM]
    assert norm.value == 1.0 and norm.low < 0.6


def test_few_right_samples_are_too_few_as_well() -> None:
    store = constructed(1.5, 360)
    store.samples["correct"] = store.samples["norm"].rank() > 357
    assert "Only 3 of 360 samples are right" in verdict(store).sentence


def test_a_kind_needs_its_interval() -> None:
    assert kind_of(Interval(0.8, 0.76, 0.84)) == "well"
    assert kind_of(Interval(0.8, 0.6, 0.95)) == "untold"
    assert kind_of(Interval(0.65, 0.49, 0.68)) == "hardly"
    assert kind_of(Interval(0.559, 0.547, 0.571)) == "hardly"
    assert kind_of(Interval(0.671, 0.66, 0.68)) == "weakly"
    assert kind_of(Interval(0.47, 0.46, 0.48)) == "against"
    assert kind_of(Interval(0.47, 0.43, 0.51)) == "hardly"


@pytest.mark.parametrize(("scale", "said"), [(1.0, "unsure"), (-1.0, "a sure output"), (0.0, "says little")])
def test_what_is_said_of_ambiguous_images_follows_from_the_entropy(scale: float, said: str) -> None:
    store = constructed(1.0)
    rng = np.random.default_rng(0)
    store.samples["entropy"] = 5 - scale * store.samples["norm"] / 10 + rng.normal(0, 0.02, 3000)
    assert said in verdict(store).caption


def test_rank_correlations_are_scipy_s(teacher_store: Store) -> None:
    found, samples = verdict(teacher_store), teacher_store.samples
    assert found.with_std == pytest.approx(spearmanr(samples["norm"], samples["logit_std"]).statistic)
    assert found.with_entropy == pytest.approx(spearmanr(samples["norm"], samples["entropy"]).statistic)


@pytest.mark.parametrize("strength", [1.0, 0.0, -1.0])
def test_the_slope_over_deciles_is_least_squares_with_errors_that_vary(strength: float) -> None:
    samples = constructed(strength).samples
    x, y = samples["decile"].to_numpy(float), samples["correct"].to_numpy(float)
    line = linregress(x, y)
    meat = sum((a - x.mean()) ** 2 * (b - line.intercept - line.slope * a) ** 2 for a, b in zip(x, y, strict=True))
    error = math.sqrt(meat) / ((x - x.mean()) ** 2).sum()
    value, low, high = decile_slope(decile_counts(samples))
    assert value == pytest.approx(line.slope, abs=1e-12)
    assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=1e-5)
    assert value == pytest.approx((low + high) / 2)


def test_fewer_than_ten_samples_are_no_fault() -> None:
    found = verdict(constructed(1.0, 4))
    assert found.kind == "untold" and "nan" not in found.sentence + found.caption


def test_the_spread_under_fn_is_at_the_same_mean_entropy_and_as_softening_every_sample_gives() -> None:
    store = constructed(0.5)
    found = target_spread(store)

    def entropies(t: Any) -> Any:
        p = softmax(store.logits / np.reshape(t, (-1, 1)))
        return -(p * np.log(p)).sum(1)

    plain, fn = entropies(np.full(3000, 4.0)), entropies(store.samples["norm"].to_numpy(np.float64) / found.tau)
    assert fn.mean() == pytest.approx(plain.mean(), abs=2e-3) == pytest.approx(found.entropy, abs=2e-3)
    assert found.sd_t == pytest.approx(plain.std(), abs=2e-3)
    assert found.sd_norm == pytest.approx(fn.std(), abs=2e-3)
    assert found.change == pytest.approx(fn.std() / plain.std() - 1, abs=0.02) and found.change < 0
    assert found.num_samples == 3000


def test_of_many_samples_a_seeded_part_says_how_the_entropy_spreads(monkeypatch: pytest.MonkeyPatch) -> None:
    store = constructed(0.5)
    whole = target_spread(store)
    monkeypatch.setattr(verdicts, "MOST_CURVES", 1500)
    part = target_spread(store)
    assert part.num_samples == 1500 and part == target_spread(store)
    assert part.sd_norm == pytest.approx(whole.sd_norm, rel=0.1) and part.tau == pytest.approx(whole.tau, rel=0.05)
