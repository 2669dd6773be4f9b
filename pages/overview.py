"""What is loaded, and can it be trusted?"""

import streamlit as st

from fnkd_core.analysis.health import health
from fnkd_core.ui import frame, importing, overview
from fnkd_core.ui.stores import load_stores, side_by_side

view = frame.page("overview", "What is loaded, and can its numbers be trusted?")
st.markdown(f"**{view.info.title}**, {view.split} split. {len(view.info.classes)} classes. {view.info.note}")

if view.models or not view.fitting:
    stores = load_stores(view) if view.models else {}
    for column, (role, store) in zip(st.columns(max(len(stores), 1), gap="medium"), stores.items(), strict=False):
        entry = view.models[role]
        assert entry.card is not None
        with column, st.container(border=True, height="stretch"):
            overview.model_card(role, entry.card, store)
            overview.checks(health(entry.card, store.manifest))

    if len(stores) == 2:
        both = side_by_side(*stores.values())
        overview.agreement(both)

overview.where_next()
st.header("Your own data and checkpoints", anchor=False)
left, right = st.columns(2, gap="medium")
with left:
    importing.form(view)
with right:
    overview.add_data()
overview.library(view)
