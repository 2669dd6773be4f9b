"""The pictures of the Gallery: their count, those around the place that is in sight, and the open one beside them.

All the order can be scrolled through: what the browser asks for as it goes is sent, and nothing else is run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.browsing import Filters
from fnkd_core.data.selections import Selection
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard, verdicts
from fnkd_core.ui.arrange import Arrangement, Sorted, place_of
from fnkd_core.ui.browse import Layout, chips, reset, span_words, take_away
from fnkd_core.ui.links import AT, of_page, query_of
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.sample import OF_NEIGHBOURS, described
from fnkd_core.ui.tagging import Tags, new_labels
from fnkd_core.ui.tiles import tiles

KEY = "gallery"
SAMPLE, OF, TURN_TO, ROWS = "sample", "sample of", "turn to", "rows in sight"
"""Where the session keeps the number of the open sample, or None; of which split; one that is to be brought in sight;
and what is in sight."""
LOOKS = (AT, SAMPLE, "size", "density", "selection")
"""What of the link leaves the order as it is."""
AROUND, MOST = 48, 1200
"""So many pictures before a place are sent, and twice as many from it on, until the browser asks for others; and so
many at most."""


@guard.fragment
def pictures(
    stores: dict[str, Store],
    layout: Layout,
    chosen: Filters,
    arrangement: Arrangement,
    selection: Selection | None,
    tags: Tags | None,
) -> None:
    """The pictures that pass, from the place that is in sight on, and the open one beside them.

    selection: whose new labels are told.
    """
    store = stores[layout.role]
    sample = open_sample(store)
    rows = _rows(arrangement)
    _count_line(store, chosen, arrangement)
    if not len(arrangement.ids):
        st.info("No sample passes these filters. Widen a range, or reset them.", icon=":material/filter_alt_off:")
        return
    _images(stores, layout, chosen, arrangement, rows, sample, selection, tags)
    st.caption(
        f"{literal(verdicts.under_pictures(store))} A frame marks a wrong prediction. Click an image, or press Enter "
        "on it, for its norms, targets and neighbours; arrow keys move, t tags, and ? names the other keys."
    )


def _count_line(store: Store, chosen: Filters, arrangement: Arrangement) -> None:
    """How many pass of how many, and the way back to all."""
    line = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    said = [span_words(*one) for one in chosen.ranges if one[0] != "norm"]
    line.caption(
        f"{len(arrangement.ids):,} of {len(store.samples):,} samples"
        + (f"; {literal(', '.join(said))}" if said else "")
        + ".",
        width="content",
    )
    if chosen != Filters():
        away = guard.callback(reset, writes=False, anew=True)
        line.button("Reset filters", icon=":material/filter_alt_off:", on_click=away)


def _images(
    stores: dict[str, Store],
    layout: Layout,
    chosen: Filters,
    arrangement: Arrangement,
    rows: dict[str, Any],
    sample: int | None,
    selection: Selection | None,
    tags: Tags | None,
) -> None:
    store, ids = stores[layout.role], arrangement.ids
    panels = arrangement.panels(rows["first"], rows["last"], range(*rows["known"]))
    items = [item for panel in panels for item in panel["items"]]
    shown = np.array([item["id"] for item in items] + ([] if sample is None else [sample]), np.int32)
    new = new_labels(selection, store, shown)
    for item in items:
        item["new"] = new.get(item["id"])
    place = None if sample is None else place_of(ids, sample)

    tagging = {} if tags is None else {"tag": guard.Answer(tags.toggle, anew=True)}
    other = next((one for name, one in stores.items() if name != layout.role), None)
    tiles(
        panels,
        layout.size,
        key=KEY,
        density=layout.density,
        chips=chips(chosen, store.classes, other),
        sample=None
        if sample is None
        else described(stores, sample, closes=True, new=new.get(sample), **_walk(ids, sample, place)),
        tagged=None if tags is None else tags.of(shown),
        rows={name: rows[name] for name in ("first", "last", "at", "go")} | {"length": arrangement.num_cells},
        on={
            "opened": guard.Answer(open_it, writes=False),
            "removed": guard.Answer(take_away, writes=False, anew=True),
            "scrolled": guard.Answer(_scrolled, writes=False),
        }
        | OF_NEIGHBOURS
        | tagging,
    )


def open_it(number: int | None) -> None:
    """Open this sample beside the others and bring its tile in sight; None closes the open one."""
    st.session_state[SAMPLE] = number
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


def _scrolled(told: dict[str, Any]) -> None:
    """The browser has come to another place, and asks for the cells around it."""
    held = st.session_state[ROWS]
    if told["goes"]:
        st.session_state.pop(TURN_TO, None)
    elif told["went"] != held["go"]["n"]:
        return  # told before it is where it was sent to meanwhile
    at = int(told["at"])
    # Where it is already: told again, to a browser that begins anew, it is the place to begin at.
    known = [int(end) for end in told["known"]]
    held |= {"first": int(told["first"]), "last": int(told["last"]), "known": known, "at": at}
    held["go"] |= {"cell": at - 1, "top": True}
    st.session_state[AT] = at


def _rows(arrangement: Arrangement) -> dict[str, Any]:
    """Which cells are sent, and which one the browser is to go to.

    first, last: of the cells. known: those of which the browser has the pictures, the first and one after the last. at:
    the place in sight, from 1 on. go: n (another one than before is obeyed), cell, and top (whether it is to be the
    first in sight, or in sight anywhere). of: the order.
    """
    state, count = st.session_state, arrangement.num_cells
    of = query_of("gallery", {name: state.get(name) for name in of_page("gallery") if name not in LOOKS})
    held: dict[str, Any] = state.setdefault(
        ROWS, {"of": of, "at": None, "first": 0, "last": 0, "known": [0, 0], "go": {"n": 0}}
    )
    linked = address.linked(AT) is not None
    if held["of"] != of and not linked:
        state[AT] = 1
    if (to := _percentile(arrangement)) is not None:
        state[AT] = to + 1
    at = state[AT] = min(max(int(state.get(AT) or 1), 1), max(count, 1))
    turn_to = state.pop(TURN_TO, None)
    place = None if turn_to is None or linked else place_of(arrangement.ids, turn_to)
    if held["of"] != of or state.get("_frame"):  # where the whole page is run, the browser may begin anew
        held["known"] = [0, 0]
    if held["at"] != at or held["of"] != of:
        held["go"] = {"n": held["go"]["n"] + 1, "cell": at - 1, "top": True}
    if place is not None:
        held["go"] = {"n": held["go"]["n"] + 1, "cell": arrangement.cell_of(place), "top": False}
    held |= {"of": of, "at": at}
    cell, before, most = held["go"]["cell"], AROUND // arrangement.pictures, MOST // arrangement.pictures
    first = max(held["first"], 0)
    last = min(held["last"], first + most, count)
    if not first <= cell < last:
        first, last = max(cell - before, 0), min(cell + 2 * before, count)
        held |= {"first": first, "last": last, "known": [0, 0]}
    return held | {"first": first, "last": last}


def _percentile(arrangement: Arrangement) -> int | None:
    """The place of the percentile that was asked for just now, from 0 on."""
    percentile = st.session_state.get("percentile")
    if not isinstance(arrangement, Sorted) or percentile == st.session_state.get("percentile shown"):
        return None
    st.session_state["percentile shown"] = percentile
    return None if percentile is None else round(percentile / 100 * (len(arrangement.ids) - 1))
