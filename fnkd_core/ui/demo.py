"""A first comparison for who has nothing here yet: photographs where the network allows, digits otherwise."""

from __future__ import annotations

import streamlit as st

from fnkd_core.data.download.addresses import to_fetch
from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import create_comparison, start
from fnkd_core.experiments.demo import DIGITS, NAME, PHOTOGRAPHS, demo_cells, has_nothing_own
from fnkd_core.ui import address, guard
from fnkd_core.ui.downloads import show_fetching
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.view import page_path

ASKED, REFUSED = "demo asked", "demo refused"


def offer() -> None:
    """The button, where nobody has trained, added or fetched anything yet; and what it does."""
    if guard.read_only() or not has_nothing_own():
        return
    with st.container(border=True):
        st.subheader("Try it on photographs", anchor=False)
        size = to_fetch(PHOTOGRAPHS)
        st.caption(
            literal(
                f"Fetches CIFAR-10 ({size}) and trains a small teacher and two students, KD and FN, on 5,000 of its "
                "images, in the background: some minutes on two cores."
            )
        )
        refused = st.session_state.get(REFUSED)
        if refused:
            st.warning(prose(f"{refused} Digits come along."), icon=":material/cloud_off:")
        with st.container(horizontal=True):
            for words, dataset in (("Start the demo", PHOTOGRAPHS), ("Start it on digits", DIGITS)):
                if dataset == PHOTOGRAPHS or refused:
                    ask = guard.callback(st.session_state.__setitem__, ASKED, dataset)
                    st.button(literal(words), icon=":material/rocket_launch:", on_click=ask)
        guard.problem(NAME)
        if (dataset := st.session_state.pop(ASKED, None)) is not None:
            _begin(dataset)


def _begin(dataset: str) -> None:
    st.session_state.pop(REFUSED, None)
    try:
        if dataset == PHOTOGRAPHS:
            show_fetching(dataset, "CIFAR-10")
    except (UserError, OSError) as error:
        st.session_state[REFUSED] = guard.sentence(error)
        st.rerun()
    comparison = create_comparison(demo_cells(dataset), NAME)
    start(comparison)
    st.session_state["choose"] = {"dataset": dataset, "what": "methods", "comparison": comparison.id}
    address.go(page_path("compare"))
