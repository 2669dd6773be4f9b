"""A rule's value at which it is as soft as another rule: at equal mean temperature, equal mean entropy, or least apart.

Bisection and golden-section search on a log scale, over what a store keeps of its samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.analysis.divergence import between_rules, jensen_shannon
from fnkd_core.analysis.targets import Source, entropy_and_top, part_of
from fnkd_core.errors import UserError, require
from fnkd_core.kd.rules import RULES, rule_named

STEPS = 32
"""Halvings of a search: what is left of an interval of eight octaves is a millionth of a percent."""
FEW = 2**17
"""Logits on which the least divergence is searched, many times over: 1,310 samples of a hundred classes."""


@dataclass(frozen=True)
class Match:
    """slider: which value is to be set, to which value. says: what is then equal, and what is not."""

    slider: str
    value: float
    says: str


def bisected(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """x in [low, high] where `rising`, a function that rises with x, is `wanted`; the nearer end where it never is."""
    if rising(low) >= wanted:
        return low
    if rising(high) <= wanted:
        return high
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rising(middle) > wanted else (middle, high)
    return math.sqrt(low * high)


def least(of: Callable[[float], float], low: float, high: float, points: int = 17, steps: int = 24) -> float:
    """x in [low, high] where `of` is least: the best of some points, then golden sections around it."""
    grid = np.geomspace(low, high, points)
    best = int(np.argmin([of(x) for x in grid]))
    a, b = math.log(grid[max(best - 1, 0)]), math.log(grid[min(best + 1, points - 1)])
    ratio = (math.sqrt(5) - 1) / 2
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    at_c, at_d = of(math.exp(c)), of(math.exp(d))
    for _ in range(steps):
        if at_c < at_d:
            b, d, at_d = d, c, at_c
            c = b - ratio * (b - a)
            at_c = of(math.exp(c))
        else:
            a, c, at_c = c, d, at_d
            d = a + ratio * (b - a)
            at_d = of(math.exp(d))
    return math.exp((a + b) / 2)


class _Means:
    """Means over the samples of what a rule's targets are, for values that change in one slider."""

    def __init__(self, source: Source, rule: str, values: Mapping[str, Any]) -> None:
        self.source, self.rule, self.values = source, rule, dict(values)
        self.slider = RULES[rule].sliders[0].name if RULES[rule].sliders else ""
        self.rows = part_of(len(source.store.samples), source.num_classes)

    def at(self, value: float | None) -> dict[str, Any]:
        return self.values if value is None else self.values | {self.slider: value}

    def temperature(self, value: float | None = None) -> float:
        t = self.source.temperatures(self.rule, self.at(value))
        assert t is not None
        return float(t.mean())

    def entropy(self, value: float | None = None) -> float:
        return float(entropy_and_top(self.source, self.rule, self.at(value), self.rows)[0].mean())


def matched(source: Source, first: str, second: str, values: Mapping[str, Any], by: str) -> Match:
    """The value of the second rule's slider at which it meets the first one.

    by: `temperature` (equal mean T_i), `entropy` (equal mean entropy of the targets) or `divergence` (least mean
    Jensen-Shannon divergence). `UserError` where a rule has none of what is to be equal, or not one slider.
    """
    a, b = rule_named(first), rule_named(second)
    require(len(b.sliders) == 1, f"{b.title} has {len(b.sliders)} sliders; match a rule that has one.")
    require(first != second, f"{b.title} cannot be matched to itself; choose another rule to match it to.")
    fixed, moved = _Means(source, first, values), _Means(source, second, values)
    low, high, _ = source.bounds()[moved.slider]
    if by == "temperature":
        require(
            bool(a.statistic and b.statistic),
            f"{(b if a.statistic else a).title} has no temperature; match the entropy.",
        )
        value = _signed(moved.temperature, fixed.temperature(), low, high, falls=b.power < 0)
    elif by == "entropy":
        value = _signed(moved.entropy, fixed.entropy(), low, high, falls=b.power < 0)
    elif by == "divergence":
        value = least(_apart(source, first, second, moved), low, high)
    else:
        raise UserError(f"There is no match by {by!r}; choose temperature, entropy or divergence.")
    value = float(f"{value:.4g}")
    return Match(moved.slider, value, _says(fixed, moved, value, by))


def _signed(of: Callable[[float], float], wanted: float, low: float, high: float, *, falls: bool) -> float:
    """Where a function that rises, or falls, with the value is what is wanted."""
    if falls:
        return bisected(lambda x: -of(x), -wanted, low, high)
    return bisected(of, wanted, low, high)


def _apart(source: Source, first: str, second: str, moved: _Means) -> Callable[[float], float]:
    """The mean divergence from the first rule as a function of the second's value. What stays is computed once."""
    blocks = list(source.blocks(_few(source)))
    stays = [source.log_targets(first, moved.values, block) for _, block in blocks]

    def at(value: float) -> float:
        changed = moved.at(value)
        parts = [
            jensen_shannon(log_p, source.log_targets(second, changed, block))
            for log_p, (_, block) in zip(stays, blocks, strict=True)
        ]
        return float(np.concatenate(parts).mean())

    return at


def _few(source: Source) -> NDArray[np.int64] | None:
    return part_of(len(source.store.samples), source.num_classes, FEW)


def _says(fixed: _Means, moved: _Means, value: float, by: str) -> str:
    """What is equal at this value, what is not, and why."""
    a, b = RULES[fixed.rule], RULES[moved.rule]
    symbol = b.sliders[0].symbol
    entropies = fixed.entropy(), moved.entropy(value)
    apart = float(between_rules(moved.source, fixed.rule, moved.rule, moved.at(value), _few(moved.source)).mean())
    said = f"{symbol} = {value:.3g}: mean entropy {entropies[1]:.3g} against {entropies[0]:.3g} nats"
    if a.statistic and b.statistic:
        said += f", mean T_i {moved.temperature(value):.3g} against {fixed.temperature():.3g}"
    said += f", {apart:.2g} nats apart on average. "
    return said + WHY[by].format(a=a.title, b=b.title)


WHY = {
    "temperature": "Entropy bends with T: samples that {b} softens less lose more than the others gain, so that equal "
    "mean temperatures are not equal entropies.",
    "entropy": "The targets say equally much on average; which samples say it still differs between {a} and {b}.",
    "divergence": "No value makes the two equal, since they order the samples differently; here they are closest, and "
    "neither mean need be equal.",
}
"""Match -> why the other two would give another value."""
