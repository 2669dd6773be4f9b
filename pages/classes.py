"""Which classes count as similar, for aLSD and for label noise?"""

import streamlit as st

from fnkd_core.ui import frame, similar

view = frame.page("classes", "Which classes count as similar, for aLSD and for label noise?")
draft = similar.draft_of(view.info)
similar.beginning(view.info, draft)
left, right = st.columns([7, 6], gap="medium")
with left:
    st.header("Groups", anchor=False)
    st.caption("Classes of the same group are similar. Double-click a group to change it.")
    similar.others(view, draft)
    similar.editor(view.info, draft)
    similar.keeping(view.info, draft)
with right:
    st.header("One class, for example", anchor=False)
    st.caption("aLSD gives some of the label's mass back: ε₁ to all classes, ε₂ to the similar ones, A(x).")
    similar.example(view.info, draft.now)
    st.caption("Label noise of the kind similar takes its wrong labels from A(x) too.")
