"""What the feature norm of one model tells on one split: whether low norms are wrong, or unsure, and what FN would do.

Whether ||f|| means anything depends on the model: of two networks of like accuracy one's may tell right from wrong and
the other's not. What pages say of low and high norms is said from here. No torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fnkd_core.analysis.auroc import Interval, Z, paired_aurocs, rank_correlation
from fnkd_core.stores.curves import feature_norm_temperatures, on_curve
from fnkd_core.stores.parts import part
from fnkd_core.stores.store import Store

SCORES = {
    "‖f‖": lambda samples: samples["norm"],
    "max probability": lambda samples: samples["confidence"],
    "margin": lambda samples: samples["margin"],
    "negative entropy": lambda samples: -samples["entropy"],
    "max logit": lambda samples: samples["max_logit"],
}
"""Scores of a sample that may tell whether it is right; larger where it is rather right."""
NORM, SURE = "‖f‖", "max probability"
KINDS = {
    "well": "tells right from wrong well",
    "weakly": "tells right from wrong only weakly",
    "hardly": "hardly tells right from wrong",
    "against": "points the other way",
    "untold": "cannot be judged here",
}
"""Kinds of verdict, and what ‖f‖ does under each."""
WELL, WEAKLY, AGAINST = 0.75, 0.6, 0.48
"""AUROC from which the norm tells well, or at all; and below which it points the other way, if the interval does."""
WIDEST = 0.2
"""An interval that is wider than this leaves open what the norm tells."""
CLOSE = 0.3
"""Rank correlation from which two columns are said to go together."""
REFERENCE = 4.0
"""The field's usual T, whose targets those of tau/||f|| are compared with."""
MOST_CURVES = 20_000
"""Of more samples, a seeded part of so many says how the targets' entropy spreads."""


@dataclass(frozen=True)
class Spread:
    """How the entropy of the targets spreads under one T and under tau/||f|| of the same mean entropy.

    temperature: the T. tau: at which the mean is the same. entropy: that mean, in nats. sd_t, sd_norm: standard
    deviations over the samples. num_samples: those that it was computed from.
    """

    temperature: float
    tau: float
    entropy: float
    sd_t: float
    sd_norm: float
    num_samples: int

    @property
    def change(self) -> float:
        """Relative to one T: -0.28 is 28 % less spread. NaN where T leaves none."""
        return self.sd_norm / self.sd_t - 1 if self.sd_t > 0 else math.nan


@dataclass(frozen=True)
class Verdict:
    """What the norm of a model tells on a split.

    kind: of `KINDS`. aurocs: of each of `SCORES`. lead: AUROC of max probability less that of the norm, paired.
    slope: of accuracy, per norm decile. with_std, with_entropy: rank correlation of the norm with the logits' standard
    deviation and with the entropy of the output. ends: share of wrong samples in the lowest and highest norm decile.
    """

    kind: str
    num_right: int
    num_wrong: int
    aurocs: dict[str, Interval]
    lead: Interval
    slope: Interval
    with_std: float
    with_entropy: float
    ends: tuple[float, float]
    spread: Spread

    @property
    def num_samples(self) -> int:
        """N, right and wrong ones."""
        return self.num_right + self.num_wrong

    @property
    def sentence(self) -> str:
        """The verdict, in one sentence."""
        if not self.num_right or not self.num_wrong:
            which = "right" if self.num_right else "wrong"
            return (
                f"All {self.num_samples:,} samples are {which}, so nothing can tell right from wrong here; choose "
                "another split, or harder data."
            )
        norm = self.aurocs[NORM]
        span = f"{norm.low:.1%} to {norm.high:.1%}"
        pairs = f"a right sample has the larger norm in {norm.value:.1%} of right-wrong pairs"
        if self.kind == "untold":
            fewer = min((self.num_wrong, "wrong"), (self.num_right, "right"))
            are = "is" if fewer[0] == 1 else "are"
            return (
                f"Only {fewer[0]:,} of {self.num_samples:,} samples {are} {fewer[1]}, too few to say whether ‖f‖ tells "
                f"right from wrong: {pairs}, but anything from {span} would fit."
            )
        return f"‖f‖ {KINDS[self.kind]}: {pairs} ({span}; 50% is chance), {self._beside_confidence()}."

    def _beside_confidence(self) -> str:
        sure = f"{self.aurocs[SURE].value:.1%}"
        if self.lead.low > 0:
            return f"and the larger max probability in {'far more, ' if self.lead.value > 0.1 else ''}{sure}"
        return f"and the larger max probability in {'fewer' if self.lead.high < 0 else 'about as many'}, {sure}"

    @property
    def caption(self) -> str:
        """What may be said of low-norm and high-norm samples under their pictures: a sentence or two."""
        sure = {
            True: "A low norm goes with an unsure output",
            False: "A low norm goes with a sure output",
            None: "The norm says little of how sure the output is",
        }[None if not abs(self.with_entropy) >= CLOSE else self.with_entropy < 0]
        told = (
            "" if math.isnan(self.with_entropy) else f" {sure} (rank correlation with entropy {self.with_entropy:.2f})."
        )
        return f"{self._harder()}{told}"

    def _harder(self) -> str:
        if not self.num_wrong or not self.num_right:
            return f"All samples are {'right' if self.num_right else 'wrong'}, at either end."
        if self.kind == "untold":
            return f"With {self.num_wrong:,} of {self.num_samples:,} wrong it cannot be told which end is the harder."
        which = {
            "well": "Low-norm images are the harder ones for this model",
            "weakly": "Low-norm images are somewhat harder for this model",
            "hardly": "For this model the norm hardly tells hard images from easy ones",
            "against": "For this model high-norm images are the harder ones",
        }[self.kind]
        return f"{which}: {self.ends[0]:.0%} of the lowest tenth are wrong, {self.ends[1]:.0%} of the highest."


def verdict(store: Store) -> Verdict:
    """What ||f|| tells of this store's samples."""
    samples = store.samples
    correct = samples["correct"].to_numpy()
    norm, entropy = samples["norm"].to_numpy(), samples["entropy"].to_numpy()
    found = paired_aurocs({name: score(samples).to_numpy() for name, score in SCORES.items()}, correct)
    counts = decile_counts(samples)
    aurocs = {name: found.interval(name) for name in SCORES}
    with np.errstate(invalid="ignore"):
        wrong = 1 - counts[:, 1] / counts[:, 0]
    return Verdict(
        kind=kind_of(aurocs[NORM]),
        num_right=found.num_right,
        num_wrong=found.num_wrong,
        aurocs=aurocs,
        lead=found.difference(SURE, NORM),
        slope=decile_slope(counts),
        with_std=rank_correlation(norm, samples["logit_std"].to_numpy()),
        with_entropy=rank_correlation(norm, entropy),
        ends=(float(wrong[0]), float(wrong[-1])),
        spread=target_spread(store),
    )


def kind_of(auroc: Interval) -> str:
    """The kind of verdict, of `KINDS`, that an AUROC of the norm and its interval are."""
    if math.isnan(auroc.value) or auroc.width > WIDEST:
        return "untold"
    if auroc.value < AGAINST and auroc.high < 0.5:
        return "against"
    if auroc.value < WEAKLY or auroc.low <= 0.5:
        return "hardly"
    return "weakly" if auroc.value < WELL else "well"


def decile_counts(samples: pd.DataFrame) -> NDArray[np.int64]:
    """(10, 2) samples, and right ones, in each norm decile, lowest first."""
    decile = samples["decile"].to_numpy() - 1
    right = np.bincount(decile, samples["correct"].to_numpy(), 10)
    return np.stack([np.bincount(decile, minlength=10), right.astype(np.int64)], axis=1)


def decile_slope(counts: NDArray[np.int64]) -> Interval:
    """Accuracy gained per norm decile: least squares over the samples, with a 95 % interval that lets errors vary.

    counts: (10, 2) of `decile_counts`. The interval is the heteroscedasticity-consistent one (White 1980, HC0), which
    these counts are enough for. All NaN where all samples are in one decile.
    """
    total, right = counts[:, 0].astype(float), counts[:, 1].astype(float)
    x = np.arange(1, 11) - (total @ np.arange(1, 11)) / total.sum()
    square = float(total @ x**2)
    if not square:
        return Interval(math.nan, math.nan, math.nan)
    slope = float(right @ x) / square
    fitted = right.sum() / total.sum() + slope * x
    errors = right * (1 - fitted) ** 2 + (total - right) * fitted**2
    step = Z * math.sqrt(float(x**2 @ errors)) / square
    return Interval(slope, slope - step, slope + step)


def target_spread(store: Store, temperature: float = REFERENCE) -> Spread:
    """How the targets' entropy spreads under T, and under tau/||f|| with the tau that gives the same mean entropy.

    By the store's curves, which are exact to about 0.001 nats; of more than `MOST_CURVES` samples a seeded part.
    """
    norms, curves = store.samples["norm"].to_numpy(np.float64), store.curves
    drawn = part(len(norms), MOST_CURVES)
    rows: Any = slice(None) if drawn is None else drawn
    norms, curve, grid = norms[rows], curves["entropy"][rows], curves["grid"]

    def under(tau: float) -> NDArray[np.float64]:
        return np.asarray(on_curve(curve, grid, feature_norm_temperatures(norms, {"tau": tau, "variant": "paper"})))

    plain = np.asarray(on_curve(curve, grid, np.full(len(norms), temperature)))
    # The mean falls as tau rises: halve the interval of its logarithm until it holds no other float32.
    low, high = (math.log(max(float(norms.mean()), 1e-6) / float(t)) for t in (grid[-1], grid[0]))
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if under(math.exp(middle)).mean() > plain.mean() else (low, middle)
    tau = math.exp((low + high) / 2)
    return Spread(temperature, tau, float(plain.mean()), float(plain.std()), float(under(tau).std()), len(norms))
