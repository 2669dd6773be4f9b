"""‖f‖ by class, sorted by its mean, so that each class can be read: among ten, a hundred or a thousand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fnkd_core.plots.style import GRID, framed, literal, literals
from fnkd_core.plots.words import ends

FEW, MANY = 30, 250
"""Up to so many classes each has a box; up to so many a line of its own, in two columns; more are one curve."""
NAMED = 4
"""Classes that are named at either end of a curve."""
HOVER = (
    "<b>%{text}</b><br>mean ‖f‖ %{customdata[0]:.2f} of %{customdata[1]} samples"
    "<br>half from %{customdata[2]:.2f} to %{customdata[3]:.2f}, nine tenths from %{customdata[4]:.2f} to "
    "%{customdata[5]:.2f}<extra></extra>"
)


def norm_by_class(table: pd.DataFrame, classes: Sequence[str], name: str, colour: str) -> go.Figure:
    """The spread of ‖f‖ in each class, by mean, lowest first; its height is what that many classes need.

    table: of `norms_by_class`. Up to `FEW` classes a box (quartiles, whiskers at 5 and 95 %, mean), up to `MANY` a dot
    for the mean in its quartiles and 5 to 95 %, beyond these as bands around a curve of the means.
    """
    names = literals(classes[label] for label in table["label"])
    if len(table) <= FEW:
        figure = _boxes(table, names, colour)
    elif len(table) <= MANY:
        return _columns(table, names, colour)
    else:
        return _curve(table, names, literal(name), colour)
    figure.update_layout(dragmode="select", selectdirection="h", showlegend=False)
    height = 90 + 26 * max(len(table), 3)
    figure = framed(figure, x="feature norm ‖f‖", y="", says=_words(table, names), height=height)
    figure.update_xaxes(showgrid=True, gridcolor=GRID)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _words(table: pd.DataFrame, names: list[str]) -> str:
    means = f"median {table['mean'].median():.3g}, {ends(names, table['mean'])}"
    return f"Mean ‖f‖ of {len(table):,} classes ({int(table['num_samples'].sum()):,} samples): {means}."


def _facts(table: pd.DataFrame) -> np.ndarray:
    """(C, 6) of what `HOVER` says."""
    return np.asarray(table[["mean", "num_samples", "p25", "p75", "p5", "p95"]])


def _boxes(table: pd.DataFrame, names: list[str], colour: str) -> go.Figure:
    figure = go.Figure(
        go.Box(
            y=names,
            lowerfence=table["p5"],
            q1=table["p25"],
            median=table["p50"],
            q3=table["p75"],
            upperfence=table["p95"],
            orientation="h",
            marker={"color": colour},
            line={"width": 1.5},
            hoverinfo="skip",
        )
    )
    _add_means(figure, table, names, names, colour, size=8)
    return figure


def _add_means(
    figure: go.Figure,
    table: pd.DataFrame,
    y: Sequence[object] | np.ndarray,
    names: list[str],
    colour: str,
    size: int,
    **place: int,
) -> None:
    figure.add_scatter(
        x=table["mean"],
        y=y,
        mode="markers",
        marker={"color": colour, "size": size, "symbol": "diamond"},
        text=names,
        customdata=_facts(table),
        hovertemplate=HOVER,
        **place,
    )


def _columns(table: pd.DataFrame, names: list[str], colour: str) -> go.Figure:
    """Two columns of names, the lower half on the left, over one range of norms."""
    half = -(-len(table) // 2)
    figure = make_subplots(rows=1, cols=2, shared_xaxes="all", horizontal_spacing=0.16)
    for column, rows in ((1, slice(0, half)), (2, slice(half, len(table)))):
        part, named = table.iloc[rows], names[rows]
        y = np.arange(len(part))
        for low, high, width in (("p5", "p95", 1.5), ("p25", "p75", 4)):
            gap = np.full(len(part), np.nan)
            figure.add_scatter(
                x=np.stack([part[low], part[high], gap], axis=1).ravel(),
                y=np.repeat(y, 3),
                mode="lines",
                line={"color": colour, "width": width},
                opacity=0.45,
                hoverinfo="skip",
                row=1,
                col=column,
            )
        _add_means(figure, part, y, named, colour, size=7, row=1, col=column)
        figure.update_yaxes(
            tickmode="array", tickvals=y, ticktext=named, range=[half - 0.4, -0.6], tickfont={"size": 10},
            row=1, col=column,
        )  # fmt: skip
    figure = framed(figure, x="feature norm ‖f‖", y="", says=_words(table, names), height=80 + 14 * half)
    lowest, highest = float(table["p5"].min()), float(table["p95"].max())
    margin = (highest - lowest) * 0.04 or 1.0
    figure.update_xaxes(showgrid=True, gridcolor=GRID, range=[lowest - margin, highest + margin])
    figure.update_yaxes(showgrid=False)
    figure.update_layout(dragmode="select", selectdirection="h", showlegend=False)
    return figure


def _curve(table: pd.DataFrame, names: list[str], name: str, colour: str) -> go.Figure:
    """The classes by rank; the ends are named, the others say their names when pointed at."""
    rank = np.arange(1, len(table) + 1)
    figure = go.Figure()
    for low, high, opacity, said in (("p5", "p95", 0.16, "5 to 95 % of a class"), ("p25", "p75", 0.3, "25 to 75 %")):
        edge = {"mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
        figure.add_scatter(x=rank, y=table[low], showlegend=False, opacity=opacity, **edge)
        figure.add_scatter(x=rank, y=table[high], fill="tonexty", name=said, opacity=opacity, **edge)
    figure.add_scatter(
        x=rank, y=table["mean"], mode="lines", name=f"{name}: mean of a class", line={"color": colour, "width": 2},
        text=names, customdata=_facts(table), hovertemplate=HOVER,
    )  # fmt: skip
    for x, anchor, told in ((0.01, "left", names[:NAMED]), (0.99, "right", names[-NAMED:])):
        which = "lowest" if anchor == "left" else "highest"
        figure.add_annotation(
            x=x, y=0.02, xref="paper", yref="paper", xanchor=anchor, yanchor="bottom", showarrow=False,
            align=anchor, text=f"{which}:<br>" + "<br>".join(told), font={"size": 10},
        )  # fmt: skip
    figure.update_layout(dragmode="select", selectdirection="v")
    return framed(figure, x="class, by mean norm", y="feature norm ‖f‖", says=_words(table, names), height=380)
