"""The Gallery: what to show, in which order, which page, and the one that is open beside the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.browsing import SORTABLE, Filters, by_class, ordered, passing
from fnkd_core.stores.store import Store
from fnkd_core.ui import guard
from fnkd_core.ui.arrange import OF_CLASS, Arrangement, ByClass, Ends, Sorted, place_of
from fnkd_core.ui.components.gallery import DENSITIES, gallery
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.sample import ASKED, choose_metric, described
from fnkd_core.ui.selection import COLUMNS, model_choice
from fnkd_core.ui.stores import kept

MODES = {"ends": "Lowest and highest", "sorted": "Sorted", "classes": "By class"}
SIZES = (32, 48, 64, 96, 128, 192, 256)
PER_PAGE = (24, 48, 96)
CHOICES = ("cls", "predicted", "outcome", "other")
"""The filters that are pickers, under the names they have in the URL; the others there are ranges of columns."""
KEY = "gallery"
SAMPLE = "sample"
"""Where the session keeps the number of the open sample, or None."""


@dataclass(frozen=True)
class Layout:
    """role: whose norms. mode: of `MODES`. size: pixels a side. density: of `DENSITIES`. per_page: pictures."""

    role: str
    mode: str
    size: int
    density: str
    per_page: int


def layout_controls(stores: dict[str, Store]) -> Layout:
    """How the pictures are laid out."""
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
    size = row.select_slider("Image size", SIZES, value=64, key="size", bind="query-params", width=180)
    density = row.selectbox(
        "Density", DENSITIES, key="density", bind="query-params", width=140, format_func=str.capitalize
    )
    per_page = row.selectbox("Per page", PER_PAGE, index=1, key="count", bind="query-params", width=90)
    return Layout(role, mode or "ends", int(size), str(density), int(per_page))


def filters(store: Store, other: Store | None = None) -> Filters:
    """What the samples have to be, chosen in a row above the images. other: the second model's store."""
    classes = store.classes
    widths = [1.1, 1.1, 1, 1, 1.8] if other else [1.1, 1.1, 1, 1.8]
    a, b, c, *more, d = st.columns(widths, vertical_alignment="bottom")
    label = a.selectbox("Label", ["all", *classes], key="cls", bind="query-params")
    predicted = b.selectbox("Prediction", ["all", *classes], key="predicted", bind="query-params")
    outcome = c.selectbox("Outcome", ["all", "right", "wrong"], key="outcome", bind="query-params")
    beside = "all"
    if other is not None:
        text = f"What {literal(other.name)} says of the same image."
        beside = more[0].selectbox(
            "Other model", ["all", "right", "wrong"], key="other", bind="query-params", help=text
        )
    low, high = ends(store)
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
    ranges = {column: span for column, span in asked.items() if column != "norm"}
    if chosen != (low, high):
        ranges["norm"] = chosen
    return Filters(
        label=classes.index(label) if label != "all" else None,
        prediction=classes.index(predicted) if predicted != "all" else None,
        correct=None if outcome == "all" else outcome == "right",
        other_correct=None if beside == "all" else beside == "right",
        ranges=tuple((column, *span) for column, span in ranges.items()),
    )


def count_line(store: Store, chosen: Filters, arrangement: Arrangement) -> int:
    """How many pass of how many, which page of them, and the way back to all. The page."""
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    count = len(arrangement.ids)
    said = [f"{column} {low:.3g} to {high:.3g}" for column, low, high in chosen.ranges if column != "norm"]
    line.caption(
        f"{count:,} of {len(store.samples):,} samples" + (f"; {literal(', '.join(said))}" if said else "") + ".",
        width="content",
    )
    page = _page(arrangement, line)
    if chosen != Filters():
        line.button(
            "Reset filters",
            icon=":material/filter_alt_off:",
            on_click=guard.callback(_reset, store, writes=False),
        )
    return page


def chips(chosen: Filters, classes: Sequence[str], other: Store | None) -> list[dict[str, str]]:
    """What can be taken away one by one: key and text of each filter."""
    right = {True: "right", False: "wrong"}
    found = []
    if chosen.label is not None:
        found.append({"key": "cls", "text": f"Label {classes[chosen.label]}"})
    if chosen.prediction is not None:
        found.append({"key": "predicted", "text": f"Prediction {classes[chosen.prediction]}"})
    if chosen.correct is not None:
        found.append({"key": "outcome", "text": f"Outcome {right[chosen.correct]}"})
    if chosen.other_correct is not None and other is not None:
        found.append({"key": "other", "text": f"{other.name} {right[chosen.other_correct]}"})
    found += [{"key": c, "text": f"{'‖f‖' if c == 'norm' else c} {a:.3g} to {b:.3g}"} for c, a, b in chosen.ranges]
    return found


def ends(store: Store) -> tuple[float, float]:
    """The lowest and the highest norm, rounded outwards to hundredths: no value is left out."""
    norm = store.manifest["norm"]
    low, high = math.floor(100 * norm["min"]) / 100, math.ceil(100 * norm["max"]) / 100
    return low, high if high > low else low + 0.01


def _slider(store: Store, start: tuple[float, float]) -> str:
    """The key of the norm's slider: one that begins elsewhere is another one."""
    return f"norm range {store.path.name} {start}"


def _reset(store: Store) -> None:
    """No filter any more. Pickers and slider are set, before they are drawn: what is in the URL is theirs."""
    for key in (*CHOICES, *COLUMNS):
        _take_away(store, key)


def _take_away(store: Store, key: str) -> None:
    """One filter less. key: of a picker, or a column's."""
    if key in CHOICES:
        st.session_state[key] = "all"
    elif key in COLUMNS:
        st.query_params.pop(key, None)
        if key == "norm":
            st.session_state[_slider(store, ends(store))] = ends(store)


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


def arranged(store: Store, chosen: Filters, layout: Layout, other: Store | None) -> Arrangement:
    """The pictures that pass, in the order of the layout. All of it is kept: a click sorts nothing."""
    column, descending = "norm", False
    if layout.mode == "sorted":
        column, descending = _sort_controls()

    def ids() -> NDArray[np.int32]:
        order = kept("order", lambda: ordered(store, column, descending), store, column, descending)
        keep = kept("passing", lambda: passing(store, chosen, other), store, *([other] if other else []), chosen)
        return order[keep[order]]

    those = kept("ids", ids, store, *([other] if other else []), chosen, column, descending)
    if layout.mode == "ends":
        return Ends(store, those, layout.per_page)
    if layout.mode == "sorted":
        title = f"By {column}, {'highest' if descending else 'lowest'} first"
        return Sorted(store, those, layout.per_page, column, title)
    groups = kept("groups", lambda: by_class(store, those), store, *([other] if other else []), chosen)
    return ByClass(store, groups, max(layout.per_page, 2 * OF_CLASS))


def _sort_controls() -> tuple[str, bool]:
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    column = row.selectbox("Sort by", SORTABLE, key="sort", bind="query-params", width=180)
    order = row.selectbox("Order", ["lowest first", "highest first"], key="order", bind="query-params", width=150)
    row.number_input(
        "Go to percentile",
        0.0,
        100.0,
        None,
        5.0,
        key="percentile",
        placeholder="of the order",
        width=150,
        help="Of the samples that pass, in this order: 50 is the median. The page that holds it is shown.",
    )
    return str(column), order == "highest first"


def images(
    stores: dict[str, Store], layout: Layout, chosen: Filters, arrangement: Arrangement, page: int, sample: int | None
) -> None:
    """A page of pictures, and the open one beside them."""
    store, ids = stores[layout.role], arrangement.ids
    place = None if sample is None else place_of(ids, sample)

    def told(name: str) -> Any:
        return st.session_state[KEY][name]

    def opened() -> None:
        number = told("opened")
        st.session_state[SAMPLE] = None if number is None or number < 0 else int(number)
        st.session_state["turn to"] = st.session_state[SAMPLE]

    other = next((one for name, one in stores.items() if name != layout.role), None)
    gallery(
        arrangement.panels(page),
        layout.size,
        key=KEY,
        density=layout.density,
        chips=chips(chosen, store.classes, other),
        sample=None if sample is None else described(stores, sample, closes=True, **_walk(ids, sample, place)),
        opened=guard.callback(opened, writes=False),
        removed=guard.callback(lambda: _take_away(store, str(told("removed"))), writes=False),
        metric=guard.callback(lambda: choose_metric(told("metric")), writes=False),
        asked=guard.callback(lambda: st.session_state.update({ASKED: sample}), writes=False),
    )


def open_sample(store: Store) -> int | None:
    """The open sample, which the link named that this session came by. Of other data it is none."""
    if SAMPLE not in st.session_state:
        asked = st.query_params.get(SAMPLE, "")
        st.session_state[SAMPLE] = int(asked) if asked.isdecimal() else None
        st.session_state["turn to"] = st.session_state[SAMPLE]
        if asked and st.session_state[SAMPLE] is None:
            st.warning(f"This link names sample {literal(asked)}, which is no number.", icon=":material/link_off:")
    of, count = store.manifest["identity"], len(store.samples)
    if st.session_state.setdefault("sample of", of) != of:
        st.session_state.update({SAMPLE: None, "sample of": of})
    sample: int | None = st.session_state[SAMPLE]
    if sample is not None and sample >= count:
        st.warning(
            f"This link names sample {sample:d}, which is not here: this split has samples 0 to {count - 1:d}.",
            icon=":material/link_off:",
        )
        sample = st.session_state[SAMPLE] = None
    return sample


def _walk(ids: NDArray[np.int32], sample: int, place: int | None) -> dict[str, Any]:
    """Where the sample stands among those that pass, and its neighbours in their order."""
    if place is None:
        return {"place": f"Not among the {len(ids):,} that pass", "previous": None, "next": None}
    return {
        "place": f"{place + 1:,} of {len(ids):,}",
        "previous": int(ids[place - 1]) if place else None,
        "next": int(ids[place + 1]) if place + 1 < len(ids) else None,
    }


def _page(arrangement: Arrangement, where: Any) -> int:
    """The page that is shown, chosen in a row of numbers; first the one on which a sample stands that was opened."""
    num_pages, ids = arrangement.num_pages, arrangement.ids
    turn_to = st.session_state.pop("turn to", None)
    if turn_to is not None and (place := place_of(ids, turn_to)) is not None:
        st.session_state["page"] = arrangement.page_of(place)
    percentile = st.session_state.get("percentile")
    if isinstance(arrangement, Sorted) and percentile != st.session_state.get("percentile shown"):
        st.session_state["percentile shown"] = percentile
        if percentile is not None:
            st.session_state["page"] = arrangement.page_of(round(percentile / 100 * (len(ids) - 1)))
    if num_pages < 2:
        return 1
    # A page that the filters have taken away is the last one.
    if st.session_state.get("page", 1) > num_pages:
        st.session_state["page"] = num_pages
    return int(where.pagination(num_pages, key="page"))
