"""Which samples of a store pass, in which order, and how a sample's norm stands among others.

Everything is numbers of samples in arrays: a page of pictures is cut from them, and nothing else is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnkd_core.stores.store import COLUMNS, Store

SORTABLE = (*COLUMNS["f"], "label", "prediction", "correct", "decile", "id")
"""The columns of a store's samples that order them."""
ORDINALS = ("", "second ", "third ", "fourth ", "fifth ", "sixth ", "seventh ", "eighth ", "ninth ", "tenth ")


@dataclass(frozen=True)
class Filters:
    """What a sample has to be to pass. label, prediction: of these classes. correct, other_correct: of the model, and
    of the second one. ranges: (column, low, high), ends included. among: the identity of the
    selection that holds it. Of None anything passes."""

    label: int | None = None
    prediction: int | None = None
    correct: bool | None = None
    other_correct: bool | None = None
    ranges: tuple[tuple[str, float, float], ...] = ()
    among: str | None = None


def passing(
    store: Store,
    filters: Filters,
    other: Store | None = None,
    keys: Collection[str] = (),
    more: Mapping[str, NDArray[np.floating]] | None = None,
) -> NDArray[np.bool_]:
    """(N,) whether each sample passes. other: the second model's store of the same split. keys: of those among which
    it has to be, where it has to. more: (N,) columns that the store has not."""
    samples = store.samples
    keep = np.ones(len(samples), bool)
    for column, wanted in (
        ("label", filters.label),
        ("prediction", filters.prediction),
        ("correct", filters.correct),
    ):
        if wanted is not None:
            keep &= samples[column].to_numpy() == wanted
    if filters.other_correct is not None and other is not None:
        keep &= other.samples["correct"].to_numpy() == filters.other_correct
    for column, low, high in filters.ranges:
        values = (more or {}).get(column)
        values = samples[column].to_numpy() if values is None else values
        keep &= (values >= low) & (values <= high)
    if filters.among is not None:
        keep &= samples["key"].isin(list(keys)).to_numpy()
    return keep


def ordered(values: NDArray[Any], descending: bool = False) -> NDArray[np.int32]:
    """(N,) the samples by a column, those of one value by their numbers; those that have none stand last."""
    if descending:
        values = -values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    return np.argsort(values, kind="stable").astype(np.int32)


def by_class(store: Store, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """The samples of each class that has any, in the order of the classes; in each in the order given. ids: (M,)."""
    labels = store.samples["label"].to_numpy()[ids]
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return [part for part in np.split(ids[order], cuts) if len(part)]


def standing(values: NDArray[np.floating], value: float) -> str:
    """How a value stands among others, itself among them: "third lowest of 360", "higher than 62 % of 10,000".

    Equal values share a place; a share is rounded down, so that it is never more than what is true.
    """
    count, below, above = len(values), int((values < value).sum()), int((values > value).sum())
    place, word = (below, "lowest") if below <= above else (above, "highest")
    if place < len(ORDINALS):
        return f"{ORDINALS[place]}{word} of {count:,}"
    share, word = (above, "lower") if above > below else (below, "higher")
    return f"{word} than {100 * share // count} % of {count:,}"
