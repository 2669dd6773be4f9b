"""Figures of norms show what they are given, at every number of classes, and mark the range that is selected."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ecdf

from fnkd_core.analysis.tables import norms_by_class
from fnkd_core.plots.geometry import MOST_CELLS, MOST_NAMED, class_angles
from fnkd_core.plots.norms import norm_by_outcome, norm_distribution, with_range
from fnkd_core.plots.norms_by_class import FEW, MANY, norm_by_class
from fnkd_core.plots.style import SLOTS
from fnkd_core.plots.verdicts import auroc_intervals


def many_classes(k: int, each: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(k), each))
    return pd.DataFrame({"label": labels, "norm": rng.gamma(9, 1, len(labels)) + labels % 7})


@pytest.mark.parametrize("each", [1, 2, 5, 30])
def test_the_spread_of_each_class_is_what_numpy_says_of_it_lowest_mean_first(each: int) -> None:
    samples = many_classes(12, each)
    samples = samples[samples["label"] != 5]
    table = norms_by_class(samples)
    of_class = [samples["norm"][samples["label"] == label].to_numpy() for label in table["label"]]
    assert table["mean"].is_monotonic_increasing and sorted(table["label"]) == sorted(samples["label"].unique())
    for percent in (5, 25, 50, 75, 95):
        assert table[f"p{percent}"].tolist() == pytest.approx([np.percentile(one, percent) for one in of_class])
    assert table["mean"].tolist() == pytest.approx([one.mean() for one in of_class])
    assert table["num_samples"].tolist() == [each] * 11


@pytest.mark.parametrize("k", [2, 10, FEW, FEW + 1, 100, MANY, MANY + 1, 1000])
def test_every_class_can_be_read_however_many_there_are(k: int) -> None:
    table, names = norms_by_class(many_classes(k, 8)), [f"class {i}" for i in range(k)]
    figure = norm_by_class(table, names, "t", SLOTS[0])
    hovered = [text for trace in figure.data if trace.text is not None for text in trace.text]
    assert hovered == [names[label] for label in table["label"]], "each says its name, in the order of its mean"
    drawn: list[Any] = [x for trace in figure.data if trace.text is not None for x in (trace.x, trace.y)]
    means = np.concatenate([x for x in drawn if np.issubdtype(np.asarray(x).dtype, np.floating)])
    assert means == pytest.approx(table["mean"].to_numpy())
    if k <= MANY:
        rows = k if k <= FEW else -(-k // 2)
        assert figure.layout.height / rows >= 14, "each has a line of its own"
    assert 150 <= figure.layout.height <= 1900
    assert len(json.dumps(figure.to_plotly_json(), default=str)) < 400_000


def test_an_ecdf_is_scipy_s_at_the_places_it_is_drawn() -> None:
    norms = np.random.default_rng(0).gamma(9, 1, 5000)
    (line,) = norm_distribution({"a": norms}, cumulative=True).data
    plain = ecdf(norms).cdf
    assert np.asarray(line.y) == pytest.approx(plain.evaluate(np.asarray(line.x)), abs=2e-3)
    assert (line.x[0], line.x[-1]) == (norms.min(), norms.max())
    two = norm_by_outcome(pd.DataFrame({"norm": norms, "correct": norms > 8}), cumulative=True)
    assert [trace.mode for trace in two.data] == ["lines", "lines"]
    assert two.data[1].x[-1] <= 8 < two.data[0].x[0]


def test_many_groups_are_outlines_over_common_bins_and_none_may_be_empty() -> None:
    groups = {"train": np.arange(50.0), "validation": np.array([]), "test": np.arange(20.0)}
    dashes = ["dot", "dash", "solid"]
    figure = norm_distribution(groups, colours=SLOTS[:1] * 3, dashes=dashes, outlined=True)
    assert [trace.line.dash for trace in figure.data] == dashes
    assert [sum(trace.y) for trace in figure.data] == pytest.approx([1, 0, 1])
    assert not norm_distribution({"a": np.array([])}).layout.shapes


def test_a_selected_range_is_a_shape_in_every_plot_of_a_figure_and_the_kept_figure_stays_as_it_was() -> None:
    kept = norm_distribution({"a": np.arange(9.0)})
    before = len(kept.layout.shapes)
    marked = with_range(kept, (2.0, 4.0))
    assert (marked.layout.shapes[-1].x0, marked.layout.shapes[-1].x1) == (2.0, 4.0)
    assert len(kept.layout.shapes) == before and with_range(kept, None) is kept
    columns = norm_by_class(norms_by_class(many_classes(100)), [str(i) for i in range(100)], "t", SLOTS[0])
    assert len(with_range(columns, (2.0, 4.0)).layout.shapes) == 2
    (shape,) = with_range(
        norm_by_class(norms_by_class(many_classes(300, 3)), ["c"] * 300, "t", "#000001"), (2.0, 4.0), "y"
    ).layout.shapes
    assert (shape.y0, shape.y1) == (2.0, 4.0)


def test_aurocs_stand_on_their_intervals_and_without_one_there_is_no_dot() -> None:
    nan = float("nan")
    found = {"‖f‖": (0.6, 0.55, 0.65), "margin": (0.9, 0.88, 0.92), "none": (nan, nan, nan)}
    figure = auroc_intervals(found, SLOTS[1], "‖f‖", ends=(0.4, 0.95))
    assert [(trace.x[0], trace.y[0]) for trace in figure.data] == [(0.6, "‖f‖"), (0.9, "margin")]
    bars = [(trace.error_x.arrayminus[0], trace.error_x.array[0]) for trace in figure.data]
    assert np.array(bars) == pytest.approx(np.array([(0.05, 0.05), (0.02, 0.02)]))
    assert figure.data[0].marker.color == SLOTS[1] != figure.data[1].marker.color
    low, high = figure.layout.xaxis.range
    assert low < 0.4 and 0.95 < high < 1


@pytest.mark.parametrize("k", [2, 10, 100, 1000])
def test_a_map_of_angles_has_few_enough_cells_and_names_and_is_centred_in_colour(k: int) -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(60, 120, (k, k))
    angles = (angles + angles.T) / 2
    figure = class_angles(angles, [f"c{i}" for i in range(k)], 95.0)
    cells = figure.data[0]
    assert len(cells.x) == len(cells.y) <= MOST_CELLS and len(figure.layout.xaxis.tickvals) <= MOST_NAMED
    assert len(set(cells.x)) == len(cells.x)
    assert (cells.zmin + cells.zmax) / 2 == pytest.approx(95.0)
    size = -(-k // MOST_CELLS)
    block = angles[:size, size : 2 * size]
    assert cells.z[0][1] == pytest.approx(block.mean(), abs=0.06)
    assert figure.layout.height <= 760


def test_the_angle_of_a_class_with_itself_is_no_cell() -> None:
    figure = class_angles(np.full((3, 3), 80.0), list("abc"), 95.0)
    assert np.isnan(np.diag(figure.data[0].z)).all() and figure.data[0].z[0][1] == 80.0
