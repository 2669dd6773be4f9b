"""What a chart shows, in a sentence that opens by mouse and by keyboard."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "fnkd_in_words",
    html="<details><summary>In words</summary><p></p></details>",
    css=(_HERE / "words.css").read_text(),
    js="export default ({ data, parentElement }) => { parentElement.querySelector('p').textContent = data.says; };",
)


def in_words(says: str, *, key: str) -> None:
    """Put the sentence here, as plain text."""
    _component(key=key, data={"says": says})
