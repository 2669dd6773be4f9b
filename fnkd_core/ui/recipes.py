"""The recipe that a form starts from, on Distill and Compare, and what was changed of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from fnkd_core.kd.objective import parameters
from fnkd_core.training.config import RunConfig
from fnkd_core.training.recipes import RECIPES, SET, changed
from fnkd_core.ui import guard, inputs
from fnkd_core.ui.cloning import CLONED
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.settings import KEEP, START, as_typed, key_of

RECIPE = "recipe"
"""The key of the picker."""


def picker() -> None:
    """Which recipe the form starts from. Choosing one fills the form."""
    choose(RECIPE, _begin)


def choose(key: str, fill: Callable[[], None]) -> str:
    """The recipe that a form starts from, in a picker of this key. fill: gives the form what the chosen one sets."""
    name: str = inputs.on().selectbox(
        "Recipe",
        list(RECIPES),
        format_func=lambda name: f"{name}: {RECIPES[name].title}",
        key=key,
        on_change=guard.callback(fill, writes=False),
        help="Settings to start from; each can be changed.",
        **KEEP,
    )
    st.caption(literal(f"{RECIPES[name].purpose} Source: {RECIPES[name].source}."))
    return name


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
    differing(name, [config], _begin, "as the recipe")
    if narrowed := images_line(config):
        st.caption(literal(narrowed))


def images_line(config: RunConfig) -> str:
    """On which images it trains where that is not all of them as they are, which no recipe decides; else ""."""
    parts = {
        f"{config.per_class} of each class": config.per_class,
        f"only those of {config.only}": config.only,
        f"without those of {config.exclude}": config.exclude,
        f"with the labels of {config.relabel}": config.relabel,
        f"{config.label_noise:.0%} with a wrong label": config.label_noise,
        f"read at {config.image_size} pixels": config.image_size,
    }
    said = ", ".join(text for text, given in parts.items() if given)
    return f"The images: {said}." if said else ""


def differing(name: str, configs: Sequence[RunConfig], fill: Callable[[], None], key: str) -> None:
    """In what these runs differ from a recipe, and the way back to it. key: of the button."""
    values: dict[str, tuple[dict[str, None], Any]] = {}
    for config in configs:
        for setting, (now, then) in changed(name, config).items():
            values.setdefault(setting, ({}, then))[0][str(now)] = None
    if not values:
        st.caption(literal(f"Every setting that a recipe decides is that of {name}."))
        return
    listed = "; ".join(f"{setting} {', '.join(now)} (there {then})" for setting, (now, then) in values.items())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(literal(f"As the recipe {name}, but for {listed}."), width="content")
        back = guard.callback(fill, writes=False)
        st.button("Back to the recipe", type="tertiary", icon=":material/undo:", on_click=back, key=key)
