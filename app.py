"""The server, which decides who may come in, and the frame of every page: navigation, and what is loaded."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from fnkd_core.machine import collect_seldom
from fnkd_core.paths import project_dir
from fnkd_core.ui import door, frame

if get_script_run_ctx(suppress_warning=True) is None:
    # The server imports this file before it listens, and runs it for each session.
    collect_seldom()
    app = st.App(__file__, middleware=door.middleware())
else:
    st.set_page_config(
        page_title="FNKD Lab",
        page_icon=str(project_dir() / "static" / "icon.png"),
        layout="wide",
        menu_items={"About": "**FNKD Lab**: feature norms of image classifiers, and distillation that follows them."},
    )
    frame.run()
