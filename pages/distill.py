"""Train a student: which method, with what, for how long?"""

import streamlit as st

from fnkd_core.ui import augmentations, frame, guard, jobs, starting

view = frame.page("distill", "Train a student on this data. It runs in the background and outlives this page.")
if guard.read_only():
    jobs.queue()
    raise guard.Enough
form, live = st.columns([1.15, 1], gap="large")
with form:
    guard.went_well(lambda: starting.form(view))
    guard.went_well(lambda: augmentations.section(view))
with live:
    jobs.queue()
