"""Tables made from stores: by class, by norm decile, two stores side by side. pandas in, pandas out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from fnkd_core.analysis.auroc import paired_aurocs
from fnkd_core.errors import require
from fnkd_core.stores.store import Store

Z95 = 1.959964
"""Quantile of the normal distribution at 0.975."""


def by_decile(samples: pd.DataFrame) -> pd.DataFrame:
    """A row per norm decile, 1 = lowest: num_samples, norm_low, norm_high, accuracy, confidence, entropy."""
    return (
        samples.groupby("decile")
        .agg(
            num_samples=("id", "size"),
            norm_low=("norm", "min"),
            norm_high=("norm", "max"),
            accuracy=("correct", "mean"),
            confidence=("confidence", "mean"),
            entropy=("entropy", "mean"),
        )
        .reset_index()
    )


def by_class(samples: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """A row per class that occurs: class, num_samples, norm_mean, norm_sd, accuracy, confidence."""
    table = (
        samples.groupby("label")
        .agg(
            num_samples=("id", "size"),
            norm_mean=("norm", "mean"),
            norm_sd=("norm", lambda x: x.std(ddof=0)),
            accuracy=("correct", "mean"),
            confidence=("confidence", "mean"),
        )
        .reset_index()
    )
    table.insert(1, "class", [classes[label] for label in table["label"]])
    return table


def norms_by_class(samples: pd.DataFrame) -> pd.DataFrame:
    """A row per class that occurs, by rising mean ||f||: label, num_samples, mean, p5, p25, p50, p75, p95 of ||f||."""
    of_class = samples.groupby("label")["norm"]
    table = of_class.agg(num_samples="size", mean="mean").reset_index()
    percents = (5, 25, 50, 75, 95)
    quantiles = of_class.quantile([percent / 100 for percent in percents]).to_numpy().reshape(len(table), len(percents))
    table[[f"p{percent}" for percent in percents]] = quantiles
    return table.sort_values("mean", ignore_index=True)


def by_confidence(samples: pd.DataFrame, num_bins: int = 15) -> pd.DataFrame:
    """A row per bin (i/n, (i+1)/n] of confidence that holds a sample: num_samples, mean confidence, accuracy.

    low, high: Wilson's 95 % interval of the accuracy (1927). The usual bins are those of the expected calibration error
    (`fnkd_core.kd.statistics`), which is the mean of |accuracy - confidence| over them, weighted by num_samples.
    """
    index = (np.ceil(samples["confidence"] * num_bins) - 1).clip(0, num_bins - 1).astype(int)
    table = (
        samples.groupby(index.rename("bin"))
        .agg(num_samples=("id", "size"), confidence=("confidence", "mean"), accuracy=("correct", "mean"))
        .reset_index()
    )
    low, high = wilson(table["accuracy"].to_numpy(), table["num_samples"].to_numpy())
    return table.assign(low=low, high=high)


def wilson(share: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of Wilson's 95 % interval (1927) of a share of n samples, each of the arrays' shape."""
    p, n = np.asarray(share, np.float64), np.asarray(n, np.float64)
    middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * np.sqrt(p * (1 - p) / n + (Z95 / (2 * n)) ** 2)
    return middle - half, middle + half


def mcnemar(only_first: int, only_second: int) -> float:
    """How often chance alone makes a split of the samples that one model alone gets right at least so uneven, were
    either model as likely to be the one: the two-sided p of McNemar's exact test (1947)."""
    differ = only_first + only_second
    return float(scipy.stats.binomtest(only_first, differ).pvalue) if differ else 1.0


def norm_summary(samples: pd.DataFrame) -> dict[str, float]:
    """mean, sd, min, max of ||f||, its mean where the prediction is right and wrong, and the AUROC right-vs-wrong with
    the ends of its 95 % interval.

    The AUROC is the probability that a right sample has a larger norm than a wrong one; NaN, as its ends, where all are
    right or all wrong.
    """
    norm = samples["norm"].to_numpy(np.float64)
    correct = samples["correct"].to_numpy()
    mean_right, mean_wrong = means_by_outcome(samples)
    auroc = paired_aurocs({"norm": norm}, correct).interval("norm")
    return {
        "mean": norm.mean(),
        "sd": norm.std(),
        "min": norm.min(),
        "max": norm.max(),
        "mean_right": mean_right,
        "mean_wrong": mean_wrong,
        "auroc": auroc.value,
        "auroc_low": auroc.low,
        "auroc_high": auroc.high,
    }


def means_by_outcome(samples: pd.DataFrame) -> tuple[float, float]:
    """Mean ||f|| of the right samples and of the wrong ones; NaN where there are none."""
    norm, correct = samples["norm"].to_numpy(np.float64), samples["correct"].to_numpy()
    right, wrong = norm[correct], norm[~correct]
    return float(right.mean()) if len(right) else np.nan, float(wrong.mean()) if len(wrong) else np.nan


def side_by_side(a: Store, b: Store) -> pd.DataFrame:
    """A row per sample of a split that both stores hold: key, label, and each column with suffix _a and _b.

    outcome: 0 both right, 1 only a, 2 only b, 3 both wrong. agree: same prediction.
    `UserError` where the stores are of different splits.
    """
    same = all(a.manifest[name] == b.manifest[name] for name in ("identity", "num_samples"))
    require(
        same or a.samples["key"].equals(b.samples["key"]),
        f"{a.name} and {b.name} were extracted on different data; choose the same data set and split for both.",
    )
    columns = ["prediction", "correct", "norm", "confidence", "entropy", "decile"]
    both = a.samples[["id", "key", "label"]].copy()
    for suffix, store in (("_a", a), ("_b", b)):
        for column in columns:
            both[column + suffix] = store.samples[column]
    both["outcome"] = np.select(
        [both["correct_a"] & both["correct_b"], both["correct_a"], both["correct_b"]], [0, 1, 2], 3
    )
    both["agree"] = both["prediction_a"] == both["prediction_b"]
    return both


def expected_agreement(both: pd.DataFrame) -> float:
    """Share of samples two models would agree on if their errors were independent.

    Both right, or both wrong with the same answer, the wrong answers drawn as each model draws them over all.
    """
    a, b = both["correct_a"].mean(), both["correct_b"].mean()
    wrong = [both.loc[~both[f"correct{s}"], f"prediction{s}"].value_counts(normalize=True) for s in ("_a", "_b")]
    same = float(wrong[0].mul(wrong[1], fill_value=0.0).sum())
    return float(a * b + (1 - a) * (1 - b) * same)
