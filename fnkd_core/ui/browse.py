"""Controls of the Gallery: what to show, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.browsing import SORTABLE, Filters, by_class, ordered, passing
from fnkd_core.data.selections import Selection
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard, inputs
from fnkd_core.ui.arrange import Arrangement, ByClass, Ends, Sorted
from fnkd_core.ui.components.gallery import DENSITIES
from fnkd_core.ui.divergences import Column
from fnkd_core.ui.links import AMONG, COLUMNS, DIVERGENCE, NO_FILTER
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.selection import model_choice
from fnkd_core.ui.stores import kept_of_filters

MODES = {"ends": "Lowest and highest", "sorted": "Sorted", "classes": "By class"}
SIZES = (32, 48, 64, 96, 128, 192, 256)
RANGES = (*COLUMNS, DIVERGENCE)


@dataclass(frozen=True)
class Layout:
    """role: whose norms. mode: of `MODES`. size: pixels a side. density: of `DENSITIES`."""

    role: str
    mode: str
    size: int
    density: str


def layout_controls(stores: dict[str, Store]) -> Layout:
    """How the pictures are laid out."""
    # A row that breaks where it is narrow, instead of columns that cut off what does not fit.
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    role = model_choice(stores, row)
    mode = inputs.on(row).segmented_control(
        "Show",
        list(MODES),
        key=address.key("show", list(MODES)),
        required=True,
        format_func=MODES.__getitem__,
    )
    # Set once and left alone: in sight it would push the pictures off a small screen.
    with row.popover("Size", icon=":material/photo_size_select_large:"):
        size = inputs.on().select_slider("Image size", SIZES, key=address.key("size", SIZES), width=240)
        density = inputs.on().selectbox(
            "Density", DENSITIES, key=address.key("density", DENSITIES), format_func=str.capitalize
        )
    return Layout(role, mode or "ends", int(size), str(density))


def filters(store: Store, other: Store | None = None, among: Selection | None = None) -> Filters:
    """What the samples have to be, chosen in a row above the images. other: the second model's store. among: the
    selection that is shown alone."""
    classes = store.classes
    widths = [1.1, 1.1, 1, 1, 1.8] if other else [1.1, 1.1, 1, 1.8]
    a, b, c, *more, d = st.columns(widths, vertical_alignment="bottom")
    names, outcomes = ["all", *classes], ["all", "right", "wrong"]
    label = inputs.on(a).selectbox("Label", names, key=address.key("cls", names))
    predicted = inputs.on(b).selectbox("Prediction", names, key=address.key("predicted", names))
    outcome = inputs.on(c).selectbox("Outcome", outcomes, key=address.key("outcome", outcomes))
    beside = "all"
    if other is not None:
        text = f"What {literal(other.name)} says of the same image."
        beside = inputs.on(more[0]).selectbox("Other model", outcomes, key=address.key("other", outcomes), help=text)
    low, high = _ends(store)
    ranges = _ranges()
    start = ranges.get("norm", (low, high))
    place = f"norm range {store.path.name}"
    st.session_state[place] = (min(max(start[0], low), high), max(min(start[1], high), low))

    def narrowed() -> None:
        ends = st.session_state[place]
        st.session_state["norm"] = ends if ends != (low, high) else None

    with d:
        inputs.on().slider("Norm ‖f‖", low, high, key=place, on_change=guard.callback(narrowed, writes=False))
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
    found += [{"key": column, "text": span_words(column, low, high)} for column, low, high in chosen.ranges]
    return found


def span_words(column: str, low: float, high: float) -> str:
    """A range as it is said: "‖f‖ 3 to 5", "entropy from 1"."""
    name = "‖f‖" if column == "norm" else column
    if math.isinf(high):
        return f"{name} from {low:.3g}"
    return f"{name} up to {high:.3g}" if math.isinf(low) else f"{name} {low:.3g} to {high:.3g}"


def _ends(store: Store) -> tuple[float, float]:
    """The lowest and the highest norm, rounded outwards to hundredths: no value is left out."""
    norm = store.manifest["norm"]
    low, high = math.floor(100 * norm["min"]) / 100, math.ceil(100 * norm["max"]) / 100
    return low, high if high > low else low + 0.01


def reset() -> None:
    """No filter any more."""
    st.session_state.update(NO_FILTER)


def take_away(name: str) -> None:
    """One filter less. name: of a picker, or a column's."""
    if name in NO_FILTER:
        st.session_state[name] = NO_FILTER[name]


def _ranges() -> dict[str, tuple[float, float]]:
    """Column -> range, as the slider, a selection in a plot or a link has put them."""
    return {column: st.session_state[column] for column in RANGES if st.session_state.get(column)}


def arranged(
    store: Store,
    chosen: Filters,
    layout: Layout,
    other: Store | None,
    keys: Collection[str],
    apart: Callable[[], Column],
) -> Arrangement:
    """The pictures that pass, in the order of the layout. All of it is kept: a click sorts nothing.

    keys: of the selection that is shown alone. apart: gives the divergence of the targets, made where it is asked for.
    """
    column, descending, beside = "norm", False, [other] if other else []
    if layout.mode == "sorted":
        column, descending = _sort_controls()
    asked = column == DIVERGENCE or any(name == DIVERGENCE for name, *_ in chosen.ranges)
    made = apart() if asked else None
    if made:
        st.caption(literal(made.says))
    more = {DIVERGENCE: made.values} if made else {}
    of = made.of if made else None

    def ids() -> NDArray[np.int32]:
        values = more.get(column)
        values = store.samples[column].to_numpy() if values is None else values
        order = kept_of_filters("order", lambda: ordered(values, descending), store, column, descending, of)
        keep = kept_of_filters("passing", lambda: passing(store, chosen, other, keys, more), store, *beside, chosen, of)
        return order[keep[order]]

    those = kept_of_filters("ids", ids, store, *beside, chosen, column, descending, of)
    if layout.mode == "ends":
        return Ends(store, those)
    if layout.mode == "sorted":
        title = f"By {column}, {'highest' if descending else 'lowest'} first"
        return Sorted(store, those, column, title, more.get(column))
    groups = kept_of_filters("groups", lambda: by_class(store, those), store, *beside, chosen, of)
    return ByClass(store, groups)


def _sort_controls() -> tuple[str, bool]:
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    columns = (*SORTABLE, DIVERGENCE)
    column = inputs.on(row).selectbox("Sort by", columns, key=address.key("sort", columns), width=180)
    orders = ("lowest first", "highest first")
    order = inputs.on(row).selectbox("Order", orders, key=address.key("order", orders), width=150)
    inputs.on(row).number_input(
        "Go to percentile",
        0.0,
        100.0,
        None,
        5.0,
        key="percentile",
        placeholder="of the order",
        width=150,
        help="Of the samples that pass, in this order: 50 is the median.",
    )
    if column in RANGES and column != "norm":
        _range_fields(row, str(column))
    return str(column), order == "highest first"


def _range_fields(row: Any, column: str) -> None:
    """From and to of a column, which is then a filter."""
    now = st.session_state.get(column) or (None, None)
    places = [f"{end} {column}" for end in ("from", "to")]

    def narrowed() -> None:
        low, high = (st.session_state[place] for place in places)
        none = low is None and high is None
        low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
        st.session_state[column] = None if none else (min(low, high), max(low, high))

    for place, end, name in zip(places, now, ("From", "To"), strict=True):
        st.session_state[place] = None if end is None or math.isinf(end) else float(end)
        changed = guard.callback(narrowed, writes=False)
        inputs.on(row).number_input(
            name, key=place, value=None, placeholder="any", format="%.4g", width=110, on_change=changed
        )
