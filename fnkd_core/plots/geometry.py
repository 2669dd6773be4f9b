"""Angles between the class means of a model's features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from fnkd_core.plots.style import MOST_NAMED, STUDENT, TEACHER, framed, literals, turn
from fnkd_core.plots.words import ends

MOST_CELLS = 125
"""Rows of the map: of more classes, neighbours in the order are drawn together."""


def class_angles(angles: np.ndarray, names: Sequence[str], middle: float) -> go.Figure:
    """The angles between classes as a map; half its colours on either side of `middle`.

    angles: (C, C) in degrees, the classes in the order to draw them. names: of the classes, in that order. Of more than
    `MOST_CELLS` classes a cell is the mean over pairs of neighbouring classes.
    """
    size = -(-len(names) // MOST_CELLS)
    values, labels = _together(angles, names, size)
    reach = max(float(np.nanmax(np.abs(values - middle))), 1e-6)
    steps = max(1, -(-len(labels) // MOST_NAMED))
    figure = go.Figure(
        go.Heatmap(
            x=labels,
            y=labels,
            z=np.round(values, 1).astype(np.float32),
            zmin=middle - reach,
            zmax=middle + reach,
            colorscale=[[0, STUDENT], [0.5, "rgba(255,255,255,0)"], [1, TEACHER]],
            colorbar={"thickness": 10, "outlinewidth": 0, "ticksuffix": "°"},
            hovertemplate="%{y}<br>%{x}<br>%{z:.1f}°<extra></extra>",
            hoverongaps=False,
        )
    )
    height = int(min(760, max(320, 150 + 26 * len(labels))))
    framed(figure, x="", y="", says=_words(values, labels, len(names), size), height=height)
    ticks = {
        "tickmode": "array",
        "tickvals": labels[::steps],
        "ticktext": labels[::steps],
        "tickfont": {"size": 10},
        "ticks": "",
    }
    # Where not all have room, those at the side are enough: the order is the same.
    figure.update_xaxes(tickangle=turn(labels), showticklabels=steps == 1, **ticks)
    figure.update_yaxes(autorange="reversed", showgrid=False, **ticks)
    figure.update_layout(dragmode=False, margin={"t": 10})
    return figure


def _words(values: np.ndarray, labels: Sequence[str], num_classes: int, size: int) -> str:
    """The closest and the furthest cell of the map."""
    a, b = np.triu_indices(len(labels), 0 if size > 1 else 1)
    pairs = values[a, b]
    if not np.isfinite(pairs).any():
        return f"Angles between the means of {num_classes:,} classes: there is no pair."
    few = np.unique([np.nanargmin(pairs), np.nanargmax(pairs)])
    told = ends([f"{labels[a[i]]} and {labels[b[i]]}" for i in few], pairs[few], ".1f", "closest", "furthest apart")
    of = f" Each value is a mean over {size} by {size} neighbouring classes." if size > 1 else ""
    median = np.nanmedian(pairs)
    return f"Angles between the means of {num_classes:,} classes in degrees: median {median:.1f}, {told}.{of}"


def _together(angles: np.ndarray, names: Sequence[str], size: int) -> tuple[np.ndarray, list[str]]:
    """Means over blocks of size x size pairs of different classes, and what to call each; NaN on the diagonal."""
    values = np.asarray(angles, float).copy()
    np.fill_diagonal(values, np.nan)
    if size < 2:
        return values, literals(names)
    starts = np.arange(0, len(names), size)
    there = ~np.isnan(values)
    sums, counts = (
        np.add.reduceat(np.add.reduceat(one, starts, axis=0), starts, axis=1)
        for one in (np.where(there, values, 0.0), there.astype(float))
    )
    whole = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    parts = [names[start : start + size] for start in starts.tolist()]
    return whole, literals(f"{part[0]} … {part[-1]}" if len(part) > 1 else part[0] for part in parts)
