"""The targets that a model's outputs make under a rule: exact, a block of samples at a time, and their sums."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fnkd_core.kd.rules import RULES, STATISTICS, bounds, label_targets, log_softened, rule_named, temperatures
from fnkd_core.stores.curves import on_curve
from fnkd_core.stores.parts import part
from fnkd_core.stores.store import Store

AT_ONCE = 2**18
"""Logits that are worked on together: what a processor's cache holds."""
MOST = 2**20
"""Logits that are read for one click; of more than these a seeded part of the samples is."""
MOST_KEPT = 8
"""Parts of curves that are kept."""
READ = ("norm", "logit_std", "max_logit")
"""Columns of a store that statistics are made of."""
Values = Mapping[str, Any]


@functools.lru_cache(32)
def part_of(num_samples: int, num_classes: int, most: int | None = None) -> NDArray[np.int64] | None:
    """Sorted numbers of the samples that are read, drawn by a fixed seed; None where all of them are.

    (n,) where it is not None.
    """
    return part(num_samples, max((MOST if most is None else most) // num_classes, 1))


def said_of_part(num_samples: int, num_classes: int, most: int | None = None) -> str:
    """What to say where a part is read: "Of 1,048 samples drawn from 1,281,167, always the same.", else nothing."""
    rows = part_of(num_samples, num_classes, most)
    return "" if rows is None else f"Of {len(rows):,} samples drawn from {num_samples:,}, always the same."


@dataclass(frozen=True)
class Source:
    """A model's outputs on a split, and what rules read beside them.

    peer: the other model's on the same split, of which DTKD's temperature depends. similar: A(x) for aLSD.
    """

    store: Store
    peer: Store | None = None
    similar: Sequence[Sequence[int]] = ()

    @property
    def identity(self) -> tuple[str, ...]:
        """What all that follows from it depends on, besides the values of rules."""
        return self.store.identity, self.peer.identity if self.peer else "", str(self.similar)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.store.manifest["classes"])

    @functools.cached_property
    def _columns(self) -> dict[str, NDArray[np.float64]]:
        return {}

    @functools.cached_property
    def _curves(self) -> dict[tuple[str, bytes], NDArray[np.float16]]:
        return {}

    @functools.cached_property
    def _tables(self) -> dict[tuple[Any, ...], NDArray[np.float64]]:
        return {}

    def statistic(self, name: str) -> NDArray[np.float64]:
        """(N,) column of a statistic in `STATISTICS`."""
        if name not in self._columns:
            peer = None if self.peer is None else self.peer.samples
            found = STATISTICS[name](self.store.samples, self.num_classes, peer)
            self._columns[name] = np.asarray(found, np.float64)
        return self._columns[name]

    def statistics_of(self, sample: int) -> dict[str, float]:
        """Every statistic of one sample."""
        tables = [None if store is None else store.samples for store in (self.store, self.peer)]
        own, peer = ({c: t[c].to_numpy()[[sample]] for c in READ} if t is not None else None for t in tables)
        assert own is not None
        return {name: float(of(own, self.num_classes, peer)[0]) for name, of in STATISTICS.items()}

    def of_labels(self, rule: str, values: Values) -> NDArray[np.float64]:
        """(K, K) target of each label under a rule that is made of it alone."""
        chosen = rule_named(rule)
        key = (rule, *(float(values[slider.name]) for slider in chosen.sliders))
        if key not in self._tables:
            every = np.arange(self.num_classes)
            self._tables[key] = label_targets(chosen, every, self.num_classes, values, self.similar)
        return self._tables[key]

    def temperatures(self, rule: str, values: Values, rows: Any = slice(None)) -> NDArray[np.float64] | None:
        """(n,) T_i under a rule of these samples, by default of all; None where it is made of the label alone."""
        chosen = rule_named(rule)
        return temperatures(chosen, self.statistic(chosen.statistic)[rows], values) if chosen.statistic else None

    def curve(self, name: str, rows: NDArray[np.int64] | None) -> NDArray[np.float16]:
        """(n, G) one of the store's curves of these samples, None for all. Every rule reads the same ones."""
        if rows is None:
            return np.asarray(self.store.curves[name][:])
        key = (name, rows.tobytes())
        if key not in self._curves:
            if len(self._curves) >= MOST_KEPT:
                self._curves.clear()
            self._curves[key] = self.store.curves[name][rows]
        return self._curves[key]

    def bounds(self) -> dict[str, tuple[float, float, float]]:
        """Slider -> (low, high, default) for this model, of every rule."""
        found: dict[str, tuple[float, float, float]] = {}
        for rule in RULES.values():
            mean = float(self.statistic(rule.statistic).mean()) if rule.statistic else 1.0
            found |= {slider.name: bounds(rule, slider, mean) for slider in rule.sliders}
        return found

    def defaults(self) -> dict[str, Any]:
        """Every value as the lab begins with it."""
        return {name: start for name, (_, _, start) in self.bounds().items()} | {"lambda": 3.0}

    def log_targets(self, rule: str, values: Values, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, K) logarithms of these samples' targets."""
        chosen = rule_named(rule)
        t = self.temperatures(rule, values, rows)
        if t is None:
            labels = self.store.samples["label"].to_numpy()[rows]
            with np.errstate(divide="ignore"):
                return np.log(self.of_labels(rule, values)[labels])
        return log_softened(self.store.logits[rows], t, self.store.bias if chosen.through_head else None)

    def targets(self, rule: str, values: Values, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, K) targets of these samples, each summing to 1."""
        return np.exp(self.log_targets(rule, values, rows))

    def blocks(self, rows: NDArray[np.int64] | None) -> Iterator[tuple[slice, slice | NDArray[np.int64]]]:
        """(place in the answer, samples) a block at a time. rows: which samples, None for all."""
        step = max(1, AT_ONCE // self.num_classes)
        count = len(self.store.samples) if rows is None else len(rows)
        for first in range(0, count, step):
            place = slice(first, min(first + step, count))
            yield place, place if rows is None else rows[place]


def entropy_and_top(source: Source, rule: str, values: Values, rows: NDArray[np.int64] | None = None) -> Any:
    """(entropy in nats, top probability), each (n,): by the store's curves, or exact where the label makes it."""
    store, chosen = source.store, rule_named(rule)
    pick: Any = slice(None) if rows is None else rows
    t = source.temperatures(rule, values, pick)
    if t is None:
        q = source.of_labels(rule, values)
        entropy = -(q * np.log(np.maximum(q, 1e-300))).sum(axis=1)
        labels = store.samples["label"].to_numpy()[pick]
        return entropy[labels], q.max(axis=1)[labels]
    curves = store.curves
    prefix = "released_" if chosen.through_head and "released_entropy" in curves else ""
    names = (f"{prefix}entropy", f"{prefix}top_probability")
    return tuple(on_curve(source.curve(name, rows), curves["grid"], t) for name in names)


def summary_under(source: Source, values: Values, rules: Sequence[str] = tuple(RULES)) -> pd.DataFrame:
    """A row a rule: means and sd of T_i, top probability and entropy (nats) of the targets.

    Also what only the logits tell: the share of samples whose largest class is not that of v, and the mass on outputs
    that are dead. Of a fixed part of the samples where there are many; see `part_of`.
    """
    count, dead = len(source.store.samples), source.store.manifest["dead_outputs"]
    rows = part_of(count, source.num_classes)
    pick: Any = slice(None) if rows is None else rows
    found = []
    for name in rules:
        t = source.temperatures(name, values, pick)
        entropy, top = entropy_and_top(source, name, values, rows)
        sums = _of_targets(source, name, values, rows, dead)
        found.append(
            {
                "rule": RULES[name].title,
                "temperature": np.nan if t is None else t.mean(),
                "temperature sd": np.nan if t is None else t.std(),
                "top probability": top.mean(),
                "entropy": entropy.mean(),
                "entropy sd": entropy.std(),
            }
            | sums
        )
    return pd.DataFrame(found)


def _of_targets(
    source: Source, rule: str, values: Values, rows: NDArray[np.int64] | None, dead: Sequence[int]
) -> dict[str, float]:
    """Another largest class than the model's, and the mean mass on dead outputs. Neither follows from a curve."""
    chosen = rule_named(rule)
    prediction = source.store.samples["prediction"].to_numpy()
    names = ("largest class changed", "on dead outputs")
    if not chosen.statistic:
        q, pick = source.of_labels(rule, values), slice(None) if rows is None else rows
        labels = source.store.samples["label"].to_numpy()[pick]
        moved = (q.argmax(axis=1)[labels] != prediction[pick]).mean()
        return dict(zip(names, (float(moved), float(q[:, list(dead)].sum(axis=1)[labels].mean())), strict=True))
    if not dead and not (chosen.through_head and source.store.bias is not None):
        return dict.fromkeys(names, 0.0)
    moved, mass, count = 0, 0.0, 0
    for _, block in source.blocks(rows):
        q = source.targets(rule, values, block)
        moved += int((q.argmax(axis=1) != prediction[block]).sum())
        mass += float(q[:, list(dead)].sum())
        count += len(q)
    return dict(zip(names, (moved / count, mass / count), strict=True))
