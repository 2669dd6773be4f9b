"""A page that shows texts in each of the ways in which pages show those of others; for a test of the helpers."""

import json
import os
from pathlib import Path

import streamlit as st

from fnkd_core.ui.markdown import code, literal, prose

for i, text in enumerate(json.loads((Path(os.environ["FNKD_HOME"]) / "texts.json").read_text())):
    with st.container(key=f"text-{i}"):
        st.markdown(literal(text))
        st.caption(f"x {prose(text)}")
        st.button(literal(text), key=f"button {i}")
        st.markdown(f":smile {code(text)}")
        st.error(f"**name: {literal(text)}**: smile: {literal(text)}:")
