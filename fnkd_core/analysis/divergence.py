"""Where two targets of one sample differ: the Jensen-Shannon divergence, in nats, from 0 to ln 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.analysis.targets import Source, Values, part_of
from fnkd_core.errors import require

IN_COLUMN = 2**23
"""Logits of a column that is made once: all of 50,000 samples of a hundred classes, within two seconds."""
EXACT, GROUPS = 24, 8
"""Of a sample's classes those that are kept one by one, its label first, and in how many groups the others are."""


def jensen_shannon(log_p: NDArray[np.float64], log_q: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) H((p + q) / 2) - (H(p) + H(q)) / 2, in nats (natural logarithm; Lin, 1991). log_p, log_q: (N, K)."""
    # -inf times 0 is not 0.
    log_p, log_q = np.maximum(log_p, -800.0), np.maximum(log_q, -800.0)
    p, q = np.exp(log_p), np.exp(log_q)
    m = (p + q) / 2
    of_both = (p * log_p).sum(axis=1) + (q * log_q).sum(axis=1)
    found: NDArray[np.float64] = of_both / 2 - (m * np.log(np.maximum(m, 1e-300))).sum(axis=1)
    return found.clip(0, np.log(2))


def between_rules(
    source: Source, first: str, second: str, values: Values, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """(n,) divergence of each sample's targets under two rules. rows: which samples, None for all; exact."""
    found = np.empty(len(source.store.samples) if rows is None else len(rows))
    for place, block in source.blocks(rows):
        found[place] = jensen_shannon(*(source.log_targets(rule, values, block) for rule in (first, second)))
    return found


def between_models(
    a: Source, b: Source, rule: str, values: Values, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """(n,) divergence of two models' targets of each sample under one rule, each with its own T_i; exact.

    `UserError` where they were extracted on different data.
    """
    same = a.store.manifest["identity"] == b.store.manifest["identity"] and a.num_classes == b.num_classes
    require(
        same,
        f"{a.store.name} and {b.store.name} were extracted on different data; choose the same data set and split for "
        "both.",
    )
    found = np.empty(len(a.store.samples) if rows is None else len(rows))
    for place, block in a.blocks(rows):
        found[place] = jensen_shannon(*(source.log_targets(rule, values, block) for source in (a, b)))
    return found


def divergence_column(
    source: Source, first: str, second: str, values: Values, most: int = IN_COLUMN
) -> NDArray[np.float32]:
    """(N,) `between_rules` as a column to sort and filter by, to be kept by who asks.

    Of more than `most` logits only the samples of `part_of` are measured; the others are NaN.
    """
    count = len(source.store.samples)
    rows = part_of(count, source.num_classes, most)
    column = np.full(count, np.nan, np.float32)
    column[slice(None) if rows is None else rows] = between_rules(source, first, second, values, rows)
    return column


@dataclass(frozen=True)
class Bins:
    """The logits of n samples as a browser holds them: label, similar classes, the largest others, groups of the rest.

    counts: (B,) how many classes a bin holds; the first `EXACT` hold one. logits: role -> (n, B) their mean in each
    bin. biases: role -> (n, B) the head's, where it has one. similar: (n, B) how many of a bin are of A(label).
    Classes of a group are taken to have one logit. With 100 and 1,000 classes a divergence is then off by at most 0.01
    nats of 0.69, on average by at most 0.006 (a test measures it); up to 32 classes it is exact.
    """

    counts: NDArray[np.int64]
    logits: dict[str, NDArray[np.float32]]
    biases: dict[str, NDArray[np.float32]]
    similar: NDArray[np.uint16]


def binned(sources: dict[str, Source], rows: NDArray[np.int64], exact: int = EXACT, groups: int = GROUPS) -> Bins:
    """These samples in bins that all models share, so that their targets can be compared in them.

    sources: role -> a model's outputs. rows: (n,) samples.
    """
    first = next(iter(sources.values()))
    labels, num_classes = first.store.samples["label"].to_numpy()[rows], first.num_classes
    logits = {role: np.asarray(source.store.logits[rows], np.float64) for role, source in sources.items()}
    # Models of different sharpness have the same say in which classes matter.
    score = sum((v - v.mean(axis=1, keepdims=True)) / (v.std(axis=1, keepdims=True) + 1e-9) for v in logits.values())
    score = np.asarray(score)
    member = np.zeros((num_classes, num_classes))
    for label, others in enumerate(first.similar):
        member[label, list(others)] = 1
    # aLSD gives these alone a share: among others it would be spread. Too many would leave no room for the largest.
    score += 1e3 * member[labels] * (member.sum(axis=1)[labels] <= exact - groups)[:, None]
    score[np.arange(len(rows)), labels] = np.inf
    order = np.argsort(-score, axis=1, kind="stable")
    edges = _edges(num_classes, exact, groups)
    counts = np.diff([*edges, num_classes])

    def means(values: NDArray[Any]) -> NDArray[np.float32]:
        return (np.add.reduceat(np.take_along_axis(values, order, 1), edges, axis=1) / counts).astype(np.float32)

    biases = {
        role: means(np.broadcast_to(source.store.bias.astype(np.float64), score.shape))
        for role, source in sources.items()
        if source.store.bias is not None
    }
    similar = np.add.reduceat(np.take_along_axis(member[labels], order, 1), edges, axis=1)
    return Bins(counts, {role: means(v) for role, v in logits.items()}, biases, similar.astype(np.uint16))


def _edges(num_classes: int, exact: int, groups: int) -> NDArray[np.int64]:
    """(B,) where each bin begins in a sample's classes by falling logit; groups grow with the rank."""
    if num_classes <= exact + groups:
        return np.arange(num_classes)
    rest = np.unique(np.geomspace(exact, num_classes, groups + 1).round().astype(np.int64))[:-1]
    return np.concatenate([np.arange(exact), rest])


def largest(values: NDArray[np.float64], rows: NDArray[np.int64] | None, count: int) -> Sequence[tuple[int, float]]:
    """(sample, divergence) of the largest, falling. values: (n,) of the samples `rows`, None for all."""
    count = min(count, len(values))
    found = np.argpartition(-values, count - 1)[:count] if count else np.empty(0, np.int64)
    found = found[np.argsort(-values[found], kind="stable")]
    return [(int(i if rows is None else rows[i]), float(values[i])) for i in found]
