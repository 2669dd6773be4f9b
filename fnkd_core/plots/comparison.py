"""Figures of a comparison: each row's interval over its seeds."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from fnkd_core.plots.style import NEUTRAL, STUDENT, TEACHER, framed


def intervals(runs: pd.DataFrame, lines: pd.DataFrame) -> go.Figure:
    """The last epoch's accuracy of each row: every seed, the mean with its 95 % interval, the best epoch's mean.

    runs, lines: `table` and `summary` of `fnkd_core.analysis.comparison`.
    """
    done = runs[runs["state"] == "finished"]
    lines = lines[lines["num_seeds"] > 0]
    figure = go.Figure()
    figure.add_scatter(
        x=done["accuracy"],
        y=done["row"],
        mode="markers",
        name="one seed",
        marker={"color": NEUTRAL, "size": 6, "opacity": 0.6, "symbol": "line-ns-open"},
        customdata=done["seed"],
        hovertemplate="%{y}, seed %{customdata}: %{x:.2%}<extra></extra>",
    )
    figure.add_scatter(
        x=lines["accuracy"],
        y=lines["row"],
        mode="markers",
        name="mean and 95 % interval",
        marker={"color": TEACHER, "size": 9},
        error_x={"array": lines["high"] - lines["accuracy"], "color": TEACHER, "thickness": 1.5, "width": 4},
        customdata=lines[["low", "high", "num_seeds"]],
        hovertemplate="%{y}: %{x:.2%}, %{customdata[0]:.2%} to %{customdata[1]:.2%}, "
        "%{customdata[2]} seeds<extra></extra>",
    )
    figure.add_scatter(
        x=lines["best"],
        y=lines["row"],
        mode="markers",
        name="best epoch, mean",
        marker={"color": STUDENT, "size": 8, "symbol": "diamond-open"},
        hovertemplate="%{y}, best epoch: %{x:.2%}<extra></extra>",
    )
    figure.update_xaxes(tickformat=".1~%")
    order = list(dict.fromkeys(runs["row"]))
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order[::-1])
    return framed(figure, x="test accuracy, last epoch", y="", height=110 + 26 * max(len(lines), 3))
