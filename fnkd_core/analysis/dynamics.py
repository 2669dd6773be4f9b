"""What became of each training sample through a run's epochs: the data map, what was forgotten, and the norms.

Data maps: Swayamdipta et al. (2020), "Dataset Cartography". Forgetting events: Toneva et al. (2019), "An Empirical
Study of Example Forgetting during Deep Neural Network Learning", who look at a sample when it is learnt from. So do
the kept epochs, see `fnkd_core.stores.epochs`: at its augmented view, before the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fnkd_core.stores.epochs import KeptEpochs, unseen

PART = 2**15
"""Samples whose epochs are read together: so many fit the processor's cache."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def by_sample(kept: KeptEpochs) -> pd.DataFrame:
    """A row for each training sample, in their order, over the epochs that are kept and saw it.

    key, label. p_mean, p_sd: of p_label, the two axes of the data map; the sd is the population's. p_change: last less
    first. correctness: share of the epochs in which it was predicted right. forgotten: how often it was right in one
    and wrong in the next. learnt: the first epoch in which it was right, 0 if in none. flips: how often its prediction
    was another one than before. norm_mean, norm_sd, norm_first, norm_last, norm_change: of ||f||. prediction: the last
    one. float32; NaN, and a prediction of -1, of a sample that was never seen.
    """
    count = len(kept.samples)
    parts = [_of_part(kept, slice(first, min(first + PART, count))) for first in range(0, count, PART)]
    found = pd.concat(parts, ignore_index=True)
    found.insert(0, "key", kept.samples["key"].to_numpy())
    return found


def _of_part(kept: KeptEpochs, part: slice) -> pd.DataFrame:
    labels, nobody = kept.samples["label"].to_numpy()[part], unseen(len(kept.classes))
    count = len(labels)
    seen, right, forgotten, learnt, flips = (np.zeros(count, np.int32) for _ in range(5))
    was_right, prediction = np.zeros(count, bool), np.full(count, -1, np.int64)
    p, norm = _History(count), _History(count)
    for epoch in kept.numbers:
        rows = kept.read(epoch, part)
        # At most the rest of a batch, so that all others are added without asking which they are.
        left_out = np.flatnonzero(rows["prediction"] == nobody)
        before, prediction = prediction, rows["prediction"].astype(np.int64)
        prediction[left_out] = before[left_out]
        flips += prediction != before
        is_right = prediction == labels  # of one that was left out what it was
        forgotten += was_right & ~is_right
        learnt[is_right & (learnt == 0)] = epoch
        right += is_right
        right[left_out] -= is_right[left_out]
        seen += 1
        seen[left_out] -= 1
        was_right = is_right
        p.add(rows["p_label"], left_out)
        norm.add(rows["norm"], left_out)
    epochs = np.where(seen > 0, seen, np.nan)
    found = pd.DataFrame(
        {
            "label": labels,
            "prediction": prediction,
            "p_mean": p.sum / epochs,
            "p_sd": p.sd(epochs),
            "p_change": p.last - p.first,
            "correctness": right / epochs,
            "forgotten": forgotten,
            "learnt": learnt,
            "flips": flips - (seen > 0),  # its first prediction was one after none
            "norm_mean": norm.sum / epochs,
            "norm_sd": norm.sd(epochs),
            "norm_first": norm.first,
            "norm_last": norm.last,
            "norm_change": norm.last - norm.first,
        }
    )
    floats = found.select_dtypes(np.float64).columns
    return found.astype(dict.fromkeys(floats, np.float32))


class _History:
    """Sums (N,) over epochs of a value of each sample, and its first and its last one."""

    def __init__(self, count: int) -> None:
        self.sum, self.squares = np.zeros(count), np.zeros(count)
        self.first, self.last = np.full(count, np.nan), np.full(count, np.nan)
        self._without = np.arange(count)
        """Those that have no first value yet."""

    def add(self, values: NDArray[np.floating], left_out: NDArray[np.intp]) -> None:
        """Add an epoch's values (N,), but for these."""
        now = values.astype(np.float64)
        now[left_out] = 0.0
        self.sum += now
        self.squares += now * now
        now[left_out] = self.last[left_out]
        self.last = now
        self.first[self._without] = now[self._without]
        self._without = self._without[np.isnan(now[self._without])]

    def sd(self, epochs: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N,) the population's, over so many values each."""
        mean, square = self.sum / epochs, self.squares / epochs
        variance = square - mean * mean
        # What rounding leaves of a constant is no spread: of values with 11 bits it is far above.
        return np.where(np.isnan(mean), np.nan, np.sqrt(np.where(variance > 1e-12 * square, variance, 0.0)))


def memory(samples: pd.DataFrame) -> dict[str, int]:
    """How many samples were never learnt, learnt and never forgotten, and forgotten at least once."""
    learnt, forgotten = samples["learnt"].to_numpy() > 0, samples["forgotten"].to_numpy() > 0
    return {
        "never learnt": int((~learnt).sum()),
        "never forgotten": int((learnt & ~forgotten).sum()),
        "forgotten": int(forgotten.sum()),
    }


def most_forgotten(samples: pd.DataFrame, count: int) -> NDArray[np.int64]:
    """Rows of so many samples that were forgotten most often, of equals those with the lowest mean p_label; none that
    was never forgotten.

    (k,), k at most so many.
    """
    order = np.lexsort((samples["p_mean"].to_numpy(), -samples["forgotten"].to_numpy()))[:count]
    kept: NDArray[np.int64] = order[samples["forgotten"].to_numpy()[order] > 0]
    return kept


@dataclass(frozen=True)
class NormCounts:
    """How many samples have which norm in an epoch, right and wrong ones apart.

    A norm in float16 is one of 31,744 numbers: values (V,) are those from the lowest to the highest there is; right and
    wrong (V,) count them, so that every sum below is exact.
    """

    epoch: int
    values: NDArray[np.float64]
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @property
    def groups(self) -> Mapping[str, NDArray[np.int64]]:
        """Name -> counts, of the samples that were right and of those that were wrong."""
        return {"right": self.right, "wrong": self.wrong}

    @property
    def accuracy(self) -> float:
        """The share of right ones; NaN where nothing was seen."""
        right, wrong = int(self.right.sum()), int(self.wrong.sum())
        return right / (right + wrong) if right + wrong else math.nan

    @property
    def auroc(self) -> float:
        """The probability that a right sample has the larger norm of a right-wrong pair, ties counted half."""
        right, wrong = int(self.right.sum()), int(self.wrong.sum())
        if not right or not wrong:
            return math.nan
        below = np.cumsum(self.wrong) - self.wrong / 2
        return float(self.right @ below) / right / wrong

    def quantiles(self, group: str, shares: tuple[float, ...] = QUANTILES) -> list[float]:
        """The smallest norm up to which each of these shares of the right or wrong ones lie; NaN of none."""
        below = np.cumsum(self.groups[group])
        if not len(below) or not below[-1]:
            return [math.nan] * len(shares)
        places = np.searchsorted(below, [max(share * below[-1], 1) for share in shares])
        return [float(self.values[place]) for place in places]

    def histogram(self, group: str, edges: NDArray[np.float64]) -> NDArray[np.int64]:
        """(bins,) counts between the edges, the last of which belongs to the last bin."""
        counts, _ = np.histogram(self.values, edges, weights=self.groups[group])
        whole: NDArray[np.int64] = counts.astype(np.int64)
        return whole


def norms_by_epoch(kept: KeptEpochs, label: int | None = None) -> list[NormCounts]:
    """The norms of every kept epoch. label: of samples that were trained on with this label alone."""
    labels, nobody = kept.samples["label"].to_numpy(), unseen(len(kept.classes))
    found = []
    for epoch in kept.numbers:
        rows = kept.read(epoch)
        here = rows["prediction"] != nobody
        if label is not None:
            here &= labels == label
        codes = rows["norm"].view(np.uint16) & 0x7FFF  # in the order of the norms, none of which has a sign
        is_right = rows["prediction"] == labels
        right, wrong = (np.bincount(codes[here & which], minlength=2**15) for which in (is_right, ~is_right))
        filled = np.flatnonzero(right + wrong)
        span = slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, 0)
        values = np.arange(2**15, dtype=np.uint16).view(np.float16)[span].astype(np.float64)
        found.append(NormCounts(epoch, values, right[span], wrong[span]))
    return found


def common_edges(counts: list[NormCounts], bins: int = 60) -> NDArray[np.float64]:
    """(bins + 1,) of one histogram for all epochs: from the lowest norm to one that all but 1 in 1,000 samples of every
    epoch lie below, or to the highest."""
    filled = [one for one in counts if len(one.values)]
    if not filled:
        return np.linspace(0.0, 1.0, bins + 1)
    low = min(float(one.values[0]) for one in filled)
    tops = []
    for one in filled:
        below = np.cumsum(one.right + one.wrong)
        tops.append(float(one.values[np.searchsorted(below, 0.999 * below[-1])]))
    high = max(tops)
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)
