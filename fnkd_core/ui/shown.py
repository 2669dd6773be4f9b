"""A page of the Gallery: its count, its pictures, and the one that is open beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.browsing import Filters
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard
from fnkd_core.ui.arrange import Arrangement, Sorted, place_of
from fnkd_core.ui.browse import Layout, chips, reset, span_words, take_away
from fnkd_core.ui.components.gallery import gallery
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.sample import ASKED, choose_metric, described
from fnkd_core.ui.tagging import Tags

KEY = "gallery"
SAMPLE, OF, TURN_TO = "sample", "sample of", "turn to"
"""Where the session keeps the number of the open sample, or None; of which split; and one whose page is to be shown."""


def count_line(store: Store, chosen: Filters, arrangement: Arrangement) -> int:
    """How many pass of how many, which page of them, and the way back to all. The page."""
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    count = len(arrangement.ids)
    said = [span_words(*one) for one in chosen.ranges if one[0] != "norm"]
    line.caption(
        f"{count:,} of {len(store.samples):,} samples" + (f"; {literal(', '.join(said))}" if said else "") + ".",
        width="content",
    )
    page = _page(arrangement, line)
    if chosen != Filters():
        line.button(
            "Reset filters",
            icon=":material/filter_alt_off:",
            on_click=guard.callback(reset, writes=False),
        )
    return page


def images(
    stores: dict[str, Store],
    layout: Layout,
    chosen: Filters,
    arrangement: Arrangement,
    page: int,
    sample: int | None,
    tags: Tags | None,
) -> None:
    """A page of pictures, and the open one beside them."""
    store, ids = stores[layout.role], arrangement.ids
    panels = arrangement.panels(page)
    shown = [item["id"] for panel in panels for item in panel["items"]] + ([] if sample is None else [sample])
    place = None if sample is None else place_of(ids, sample)

    def told(name: str) -> Any:
        return st.session_state[KEY][name]

    tagging: dict[str, Any] = {}
    if tags is not None:
        tagging["tag"] = guard.callback(lambda: tags.toggle(int(told("tag"))))
    other = next((one for name, one in stores.items() if name != layout.role), None)
    gallery(
        panels,
        layout.size,
        key=KEY,
        keys=True,
        density=layout.density,
        chips=chips(chosen, store.classes, other),
        sample=None if sample is None else described(stores, sample, closes=True, **_walk(ids, sample, place)),
        tagged=None if tags is None else tags.of(np.array(shown, np.int32)),
        opened=guard.callback(lambda: open_it(told("opened")), writes=False),
        removed=guard.callback(lambda: take_away(str(told("removed"))), writes=False),
        metric=guard.callback(lambda: choose_metric(told("metric")), writes=False),
        asked=guard.callback(lambda: st.session_state.update({ASKED: sample}), writes=False),
        **tagging,
    )


def open_it(number: int | None) -> None:
    """Open this sample beside the others, on whose page it stands; None or a negative number closes the open one."""
    st.session_state[SAMPLE] = None if number is None or number < 0 else int(number)
    st.session_state[TURN_TO] = st.session_state[SAMPLE]


def open_sample(store: Store) -> int | None:
    """The open sample, at first the one that the link names. Of other data it is none."""
    state, of, count = st.session_state, store.manifest["identity"], len(store.samples)
    asked = address.linked(SAMPLE)
    if asked is not None:
        state.update({TURN_TO: asked, OF: of})
    elif state.setdefault(OF, of) != of:
        state.update({SAMPLE: None, OF: of})
    sample: int | None = state.get(SAMPLE)
    if sample is not None and sample >= count:
        st.warning(
            f"This link names sample {sample:d}, which is not here: this split has samples 0 to {count - 1:d}.",
            icon=":material/link_off:",
        )
        sample = state[SAMPLE] = None
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
    turn_to = st.session_state.pop(TURN_TO, None)
    if turn_to is not None and (place := place_of(ids, turn_to)) is not None:
        st.session_state["page"] = arrangement.page_of(place)
    percentile = st.session_state.get("percentile")
    if isinstance(arrangement, Sorted) and percentile != st.session_state.get("percentile shown"):
        st.session_state["percentile shown"] = percentile
        if percentile is not None:
            st.session_state["page"] = arrangement.page_of(round(percentile / 100 * (len(ids) - 1)))
    return address.page_of(num_pages, where)
