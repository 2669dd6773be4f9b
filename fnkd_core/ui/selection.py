"""What is selected in a plot, as ranges of columns: the Gallery takes the same ranges as its filters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.stores.store import Store
from fnkd_core.ui import address, inputs, links
from fnkd_core.ui.components.gallery import panel
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.tiles import tiles
from fnkd_core.ui.view import page_path
from fnkd_core.wording import counted

PREVIEW = 24
TITLES = {
    "norm": "‖f‖",
    "nll": "NLL",
    "p_label": "p of the label",
    "max_logit": "max logit",
    "logit_std": "std of logits",
}
"""What columns are called in sentences, where it is not by their own name."""


def model_choice(stores: Mapping[str, object], where: Any) -> str:
    """Whose norms and predictions are meant. Nothing is asked where there is one model."""
    roles = list(stores)
    if len(roles) == 1:
        return roles[0]
    role: str | None = inputs.on(where).segmented_control(
        "Norms of",
        roles,
        key=address.key("model", roles, roles[0]),
        required=True,
        format_func=lambda role: literal(role.capitalize()),
    )
    return role or roles[0]


def inside(samples: pd.DataFrame, ranges: Mapping[str, tuple[float, float]]) -> NDArray[np.bool_]:
    """(N,) whether a sample's columns lie in all the ranges, ends included."""
    keep = np.ones(len(samples), bool)
    for column, (low, high) in ranges.items():
        values = samples[column].to_numpy()
        keep &= (values >= low) & (values <= high)
    return keep


def within(samples: pd.DataFrame, ranges: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """The rows whose columns lie in all the ranges, ends included."""
    return samples[inside(samples, ranges)]


def boxed(event: Any, axes: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Column -> range of the box that was drawn in a plot, empty where there is none. axes: columns of x and y."""
    boxes = event.selection.get("box") or []
    if not boxes or not axes:
        return {}
    found = {}
    for column, key in zip(axes, ("x", "y"), strict=False):
        low, high = sorted(float(x) for x in boxes[0][key][:2])
        found[column] = (low, high)
    return found


def drawn_round(event: Any, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """(N,) which of the points at x and y (N,) lie in a box or a lasso of a plot, drawn there or not; None without."""
    keep: NDArray[np.bool_] | None = None
    for box in event.selection.get("box") or []:
        (left, right), (low, high) = sorted(box["x"][:2]), sorted(box["y"][:2])
        inner = (x >= left) & (x <= right) & (y >= low) & (y <= high)
        keep = inner if keep is None else keep | inner
    for lasso in event.selection.get("lasso") or []:
        inner = _in_polygon(np.array([lasso["x"], lasso["y"]], np.float64), x, y)
        keep = inner if keep is None else keep | inner
    return keep


def _in_polygon(corners: NDArray[np.float64], x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) whether a ray from each point leaves the polygon with these corners (2, C) by an odd number of edges."""
    odd = np.zeros(len(x), bool)
    for (x0, y0), (x1, y1) in zip(corners.T, np.roll(corners.T, -1, axis=0), strict=True):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return odd


def offer(
    ranges: Mapping[str, tuple[float, float]], role: str, stores: Mapping[str, Store], cls: int | None = None
) -> None:
    """Show the samples in these ranges of one model's columns, and a way to all of them in the Gallery.

    role: the model whose columns are meant, which is said. cls: the label they are of, or None for all. Without a
    selection the place is there all the same, so that what stands below never moves; see `charts.chart`.
    """
    with st.container():
        if ranges:
            _offer(ranges, role, stores, cls)


def _offer(ranges: Mapping[str, tuple[float, float]], role: str, stores: Mapping[str, Store], cls: int | None) -> None:
    store = stores[role]
    keep = inside(store.samples, ranges)
    if cls is not None:
        keep &= store.samples["label"].to_numpy() == cls
    count = int(keep.sum())
    lowest = store.order[keep[store.order]][:PREVIEW]
    of = f" of class {literal(store.classes[cls])}" if cls is not None else ""
    spans = ", ".join(f"{TITLES.get(name, name)} {_span(*span)}" for name, span in ranges.items())
    text, button = st.columns([3, 1], vertical_alignment="center")
    text.markdown(
        f"**{counted(count, 'sample')}** selected{of}: {literal(spans)}, under {literal(role.capitalize())} "
        f"{literal(store.name)}, {literal(store.manifest['split'])} split."
    )
    key = "-".join(ranges)
    if button.button("Open in the gallery", key=f"open {key}", type="primary", disabled=not count, width="stretch"):
        to_gallery(role, dict(ranges), cls=store.classes[cls] if cls is not None else None)
    if count:
        note = f"The {PREVIEW} lowest of {count:,}." if count > PREVIEW else ""
        shown = panel("Selected samples", note, store.samples.iloc[lowest], store)
        opened = tiles([shown], 64, key=f"preview {key}")
        if opened is not None:
            from fnkd_core.ui.sample import show_sample

            show_sample(dict(stores), opened)


def _span(low: float, high: float) -> str:
    if low == -math.inf:
        return f"up to {high:.4g}"
    return f"from {low:.4g}" if high == math.inf else f"{low:.4g} to {high:.4g}"


def to_gallery(role: str, ranges: dict[str, tuple[float, float]], **filters: str | None) -> None:
    """Go to the Gallery with these filters, or choices of the sidebar; they stand in its URL."""
    wanted = links.NO_FILTER | ranges | {"model": role, "show": "sorted", links.AT: 1}
    wanted |= {name: value for name, value in filters.items() if value is not None}
    st.session_state["choose"] = wanted
    address.go(page_path("gallery"))
