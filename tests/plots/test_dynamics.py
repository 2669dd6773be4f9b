"""Figures of training hold what they are given: every epoch a frame, every sample a point, never learnt apart."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fnkd_core.analysis.dynamics import NormCounts, common_edges
from fnkd_core.plots import dynamics
from fnkd_core.plots.style import SLOTS


def counted(epoch: int) -> NormCounts:
    return NormCounts(epoch, np.array([1.0, 2.0, 4.0]), np.array([epoch, 1, 0]), np.array([0, 1, 3]))


@pytest.mark.parametrize(("epochs", "frames"), [(1, 1), (3, 3), (200, 200), (1000, 200)])
def test_the_slider_goes_through_the_epochs_from_the_first_to_the_last_on_one_axis(epochs: int, frames: int) -> None:
    counts = [counted(epoch) for epoch in range(1, epochs + 1)]
    figure = dynamics.norms_at_epochs(counts, common_edges(counts, 6))
    names = [int(frame.name) for frame in figure.frames]
    assert len(names) == frames and (names[0], names[-1]) == (1, epochs) and names == sorted(names)
    assert [int(step.label) for step in figure.layout.sliders[0].steps] == names
    for frame in figure.frames:
        right, wrong = (bars.y for bars in frame.data)
        assert (right[0], sum(right), sum(wrong)) == (int(frame.name), int(frame.name) + 1, 4)
    assert figure.layout.yaxis.range[1] >= epochs and [bars.y[0] for bars in figure.data] == [epochs, 0]


def test_norms_of_an_epoch_of_which_nothing_was_seen_are_drawn_as_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    counts = [NormCounts(1, np.zeros(0), nothing, nothing), counted(2)]
    figure = dynamics.norms_at_epochs(counts, common_edges(counts))
    assert sum(sum(bars.y) for bars in figure.frames[0].data) == 0
    assert "–" in figure.frames[0].layout.annotations[0].text
    assert np.isnan(dynamics.norm_quantiles(counts).data[2].y[0])


def test_bands_are_the_middle_80_per_cent_and_lines_the_medians() -> None:
    figure = dynamics.norm_quantiles([counted(8), counted(1)])
    low, high, right = figure.data[:3]
    assert (list(low.y), list(high.y), list(right.y)) == ([1, 1], [2, 2], [1, 1])
    assert list(figure.data[5].y) == [4, 4]


def test_counts_have_a_scale_from_zero_and_differences_one_around_it() -> None:
    rows = pd.DataFrame(
        {"label": [0, 1], "p_mean": 0.5, "p_sd": 0.1, "correctness": 0.5, "forgotten": [0, 0], "norm_last": 2.0}
    ).assign(norm_change=[-1.0, 3.0])
    rows.index = [7, 9]
    counts, differences = (
        dynamics.data_map(rows, name, name, ["a", "b"]).data[0] for name in ("forgotten", "norm_change")
    )
    assert (counts.marker.cmin, counts.marker.cmax) == (0, 1)
    assert differences.marker.cmin == -differences.marker.cmax < -2.9
    assert [row[0] for row in counts.customdata] == [7, 9]
    assert len(dynamics.data_map(rows[:0], "forgotten", "x", ["a", "b"]).data[0].x) == 0


def test_samples_that_were_never_learnt_are_no_samples_that_were_never_forgotten() -> None:
    rows = pd.DataFrame({"learnt": [0, 1, 3, 1], "forgotten": [0, 0, 2, 0]})
    (bars,) = dynamics.forgetting(rows).data
    assert dict(zip(bars.x, bars.y, strict=True)) == {"never learnt": 1, "0": 2, "1": 0, "2": 1}


def test_the_figures_have_the_theme_s_colours_alone() -> None:
    counts = [counted(1), counted(2)]
    for figure in (dynamics.norms_at_epochs(counts, common_edges(counts)), dynamics.norm_quantiles(counts)):
        text = json.dumps(figure.to_plotly_json()["data"], default=str)
        assert {text[i : i + 7] for i in range(len(text)) if text[i] == "#"} <= set(SLOTS)
