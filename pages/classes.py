"""Which classes count as similar, for aLSD, for label noise and for wkd?"""

import streamlit as st

from fnkd_core.ui import class_costs, frame, similar_classes

view = frame.page("classes", "Which classes count as similar, for aLSD, for label noise and for wkd?")
draft = similar_classes.draft_of(view.info)
similar_classes.beginning(view.info, draft)
left, right = st.columns([7, 6], gap="medium")
with left:
    st.header("Groups", anchor=False)
    st.caption("Classes of the same group are similar. Double-click a group to change it.")
    similar_classes.others(view, draft)
    similar_classes.editor(view.info, draft)
    used = similar_classes.in_use(view.info, draft.now)
    similar_classes.keeping(view.info, draft, used)
with right:
    st.header("One class, for example", anchor=False)
    st.caption("aLSD gives some of the label's mass back: ε₁ to all classes, ε₂ to the similar ones, A(x).")
    label = similar_classes.example(view.info, draft.now, used)
    st.caption("Label noise of the kind similar takes its wrong labels from A(x) too.")
    st.subheader("What wkd pays for mass elsewhere", anchor=False)
    class_costs.costs(view, draft.now, label, used)
