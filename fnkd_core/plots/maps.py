"""The map of features: a point a sample, coloured by what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from fnkd_core.plots.style import NEUTRAL, RIGHT, SLOTS, WRONG, framed, literal
from fnkd_core.plots.words import each, spread

IN_LEGEND = 9
"""Classes that can have a colour of their own; the tail is "other"."""
DIVERGING = "RdBu_r"
SEQUENTIAL = "Viridis"
OUTCOMES = {True: ("right", RIGHT), False: ("wrong", WRONG)}


def feature_map(
    rows: pd.DataFrame,
    places: NDArray[np.floating],
    colour: str,
    classes: Sequence[str],
    axes: tuple[str, str],
    values: NDArray[np.floating] | None = None,
    coloured: Sequence[str] = (),
) -> go.Figure:
    """The samples at their places.

    rows: of a store's table, in the order of places (n, 2). colour: `class`, `outcome`, or what `values` (n,) are
    called. Values that have both signs are coloured around 0. coloured: the classes with a colour of their own.
    A point's custom value is its sample.
    """
    figure = go.Figure()
    groups = _groups(rows, colour, classes, coloured)
    if groups is None:
        assert values is not None
        figure.add_trace(_points(rows, places, slice(None), "", colour_scale(values, colour)))
        figure.update_layout(showlegend=False)
        told = spread(values)
    else:
        told = each({literal(name): f"{int(keep.sum()):,}" for name, keep, _ in groups})
        for name, keep, marker in groups:
            said = f"{literal(name)} ({int(keep.sum()):,})"
            figure.add_trace(_points(rows, places, keep, said, marker))
    figure.update_layout(dragmode="lasso", hovermode="closest", uirevision="map")
    says = (
        f"Map of the features of {len(rows):,} samples over {literal(axes[0])} and {literal(axes[1])}, coloured by "
        f"{literal(colour)}: {told}."
    )
    framed(figure, x=literal(axes[0]), y=literal(axes[1]), says=says, height=620)
    figure.update_layout(
        legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "itemsizing": "constant"},
        modebar={"remove": ["autoScale2d", "zoomIn2d", "zoomOut2d"]},
    )
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, scaleanchor="x")
    return figure


def most_frequent(labels: NDArray[np.integer], classes: Sequence[str]) -> list[str]:
    """The classes that have a colour of their own where none were chosen."""
    counts = np.bincount(labels, minlength=len(classes))
    frequent = sorted(np.argsort(-counts, kind="stable")[:IN_LEGEND])
    return [classes[k] for k in frequent if counts[k]]


def _groups(
    rows: pd.DataFrame, colour: str, classes: Sequence[str], coloured: Sequence[str]
) -> list[tuple[str, NDArray[np.bool_], dict[str, object]]] | None:
    """Name, which rows, colour of each trace, those below the others first; None for numbers."""
    if colour == "outcome":
        correct = rows["correct"].to_numpy(bool)
        return [(name, correct == is_right, {"color": slot}) for is_right, (name, slot) in OUTCOMES.items()]
    if colour != "class":
        return None
    labels = rows["label"].to_numpy()
    slots = [slot for slot in SLOTS if slot != NEUTRAL]
    found: list[tuple[str, NDArray[np.bool_], dict[str, object]]] = []
    rest = np.ones(len(labels), bool)
    for i, name in enumerate(coloured):
        keep = labels == classes.index(name)
        found.append((name, keep, {"color": slots[i % len(slots)]}))
        rest &= ~keep
    return [*([("other", rest, {"color": NEUTRAL, "opacity": 0.25})] if rest.any() else []), *found]


def colour_scale(values: NDArray[np.floating], title: str) -> dict[str, object]:
    """A colour bar whose ends leave out at most a hundredth of the samples, around 0 where there are both signs."""
    low, high = np.quantile(values, [0.005, 0.995])
    marker: dict[str, object] = {
        "color": values.astype(np.float32),
        "showscale": True,
        "colorbar": {"title": literal(title), "thickness": 14},
    }
    if low < 0 < high:
        end = max(-low, high)
        return marker | {"colorscale": DIVERGING, "cmin": -end, "cmax": end, "cmid": 0}
    return marker | {"colorscale": SEQUENTIAL, "cmin": low, "cmax": high}


def _points(
    rows: pd.DataFrame,
    places: NDArray[np.floating],
    keep: slice | NDArray[np.bool_],
    name: str,
    marker: dict[str, object],
) -> go.Scattergl:
    at = places[keep].astype(np.float32)
    size = 7 if len(rows) <= 1000 else 5 if len(rows) <= 10_000 else 3
    return go.Scattergl(
        x=at[:, 0],
        y=at[:, 1],
        mode="markers",
        name=name,
        marker={"size": size, "opacity": 0.8} | marker,
        # Words for each of 50,000 points would weigh ten times their places; who hovers asks for one's.
        customdata=rows["id"].to_numpy(np.int32)[keep],
        hoverinfo="none",
    )
