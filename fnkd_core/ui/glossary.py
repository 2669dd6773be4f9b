"""The words of the pages, in a drawer that every page has."""

from __future__ import annotations

import streamlit as st

from fnkd_core.glossary import words_with
from fnkd_core.ui import guard, inputs
from fnkd_core.ui.markdown import prose


def pressed() -> bool:
    """The button that opens it, and whether it has just been pressed."""
    return st.button("Words", icon=":material/menu_book:", type="tertiary", key="words", help="What the terms mean.")


@guard.dialog("Words", position="right")
def show() -> None:
    """The drawer, and a field to find a term in it."""
    found = words_with(inputs.on().text_input("Find", key="word", placeholder="norm"))
    if not found:
        st.caption("No term has that.")
    st.markdown("\n\n".join(f"**{prose(word)}**  \n{prose(meaning)}" for word, meaning in found.items()))
