"""Filters, orders and places are those that pandas and a plain count give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.analysis.browsing import SORTABLE, Filters, by_class, ordered, passing, standing
from fnkd_core.stores.store import Store


def test_what_passes_is_what_all_filters_let_through(teacher_store: Store, fn_store: Store) -> None:
    samples = teacher_store.samples
    filters = Filters(label=3, correct=True, ranges=(("norm", 11.0, 14.0), ("entropy", 0.0, 0.5)))
    keep = passing(teacher_store, filters)
    expected = samples[
        (samples["label"] == 3)
        & samples["correct"]
        & samples["norm"].between(11, 14)
        & samples["entropy"].between(0, 0.5)
    ]
    assert np.flatnonzero(keep).tolist() == expected["id"].tolist() and 0 < len(expected) < 36
    assert passing(teacher_store, Filters()).all()
    other = passing(teacher_store, Filters(correct=False, other_correct=True), fn_store)
    assert np.array_equal(other, ~samples["correct"] & fn_store.samples["correct"])


@pytest.mark.parametrize("column", SORTABLE)
@pytest.mark.parametrize("descending", [False, True])
def test_any_column_orders_the_samples_and_equal_ones_stand_by_number(
    teacher_store: Store, column: str, descending: bool
) -> None:
    samples = teacher_store.samples
    expected = samples.sort_values([column, "id"], ascending=[not descending, True])["id"]
    if column == "id":
        expected = samples["id"].sort_values(ascending=not descending)
    assert ordered(teacher_store.samples[column].to_numpy(), descending).tolist() == expected.tolist()


def test_within_each_class_the_order_stays(teacher_store: Store) -> None:
    order = ordered(teacher_store.samples["norm"].to_numpy())
    groups = by_class(teacher_store, order)
    assert [len(group) for group in groups] == teacher_store.samples["label"].value_counts().sort_index().tolist()
    for label, group in enumerate(groups):
        rows = teacher_store.samples.loc[group]
        assert (rows["label"] == label).all() and rows["norm"].is_monotonic_increasing
    assert by_class(teacher_store, order[:0]) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "lowest of 360"), (2, "third lowest of 360"), (9, "tenth lowest of 360"), (10, "lower than 96 % of 360"),
        (359, "highest of 360"), (358, "second highest of 360"), (349, "higher than 96 % of 360"),
        (180, "higher than 50 % of 360"), (179, "lower than 50 % of 360"),
    ],
)  # fmt: skip
def test_a_place_is_said_by_its_nearer_end(value: int, said: str) -> None:
    assert standing(np.arange(360.0), value) == said


def test_equal_values_share_a_place_and_one_alone_is_the_lowest() -> None:
    assert standing(np.array([1.0, 1.0, 2.0]), 1.0) == "lowest of 3"
    assert standing(np.array([1.0]), 1.0) == "lowest of 1"
    assert standing(np.array([1.0, 2.0]), 2.0) == "highest of 2"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.data())
def test_a_share_that_is_said_is_never_more_than_what_is_true(values: list[int], data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(values))
    said = standing(np.array(values, float), value)
    if "than" in said:
        word, _, share = said.split()[:3]
        true = sum(v > value if word == "lower" else v < value for v in values) / len(values)
        assert int(share) / 100 <= true < int(share) / 100 + 0.01
