"""Controls of the Gallery: what to show, in which order, which page."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.stores.store import Store
from fnkd_core.ui import guard
from fnkd_core.ui.components.gallery import panel
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.selection import COLUMNS, model_choice, within

MODES = {"ends": "Lowest and highest", "sorted": "Sorted"}
SIZES = (32, 48, 64, 96, 128)
PER_PAGE = (24, 48, 96)
CHOICES = ("cls", "predicted", "outcome", "other")
"""The filters that are pickers, under the names they have in the URL; the others there are ranges of columns."""


def layout_controls(stores: dict[str, Store]) -> tuple[str, str, int, int]:
    """(role, mode, pixels a side, images a page)."""
    # A row that breaks where it is narrow, instead of columns that cut off what does not fit.
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    role = model_choice(stores, row)
    mode = row.segmented_control(
        "Show",
        list(MODES),
        default="ends",
        key="show",
        bind="query-params",
        required=True,
        format_func=MODES.__getitem__,
    )
    size = row.select_slider("Image size", SIZES, value=64, key="size", bind="query-params", width=200)
    per_page = row.selectbox("Per page", PER_PAGE, index=1, key="count", bind="query-params", width=110)
    return role, mode or "ends", int(size), int(per_page)


def filters(store: Store, other: Store | None = None) -> pd.DataFrame:
    """The samples that pass the filters, which stand in a row above the images. other: the second model's store."""
    samples, classes = store.samples, store.classes
    widths = [1.1, 1.1, 1, 1, 1.8] if other else [1.1, 1.1, 1, 1.8]
    a, b, c, *more, d = st.columns(widths, vertical_alignment="bottom")
    label = a.selectbox("Label", ["all", *classes], key="cls", bind="query-params")
    predicted = b.selectbox("Prediction", ["all", *classes], key="predicted", bind="query-params")
    outcome = c.selectbox("Outcome", ["all", "right", "wrong"], key="outcome", bind="query-params")
    rows = samples
    if label != "all":
        rows = rows[rows["label"] == classes.index(label)]
    if predicted != "all":
        rows = rows[rows["prediction"] == classes.index(predicted)]
    if outcome != "all":
        rows = rows[rows["correct"] == (outcome == "right")]
    if other is not None:
        text = f"What {literal(other.name)} says of the same image."
        beside = more[0].selectbox(
            "Other model", ["all", "right", "wrong"], key="other", bind="query-params", help=text
        )
        if beside != "all":
            rows = rows[other.samples.loc[rows.index, "correct"] == (beside == "right")]
    low, high = _ends(samples["norm"])
    asked = _ranges()
    start = asked.get("norm", (low, high))
    with d:
        chosen = st.slider(
            "Norm ‖f‖",
            low,
            high,
            (min(max(start[0], low), high), max(min(start[1], high), low)),
            key=_slider(store, start),
        )
    ranges = {column: span for column, span in asked.items() if column != "norm"} | {"norm": chosen}
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
            on_click=guard.callback(_reset, store, (low, high), writes=False),
        )
    return rows


def _slider(store: Store, start: tuple[float, float]) -> str:
    """The key of the norm's slider: one that begins elsewhere is another one."""
    return f"norm range {store.path.name} {start}"


def _reset(store: Store, ends: tuple[float, float]) -> None:
    """No filter any more. Pickers and slider are set, before they are drawn: what is in the URL is theirs."""
    st.session_state.update(dict.fromkeys(CHOICES, "all"))
    st.session_state[_slider(store, ends)] = ends
    for column in COLUMNS:
        st.query_params.pop(column, None)


def _ends(values: pd.Series) -> tuple[float, float]:
    """Ends of a slider that leave out no value: rounded outwards to hundredths."""
    low, high = math.floor(100 * values.min()) / 100, math.ceil(100 * values.max()) / 100
    return low, high if high > low else low + 0.01


def _ranges() -> dict[str, tuple[float, float]]:
    """Column -> range, as a selection in a plot has put them into the URL. What cannot be read is left out."""
    found = {}
    for column in COLUMNS:
        low, _, high = st.query_params.get(column, "").partition("~")
        try:
            span = (float(low), float(high))
        except ValueError:
            continue
        if span[0] <= span[1]:
            found[column] = span
    return found


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
    column = a.selectbox("Sort by", (*COLUMNS, "label", "prediction", "correct", "id"), key="sort", bind="query-params")
    descending = b.selectbox("Order", ["lowest first", "highest first"], key="order", bind="query-params")
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
    return int(st.pagination(num_pages, key="page"))
