"""Which pictures stand on which page of the Gallery, and in which order they are walked through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.stores.store import Store
from fnkd_core.ui.components.gallery import panel

OF_CLASS = 4
"""So many of the lowest of a class stand on its row, and as many of the highest."""


@dataclass(frozen=True)
class Ends:
    """The lowest norms beside the highest. ids: (M,) by rising norm; per_page: pictures, half of them from each end.

    Each half counts from its end, so that the two never show the same picture.
    """

    store: Store
    ids: NDArray[np.int32]
    per_page: int

    @property
    def _share(self) -> int:
        return max(self.per_page // 2, 1)

    @property
    def _half(self) -> int:
        return math.ceil(len(self.ids) / 2)

    @property
    def num_pages(self) -> int:
        return math.ceil(self._half / self._share)

    def page_of(self, place: int) -> int:
        return min(place, len(self.ids) - 1 - place) // self._share + 1

    def panels(self, page: int) -> list[dict[str, Any]]:
        first, share = (page - 1) * self._share, self._share
        low, high = self.ids[: self._half], self.ids[self._half :][::-1]
        count = len(self.ids)
        return [
            panel(
                title,
                f"{_span(half, first, share)} of {count:,}",
                rows_of(self.store, half[first:][:share]),
                self.store,
            )
            for title, half in (("Lowest norm", low), ("Highest norm", high))
        ]


@dataclass(frozen=True)
class Sorted:
    """By one column. ids: (M,) in that order; column: whose value the tiles tell beside the norm."""

    store: Store
    ids: NDArray[np.int32]
    per_page: int
    column: str
    title: str
    values: NDArray[np.floating] | None = None
    """(N,) of the column, where the store has it not."""

    @property
    def num_pages(self) -> int:
        return math.ceil(len(self.ids) / self.per_page)

    def page_of(self, place: int) -> int:
        return place // self.per_page + 1

    def panels(self, page: int) -> list[dict[str, Any]]:
        first = (page - 1) * self.per_page
        note = f"{_span(self.ids, first, self.per_page)} of {len(self.ids):,}"
        ids = self.ids[first:][: self.per_page]
        rows = rows_of(self.store, ids)
        if self.values is not None:
            rows = rows.assign(**{self.column: self.values[ids]})
        return [panel(self.title, note, rows, self.store, self.column)]


@dataclass(frozen=True)
class ByClass:
    """A row a class: its lowest norms, then its highest. groups: (M_k,) of each class by rising norm."""

    store: Store
    groups: Sequence[NDArray[np.int32]]
    per_page: int

    @property
    def _per_page(self) -> int:
        return max(self.per_page // (2 * OF_CLASS), 1)

    @cached_property
    def ids(self) -> NDArray[np.int32]:
        return np.concatenate([*self.groups, np.empty(0, np.int32)])

    @property
    def num_pages(self) -> int:
        return math.ceil(len(self.groups) / self._per_page)

    def page_of(self, place: int) -> int:
        ends = np.cumsum([len(group) for group in self.groups])
        return int(np.searchsorted(ends, place, "right")) // self._per_page + 1

    def panels(self, page: int) -> list[dict[str, Any]]:
        return [self._row(group) for group in self.groups[(page - 1) * self._per_page :][: self._per_page]]

    def _row(self, group: NDArray[np.int32]) -> dict[str, Any]:
        samples, cut = self.store.samples, min(OF_CLASS, math.ceil(len(group) / 2))
        low, high = group[:cut], group[max(len(group) - OF_CLASS, cut) :]
        norms = samples["norm"].to_numpy()[group]
        right = samples["correct"].to_numpy()[group].mean()
        name = self.store.classes[int(samples["label"].iat[int(group[0])])]
        note = f"{len(group):,} samples, norm {norms.mean():.2f} on average, {right:.0%} right"
        row = panel(name, note, rows_of(self.store, np.concatenate([low, high])), self.store)
        return row | {"split": len(low), "ends": ["lowest", "highest"]}


Arrangement = Ends | Sorted | ByClass


def rows_of(store: Store, ids: NDArray[np.int32]) -> Any:
    """The rows of the store's table with these numbers."""
    return store.samples.iloc[ids]


def place_of(ids: NDArray[np.int32], sample: int) -> int | None:
    """Where a sample stands among these, from 0; None where it does not."""
    found = np.flatnonzero(ids == sample)
    return int(found[0]) if len(found) else None


def _span(ids: NDArray[np.int32], first: int, share: int) -> str:
    last = min(first + share, len(ids))
    # Of an odd number, the upper half has one less and can have nothing on the last page.
    return f"{first + 1:,} to {last:,}" if last > first else "None"
