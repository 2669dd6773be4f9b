"""How well scores tell right samples from wrong ones: AUROC, its interval, and scores compared on the same samples.

E. DeLong, D. DeLong, D. Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
characteristic curves: a nonparametric approach", Biometrics 1988. By ranks, in O(n log n). No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Of a two-sided 95 % interval of the normal distribution."""
FEW = 10
"""With fewer right or fewer wrong samples DeLong's variance is not to be trusted, and the largest possible is taken."""


class Interval(NamedTuple):
    """A figure and the ends of its 95 % interval; all NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low


NONE = Interval(math.nan, math.nan, math.nan)


class Aurocs(NamedTuple):
    """values: (S,) AUROC of each score. covariance: (S, S) of these estimates. num_right, num_wrong: samples."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    covariance: NDArray[np.float64]
    num_right: int
    num_wrong: int

    def interval(self, name: str) -> Interval:
        """AUROC of a score with its 95 % interval, on the logit scale, so that it stays within 0 and 1.

        With fewer than `FEW` right or wrong samples, or where all pairs fall the same way: Clopper and Pearson's (1934)
        of as many trials as the smaller number, since so many pairs have no sample in common. Of no scores is the
        variance larger than theirs (Birnbaum and Klose 1957), so that it is rather too wide. All NaN where all are
        right or all are wrong.
        """
        i, trials = self.names.index(name), min(self.num_right, self.num_wrong)
        if not trials:
            return NONE
        a, variance = float(self.values[i]), float(self.covariance[i, i])
        if trials < FEW or variance <= 0 or not 0 < a < 1:
            return _of_trials(a, trials)
        middle, step = math.log(a / (1 - a)), Z * math.sqrt(variance) / (a * (1 - a))
        return Interval(a, _expit(middle - step), _expit(middle + step))

    def difference(self, one: str, other: str) -> Interval:
        """AUROC of one score less that of the other on the same samples; ends NaN below `FEW` right or wrong."""
        i, j = self.names.index(one), self.names.index(other)
        value = float(self.values[i] - self.values[j])
        if min(self.num_right, self.num_wrong) < FEW:
            return Interval(value, math.nan, math.nan)
        c = self.covariance
        step = Z * math.sqrt(max(float(c[i, i] + c[j, j] - 2 * c[i, j]), 0.0))
        return Interval(value, value - step, value + step)


def paired_aurocs(scores: Mapping[str, NDArray[np.floating]], correct: NDArray[np.bool_]) -> Aurocs:
    """The AUROC right-vs-wrong of each score and how they vary together; NaN where all are right or all are wrong.

    scores: name -> (N,), larger for what is rather right. correct: (N,). An AUROC is the probability that a right
    sample has the larger score of a right-wrong pair, ties counted half.
    """
    num_right = int(correct.sum())
    num_wrong = len(correct) - num_right
    if not (num_right and num_wrong):
        empty = np.full((len(scores), len(scores)), np.nan)
        return Aurocs(tuple(scores), np.full(len(scores), np.nan), empty, num_right, num_wrong)
    placed = np.stack([placements(score, correct) for score in scores.values()])
    right, wrong = placed[:, correct], placed[:, ~correct]
    covariance = _covariance(right) / num_right + _covariance(wrong) / num_wrong
    return Aurocs(tuple(scores), right.mean(axis=1), covariance, num_right, num_wrong)


def placements(score: NDArray[np.floating], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) of a right sample the share of the wrong ones below it, of a wrong one the share of right ones above it."""
    order, group = _tied(score)
    right = correct[order]
    num_right = np.bincount(group, weights=right)
    num_wrong = np.bincount(group, weights=~right)
    of_right = (np.cumsum(num_wrong) - num_wrong / 2) / max(num_wrong.sum(), 1)
    of_wrong = 1 - (np.cumsum(num_right) - num_right / 2) / max(num_right.sum(), 1)
    placed = np.empty(len(score))
    placed[order] = np.where(right, of_right[group], of_wrong[group])
    return placed


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) ranks from 1, ties sharing the mean of theirs."""
    order, group = _tied(values)
    size = np.bincount(group)
    found = np.empty(len(values))
    found[order] = (np.cumsum(size) - (size - 1) / 2)[group]
    return found


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Spearman's, of two columns of one length; NaN where one is constant."""
    x, y = (ranks(values) - (len(values) + 1) / 2 for values in (a, b))
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size else math.nan


def _tied(values: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The order that sorts them and, in that order, the number of the group of equal ones."""
    order = np.argsort(values)
    ordered = values[order]
    return order, np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])]).astype(np.intp)


def _covariance(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, S) over the columns; 0 of a single column, of which none is known."""
    if rows.shape[1] < 2:
        return np.zeros((len(rows), len(rows)))
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / (rows.shape[1] - 1))


def _of_trials(share: float, trials: int) -> Interval:
    from scipy.special import betaincinv

    hits = share * trials
    low = float(betaincinv(hits, trials - hits + 1, 0.025)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 0.975)) if hits < trials else 1.0
    return Interval(share, low, high)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
