"""The recipe that the form of Distill starts from, and what was changed of it."""

from __future__ import annotations

import streamlit as st

from fnkd_core.kd.objective import parameters
from fnkd_core.training.config import RunConfig
from fnkd_core.training.recipes import RECIPES, SET, changed
from fnkd_core.ui import guard
from fnkd_core.ui.cloning import CLONED
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.settings import KEEP, START, as_typed, key_of

RECIPE = "recipe"
"""The key of the picker."""


def picker() -> None:
    """Which recipe the form starts from. Choosing one fills the form."""
    st.selectbox(
        "Recipe",
        list(RECIPES),
        format_func=lambda name: f"{name}: {RECIPES[name].title}",
        key=RECIPE,
        on_change=guard.callback(_begin, writes=False),
        help="Settings to start from; each can be changed.",
        **KEEP,
    )
    chosen = RECIPES[st.session_state[RECIPE]]
    st.caption(literal(f"{chosen.purpose} Source: {chosen.source}."))


def _begin() -> None:
    """Give the form what the recipe sets, and back what any other one has set."""
    chosen, usual = RECIPES[st.session_state[RECIPE]], RunConfig()
    optimizer = chosen.settings.get("optimizer", usual.optimizer)
    for name in SET:
        value = chosen.settings.get(name, getattr(usual, name))
        st.session_state[key_of(name)] = as_typed(name, value, optimizer)
    st.session_state[key_of("validation split")] = chosen.settings.get("validation", usual.validation) > 0
    for one in (*RECIPES.values(), chosen):
        for method, values in one.parameters.items():
            defaults = {p.name: p.default for p in parameters(method)}
            own = values if one is chosen else {name: defaults[name] for name in values}
            st.session_state.update({f"{method} {name}": value for name, value in own.items()})
    st.session_state.pop(CLONED, None)


def said(config: RunConfig) -> None:
    """In what the form differs from its recipe now. Of one that was filled from a run, that is said instead."""
    if CLONED in st.session_state:
        return
    name = st.session_state[RECIPE]
    lacking = [key for key in RECIPES[name].needs if getattr(config, key) is None]
    if lacking:
        st.info(literal(f"{name} needs {' and '.join(lacking)}: see {START}."), icon=":material/info:")
    differing = [f"{key} {now} (there {then})" for key, (now, then) in changed(name, config).items()]
    if not differing:
        st.caption(literal(f"As {name} has it."))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(literal(f"As {name} has it, but for {'; '.join(differing)}."), width="content")
        back = guard.callback(_begin, writes=False)
        st.button("Back to the recipe", type="tertiary", icon=":material/undo:", on_click=back, key="as the recipe")
