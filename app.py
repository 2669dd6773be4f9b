"""The server: who may come in is decided here, before it listens; what it serves is `dashboard.py`."""

import streamlit as st

from fnkd_core.paths import project_dir
from fnkd_core.ui import door

app = st.App(project_dir() / "dashboard.py", middleware=door.middleware())
