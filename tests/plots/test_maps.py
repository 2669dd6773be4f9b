"""The map's figure: every sample once, counts in the legend, differences around zero."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.plots.maps import IN_LEGEND, feature_map, most_frequent

AXES = ("1", "2")


def rows_of(labels: list[int], classes: int) -> pd.DataFrame:
    n = len(labels)
    table = pd.DataFrame({"id": np.arange(n), "label": labels, "norm": np.linspace(1, 2, n)})
    return table.assign(
        prediction=[(k + 1) % classes if k % 2 else k for k in labels], correct=[not k % 2 for k in labels]
    )


@given(labels=st.lists(st.integers(0, 29), min_size=1, max_size=60), colour=st.sampled_from(["class", "outcome"]))
def test_every_sample_is_one_point_and_the_legend_counts_them(labels: list[int], colour: str) -> None:
    classes = [f"class {k}" for k in range(30)]
    rows, places = rows_of(labels, 30), np.zeros((len(labels), 2), np.float32)
    coloured = most_frequent(rows["label"].to_numpy(), classes)
    figure = feature_map(rows, places, colour, classes, AXES, coloured=coloured)
    ids = [int(point) for trace in figure.data for point in trace.customdata]
    assert sorted(ids) == list(range(len(labels))) and len(coloured) <= IN_LEGEND
    for trace in figure.data:
        assert trace.name.endswith(f"({len(trace.x):,})")


def test_the_tail_is_other_and_lies_below() -> None:
    classes = [f"class {k}" for k in range(12)]
    table = rows_of([k for k in range(12) for _ in range(3)], 12)
    figure = feature_map(table, np.zeros((36, 2)), "class", classes, AXES, coloured=["class 11"])
    assert [trace.name for trace in figure.data] == ["other (33)", "class 11 (3)"]


def test_differences_are_coloured_around_zero_and_amounts_are_not() -> None:
    table, places = rows_of([0, 1] * 50, 2), np.zeros((100, 2))
    marker = feature_map(table, places, "d", ["a", "b"], AXES, np.linspace(-1, 3, 100)).data[0].marker
    assert marker.cmin == -marker.cmax and marker.cmid == 0
    marker = feature_map(table, places, "d", ["a", "b"], AXES, np.linspace(1, 3, 100)).data[0].marker
    assert 1 <= marker.cmin < marker.cmax <= 3 and marker.cmid is None
