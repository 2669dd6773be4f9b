"""The frame of every page: configuration, navigation, and the sidebar that says what is loaded."""

import streamlit as st

from fnkd_core.paths import project_dir
from fnkd_core.ui import frame

st.set_page_config(
    page_title="FNKD Lab",
    page_icon=str(project_dir() / "static" / "icon.png"),
    layout="wide",
    menu_items={"About": "**FNKD Lab**: feature norms of image classifiers, and distillation that follows them."},
)
frame.run()
