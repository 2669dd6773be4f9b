"""Which runs are there, and how do they compare?"""

import streamlit as st

from fnkd_core.files import stamp
from fnkd_core.jobs.run import ALIVE
from fnkd_core.jobs.summary import summaries
from fnkd_core.paths import runs_dir
from fnkd_core.ui import frame, guard, jobs, runs
from fnkd_core.ui.view import page_path

frame.page("runs", "Which runs are there, how did they go, and what distinguishes them?")
since = stamp(runs_dir())
found = summaries()
if not found:
    jobs.await_others(since)
    st.info("No runs yet. Start one on Distill, or with `fnkd train`.", icon=":material/info:")
    st.page_link(page_path("distill"), label="Train a student", icon=":material/science:")
    raise guard.Enough
alive = any(one["state"] in ALIVE for one in found.values())
guard.fragment(runs.browse, run_every="2s" if alive else None)()
jobs.await_others(since)
