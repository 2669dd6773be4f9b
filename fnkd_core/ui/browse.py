"""Controls of the Gallery: what to show, and in which order."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.browsing import SORTABLE, Filters, by_class, ordered, passing
from fnkd_core.data.selections import Selection
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard
from fnkd_core.ui.arrange import OF_CLASS, Arrangement, ByClass, Ends, Sorted
from fnkd_core.ui.components.gallery import DENSITIES
from fnkd_core.ui.links import COLUMNS
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.selection import model_choice
from fnkd_core.ui.stores import kept
from fnkd_core.ui.tagging import AMONG

MODES = {"ends": "Lowest and highest", "sorted": "Sorted", "classes": "By class"}
SIZES = (32, 48, 64, 96, 128, 192, 256)
PER_PAGE = (24, 48, 96)
CHOICES = ("cls", "predicted", "outcome", "other")
"""The filters that are pickers, the others are ranges of columns."""


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
        key=address.key("show", list(MODES)),
        required=True,
        format_func=MODES.__getitem__,
    )
    size = row.select_slider("Image size", SIZES, key=address.key("size", SIZES), width=180)
    density = row.selectbox(
        "Density", DENSITIES, key=address.key("density", DENSITIES), width=140, format_func=str.capitalize
    )
    per_page = row.selectbox("Per page", PER_PAGE, key=address.key("count", PER_PAGE), width=90)
    return Layout(role, mode or "ends", int(size), str(density), int(per_page))


def filters(store: Store, other: Store | None = None, among: Selection | None = None) -> Filters:
    """What the samples have to be, chosen in a row above the images. other: the second model's store. among: the
    selection that is shown alone."""
    classes = store.classes
    widths = [1.1, 1.1, 1, 1, 1.8] if other else [1.1, 1.1, 1, 1.8]
    a, b, c, *more, d = st.columns(widths, vertical_alignment="bottom")
    names, outcomes = ["all", *classes], ["all", "right", "wrong"]
    label = a.selectbox("Label", names, key=address.key("cls", names))
    predicted = b.selectbox("Prediction", names, key=address.key("predicted", names))
    outcome = c.selectbox("Outcome", outcomes, key=address.key("outcome", outcomes))
    beside = "all"
    if other is not None:
        text = f"What {literal(other.name)} says of the same image."
        beside = more[0].selectbox("Other model", outcomes, key=address.key("other", outcomes), help=text)
    low, high = _ends(store)
    ranges = _ranges()
    start = ranges.get("norm", (low, high))
    place = f"norm range {store.path.name}"
    st.session_state[place] = (min(max(start[0], low), high), max(min(start[1], high), low))

    def narrowed() -> None:
        ends = st.session_state[place]
        st.session_state["norm"] = ends if ends != (low, high) else None

    with d:
        st.slider("Norm ‖f‖", low, high, key=place, on_change=guard.callback(narrowed, writes=False))
    return Filters(
        label=classes.index(label) if label != "all" else None,
        prediction=classes.index(predicted) if predicted != "all" else None,
        correct=None if outcome == "all" else outcome == "right",
        other_correct=None if beside == "all" else beside == "right",
        ranges=tuple((column, *span) for column, span in ranges.items()),
        among=among.identity if among else None,
    )


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
    if chosen.among is not None:
        found.append({"key": AMONG, "text": "Selection alone"})
    found += [{"key": c, "text": f"{'‖f‖' if c == 'norm' else c} {a:.3g} to {b:.3g}"} for c, a, b in chosen.ranges]
    return found


def _ends(store: Store) -> tuple[float, float]:
    """The lowest and the highest norm, rounded outwards to hundredths: no value is left out."""
    norm = store.manifest["norm"]
    low, high = math.floor(100 * norm["min"]) / 100, math.ceil(100 * norm["max"]) / 100
    return low, high if high > low else low + 0.01


def reset() -> None:
    """No filter any more."""
    for name in (*CHOICES, *COLUMNS, AMONG):
        take_away(name)


def take_away(name: str) -> None:
    """One filter less. name: of a picker, or a column's."""
    if name in CHOICES:
        st.session_state[name] = "all"
    elif name == AMONG:
        st.session_state[name] = False
    elif name in COLUMNS:
        st.session_state[name] = None


def _ranges() -> dict[str, tuple[float, float]]:
    """Column -> range, as the slider, a selection in a plot or a link has put them."""
    return {column: st.session_state[column] for column in COLUMNS if st.session_state.get(column)}


def arranged(
    store: Store, chosen: Filters, layout: Layout, other: Store | None, keys: Collection[str] = ()
) -> Arrangement:
    """The pictures that pass, in the order of the layout. All of it is kept: a click sorts nothing."""
    column, descending, beside = "norm", False, [other] if other else []
    if layout.mode == "sorted":
        column, descending = _sort_controls()

    def ids() -> NDArray[np.int32]:
        order = kept("order", lambda: ordered(store, column, descending), store, column, descending)
        keep = kept("passing", lambda: passing(store, chosen, other, keys), store, *beside, chosen)
        return order[keep[order]]

    those = kept("ids", ids, store, *beside, chosen, column, descending)
    if layout.mode == "ends":
        return Ends(store, those, layout.per_page)
    if layout.mode == "sorted":
        title = f"By {column}, {'highest' if descending else 'lowest'} first"
        return Sorted(store, those, layout.per_page, column, title)
    groups = kept("groups", lambda: by_class(store, those), store, *beside, chosen)
    return ByClass(store, groups, max(layout.per_page, 2 * OF_CLASS))


def _sort_controls() -> tuple[str, bool]:
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    column = row.selectbox("Sort by", SORTABLE, key=address.key("sort", SORTABLE), width=180)
    orders = ("lowest first", "highest first")
    order = row.selectbox("Order", orders, key=address.key("order", orders), width=150)
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
