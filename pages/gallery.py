"""Which images have the lowest and the highest feature norm?"""

import streamlit as st

from fnkd_core.ui import browse, frame, guard, shown, tagging
from fnkd_core.ui.common import common
from fnkd_core.ui.divergences import divergence
from fnkd_core.ui.stores import load_stores

view = frame.page("gallery", "Which images have the lowest and the highest norm, and what is predicted for them?")
stores = load_stores(view)
layout = browse.layout_controls(stores)
store = stores[layout.role]
other = next((one for name, one in stores.items() if name != layout.role), None)
selection = tagging.current(view)
alone = tagging.shown_alone(selection)
chosen = browse.filters(store, other, alone)
arrangement = browse.arranged(
    store, chosen, layout, other, alone.keys if alone else (), lambda: divergence(stores, layout.role, view)
)
tags = None if guard.read_only() else tagging.Tags(view, store, selection)
shown.pictures(stores, layout, chosen, arrangement, selection, tags)
if len(arrangement.ids) > 1:
    with st.expander("What do these have in common?", icon=":material/join_inner:"):
        common(store, arrangement)
if not guard.read_only():
    with st.expander("Saved selections", icon=":material/bookmark:"):
        words = ", ".join(chip["text"] for chip in browse.chips(chosen, store.classes, other)) or "no filter"
        tagging.selections(view, store, arrangement.ids, words)
