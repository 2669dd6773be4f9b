"""Which images lie together in the features, and how do norm and outcome lie over them?"""

import streamlit as st

from fnkd_core.ui import frame, maps
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import load_stores

view = frame.page("map", "Which images have features that are alike, and how do norm, class and outcome lie over them?")
stores = load_stores(view)
store, layout, colour = maps.controls(stores)
placed = maps.layout_of(store, layout)
event = maps.draw(stores, store, layout, colour, placed)
maps.pictures(store)
st.caption(
    f"{literal(maps.drawn_words(store))} Rest on a point for its picture; draw round some for what they have in "
    f"common. {literal(maps.of_legend(colour))}{literal(maps.READING[layout])}"
)
maps.selected(maps.chosen(event, store.samples), store, stores, view, layout)
