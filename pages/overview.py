"""What is loaded, and can it be trusted?"""

import streamlit as st

from fnkd_core.ui import demo, frame, guard, importing, overview
from fnkd_core.ui.downloads import offered
from fnkd_core.ui.markdown import literal, prose

view = frame.page("overview", "What is loaded, and can its numbers be trusted?")
st.markdown(
    f"**{literal(view.info.title)}**, {literal(view.split)} split. {len(view.info.classes):,} classes. "
    + prose(view.info.note)
)

# In one place whatever it shows: when an extraction ends, what is open or half written below stays as it is.
with st.container():
    if not offered(view.info) and view.models:
        guard.went_well(lambda: overview.models(view))

overview.where_next()
demo.offer()
if not guard.read_only():
    st.header("Your own data and checkpoints", anchor=False)
    left, right = st.columns(2, gap="medium")
    with left:
        importing.form(view)
    with right:
        overview.add_data()
overview.library(view)
