"""Controls of the Gallery: what to show, in which order, which page."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard
from fnkd_core.ui.components.gallery import panel
from fnkd_core.ui.links import COLUMNS
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.selection import model_choice, within

MODES = {"ends": "Lowest and highest", "sorted": "Sorted"}
SIZES = (32, 48, 64, 96, 128)
PER_PAGE = (24, 48, 96)
CHOICES = ("cls", "predicted", "outcome", "other")
"""The filters that are pickers; the others are ranges of columns."""


def layout_controls(stores: dict[str, Store]) -> tuple[str, str, int, int]:
    """(role, mode, pixels a side, images a page)."""
    # A row that breaks where it is narrow, instead of columns that cut off what does not fit.
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    role = model_choice(stores, row)
    mode = row.segmented_control(
        "Show",
        list(MODES),
        key=address.key("show", list(MODES)),
        required=True,
        format_func=MODES.__getitem__,
    )
    size = row.select_slider("Image size", SIZES, key=address.key("size", SIZES), width=200)
    per_page = row.selectbox("Per page", PER_PAGE, key=address.key("count", PER_PAGE), width=110)
    return role, mode or "ends", int(size), int(per_page)


def filters(store: Store, other: Store | None = None) -> pd.DataFrame:
    """The samples that pass the filters, which stand in a row above the images. other: the second model's store."""
    samples, classes = store.samples, store.classes
    widths = [1.1, 1.1, 1, 1, 1.8] if other else [1.1, 1.1, 1, 1.8]
    a, b, c, *more, d = st.columns(widths, vertical_alignment="bottom")
    names, outcomes = ["all", *classes], ["all", "right", "wrong"]
    label = a.selectbox("Label", names, key=address.key("cls", names))
    predicted = b.selectbox("Prediction", names, key=address.key("predicted", names))
    outcome = c.selectbox("Outcome", outcomes, key=address.key("outcome", outcomes))
    rows = samples
    if label != "all":
        rows = rows[rows["label"] == classes.index(label)]
    if predicted != "all":
        rows = rows[rows["prediction"] == classes.index(predicted)]
    if outcome != "all":
        rows = rows[rows["correct"] == (outcome == "right")]
    if other is not None:
        text = f"What {literal(other.name)} says of the same image."
        beside = more[0].selectbox("Other model", outcomes, key=address.key("other", outcomes), help=text)
        if beside != "all":
            rows = rows[other.samples.loc[rows.index, "correct"] == (beside == "right")]
    low, high = _ends(samples["norm"])
    asked = _ranges()
    start = asked.get("norm", (low, high))
    place = f"norm range {store.path.name}"
    st.session_state[place] = (min(max(start[0], low), high), max(min(start[1], high), low))

    def narrowed() -> None:
        ends = st.session_state[place]
        st.session_state["norm"] = ends if ends != (low, high) else None

    with d:
        st.slider("Norm ‖f‖", low, high, key=place, on_change=guard.callback(narrowed, writes=False))
    ranges = asked
    rows = within(rows, ranges)
    said = [f"{column} {span[0]:.3g} to {span[1]:.3g}" for column, span in ranges.items() if column != "norm"]
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    line.caption(
        f"{len(rows):,} of {len(samples):,} samples" + (f"; {literal(', '.join(said))}" if said else "") + ".",
        width="content",
    )
    if len(rows) < len(samples) or said:
        line.button(
            "Reset filters",
            icon=":material/filter_alt_off:",
            on_click=guard.callback(_reset, writes=False),
        )
    return rows


def _reset() -> None:
    """No filter any more."""
    st.session_state.update(dict.fromkeys(CHOICES, "all") | dict.fromkeys(COLUMNS))


def _ends(values: pd.Series) -> tuple[float, float]:
    """Ends of a slider that leave out no value: rounded outwards to hundredths."""
    low, high = math.floor(100 * values.min()) / 100, math.ceil(100 * values.max()) / 100
    return low, high if high > low else low + 0.01


def _ranges() -> dict[str, tuple[float, float]]:
    """Column -> range, as the slider, a selection in a plot or a link has put them."""
    return {column: st.session_state[column] for column in COLUMNS if st.session_state.get(column)}


def panels(store: Store, rows: pd.DataFrame, mode: str, per_page: int) -> list[dict[str, Any]]:
    """What the gallery shows: the two ends side by side, or a page of the sorted samples."""
    if mode == "ends":
        ordered = rows.sort_values(["norm", "id"])
        share = max(per_page // 2, 1)
        page = _page(math.ceil(len(ordered) / 2 / share))
        # Each half counts from its end, so the two never show the same image.
        low, high = ordered.iloc[: math.ceil(len(ordered) / 2)], ordered.iloc[math.ceil(len(ordered) / 2) :][::-1]
        return [
            panel(
                title, f"{_span(half, page, share)} of {len(ordered):,}", half.iloc[(page - 1) * share :][:share], store
            )
            for title, half in (("Lowest norm", low), ("Highest norm", high))
        ]
    a, b, _ = st.columns([1.2, 1.2, 3], vertical_alignment="bottom")
    columns, orders = (*COLUMNS, "label", "prediction", "correct", "id"), ("lowest first", "highest first")
    column = a.selectbox("Sort by", columns, key=address.key("sort", columns))
    descending = b.selectbox("Order", orders, key=address.key("order", orders))
    ordered = rows.sort_values(column, ascending=descending == "lowest first", kind="stable")
    page = _page(math.ceil(len(ordered) / per_page))
    note = f"{_span(ordered, page, per_page)} of {len(ordered):,}"
    return [panel(f"By {column}, {descending}", note, ordered.iloc[(page - 1) * per_page :][:per_page], store)]


def _span(rows: pd.DataFrame, page: int, per_page: int) -> str:
    first = (page - 1) * per_page
    last = min(first + per_page, len(rows))
    # Of an odd number, the upper half has one less and can have nothing on the last page.
    return f"{first + 1:,} to {last:,}" if last > first else "None"


def _page(num_pages: int) -> int:
    if num_pages < 2:
        return 1
    # A page that the filters have taken away is the last one.
    if st.session_state.get("page", 1) > num_pages:
        st.session_state["page"] = num_pages
    return int(st.pagination(num_pages, key=address.key("page")))
