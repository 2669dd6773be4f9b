"""What is selected in a plot, as ranges of columns: the Gallery takes the same ranges as its filters."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.stores.store import Store
from fnkd_core.ui import address, links
from fnkd_core.ui.components.gallery import gallery, panel
from fnkd_core.ui.frame import page_path
from fnkd_core.ui.markdown import literal

PREVIEW = 24


def norm_controls(stores: dict[str, Store]) -> tuple[str, str, int | None]:
    """Which model, split by what, which class: (role, split_by, label or None for all)."""
    a, b, c = st.columns([1, 1.4, 1.2], vertical_alignment="bottom")
    role = model_choice(stores, a)
    ways = ["model", "right / wrong", "class"]
    split_by = b.segmented_control("Split by", ways, key=address.key("by", ways), required=True)
    classes = stores[role].classes
    chosen = c.selectbox(
        "Class",
        ["all", *classes],
        key=address.key("of", ["all", *classes]),
        disabled=split_by == "class",
        filter_mode="contains",
    )
    return role, split_by or "model", classes.index(chosen) if chosen in classes else None


def model_choice(stores: dict[str, Store], where: Any) -> str:
    """Whose norms and predictions are meant. Nothing is asked where there is one model."""
    roles = list(stores)
    if len(roles) == 1:
        return roles[0]
    role: str | None = where.segmented_control(
        "Norms of",
        roles,
        key=address.key("model", roles, roles[0]),
        required=True,
        format_func=lambda role: literal(role.capitalize()),
    )
    return role or roles[0]


def within(samples: pd.DataFrame, ranges: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """The rows whose columns lie in all the ranges, ends included."""
    keep = pd.Series(True, index=samples.index)
    for column, (low, high) in ranges.items():
        keep &= samples[column].between(low, high)
    return samples[keep]


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


def offer(event: Any, role: str, stores: dict[str, Store], axes: tuple[str, ...], cls: int | None = None) -> None:
    """Show the samples of a plot's selection below it, with a way to all of them in the Gallery."""
    ranges = boxed(event, axes)
    if not ranges:
        return
    store = stores[role]
    rows = within(store.samples, ranges)
    if cls is not None:
        rows = rows[rows["label"] == cls]
    rows = rows.sort_values("norm")
    said = ", ".join(f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in ranges.items())
    text, button = st.columns([3, 1], vertical_alignment="center")
    text.markdown(f"**{len(rows):,} samples** selected: {said}.")
    key = "-".join(axes)
    if button.button("Open in the gallery", key=f"open {key}", type="primary", disabled=rows.empty, width="stretch"):
        to_gallery(role, ranges, cls=store.classes[cls] if cls is not None else None)
    if len(rows):
        note = f"The {PREVIEW} lowest of {len(rows):,}." if len(rows) > PREVIEW else ""
        result = gallery([panel("Selected samples", note, rows.head(PREVIEW), store)], 64, key=f"preview {key}")
        if result.opened is not None:
            from fnkd_core.ui.sample import show_sample

            show_sample(stores, int(result.opened))


def to_gallery(role: str, ranges: dict[str, tuple[float, float]], **filters: str | None) -> None:
    """Go to the Gallery with these filters, or choices of the sidebar; they stand in its URL."""
    wanted = dict.fromkeys(links.COLUMNS) | ranges
    wanted |= {"model": role, "show": "sorted", "predicted": "all", "outcome": "all", "other": "all", "page": 1}
    wanted |= {name: value for name, value in filters.items() if value is not None}
    st.session_state["choose"] = wanted
    address.go(page_path("gallery"))
