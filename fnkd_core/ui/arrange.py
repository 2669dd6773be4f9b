"""Which pictures stand where in the Gallery, and in which order they are walked through.

The place of a picture is its cell, from 0 on: one for each picture, for a pair of both ends, or for a class.
"""

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
    """The lowest norms beside the highest, each half from its end on. ids: (M,) by rising norm.

    The two never show the same picture; of an odd number the upper half has one less.
    """

    store: Store
    ids: NDArray[np.int32]
    pictures: int = 2
    """Of a cell."""

    @property
    def num_cells(self) -> int:
        return math.ceil(len(self.ids) / 2)

    def cell_of(self, place: int) -> int:
        return min(place, len(self.ids) - 1 - place)

    def panels(self, first: int, last: int, known: range = range(0)) -> list[dict[str, Any]]:
        """The cells from `first` to before `last`, in one list or in several beside each other.

        known: the cells whose pictures the browser has.
        """
        low, high = self.ids[: self.num_cells], self.ids[self.num_cells :][::-1]
        return [
            panel(title, "", rows_of(self.store, half[first:last]), self.store, known=_moved(known, first))
            | {"count": len(half)}
            for title, half in (("Lowest norm", low), ("Highest norm", high))
        ]


@dataclass(frozen=True)
class Sorted:
    """By one column. ids: (M,) in that order; column: whose value the tiles tell beside the norm."""

    store: Store
    ids: NDArray[np.int32]
    column: str
    title: str
    values: NDArray[np.floating] | None = None
    """(N,) of the column, where the store has it not."""
    pictures: int = 1

    @property
    def num_cells(self) -> int:
        return len(self.ids)

    def cell_of(self, place: int) -> int:
        return place

    def panels(self, first: int, last: int, known: range = range(0)) -> list[dict[str, Any]]:
        ids = self.ids[first:last]
        rows = rows_of(self.store, ids)
        if self.values is not None:
            rows = rows.assign(**{self.column: self.values[ids]})
        shown = panel(self.title, "", rows, self.store, self.column, _moved(known, first))
        return [shown | {"count": len(self.ids)}]


@dataclass(frozen=True)
class ByClass:
    """A cell a class: its lowest norms, then its highest. groups: (M_k,) of each class by rising norm."""

    store: Store
    groups: Sequence[NDArray[np.int32]]
    pictures: int = 2 * OF_CLASS

    @cached_property
    def ids(self) -> NDArray[np.int32]:
        return np.concatenate([*self.groups, np.empty(0, np.int32)])

    @property
    def num_cells(self) -> int:
        return len(self.groups)

    def cell_of(self, place: int) -> int:
        ends = np.cumsum([len(group) for group in self.groups])
        return int(np.searchsorted(ends, place, "right"))

    def panels(self, first: int, last: int, known: range = range(0)) -> list[dict[str, Any]]:
        return [self._row(group, first + i in known) for i, group in enumerate(self.groups[first:last])]

    def _row(self, group: NDArray[np.int32], known: bool) -> dict[str, Any]:
        samples, cut = self.store.samples, min(OF_CLASS, math.ceil(len(group) / 2))
        low, high = group[:cut], group[max(len(group) - OF_CLASS, cut) :]
        norms = samples["norm"].to_numpy()[group]
        right = samples["correct"].to_numpy()[group].mean()
        name = self.store.classes[int(samples["label"].iat[int(group[0])])]
        note = f"{len(group):,} samples, norm {norms.mean():.2f} on average, {right:.0%} right"
        rows = rows_of(self.store, np.concatenate([low, high]))
        row = panel(name, note, rows, self.store, known=range(len(rows) if known else 0))
        return row | {"split": len(low), "ends": ["lowest", "highest"]}


Arrangement = Ends | Sorted | ByClass


def rows_of(store: Store, ids: NDArray[np.int32]) -> Any:
    """The rows of the store's table with these numbers."""
    return store.samples.iloc[ids]


def _moved(known: range, first: int) -> range:
    """These cells as places in what begins with `first`."""
    return range(known.start - first, known.stop - first)


def place_of(ids: NDArray[np.int32], sample: int) -> int | None:
    """Where a sample stands among these, from 0; None where it does not."""
    found = np.flatnonzero(ids == sample)
    return int(found[0]) if len(found) else None
