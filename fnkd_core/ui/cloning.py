"""A run's command, and its settings in the form of Distill to be changed there."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.checkpoints.several import joined, names_of
from fnkd_core.errors import UserError
from fnkd_core.jobs.reading import Reading
from fnkd_core.jobs.words import parameters_line
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.training.command import command_line, given
from fnkd_core.training.config import RunConfig
from fnkd_core.training.hard_term import said_once
from fnkd_core.ui import address, guard
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.pickers import FURTHER
from fnkd_core.ui.settings import as_typed, key_of
from fnkd_core.ui.view import NONE, View, page_path

CLONED = "cloned"
"""Where the session keeps which run the form was filled from, and its settings."""


def again(one: Reading) -> None:
    """The command that makes the run again, and the way to the form with its settings."""
    try:
        config = RunConfig.from_dict(one.config)
    except UserError as error:  # of another version
        st.caption(prose(f"Its settings are not those of this version: {error}"))
        return
    with st.container(horizontal=True):
        with st.popover("Show command", icon=":material/terminal:"):
            st.code(command_line(config), language="bash", wrap_lines=True)
            st.caption("It trains the same again, as a run of its own.")
        if not guard.read_only() and st.button(
            "Clone",
            icon=":material/content_copy:",
            key=f"clone {one.run.id}",
            help="Its settings in Distill, to change.",
        ):
            fill(one.name, config)
            address.go(page_path("distill"))


def fill(name: str, config: RunConfig) -> None:
    """Give the form of Distill every setting of this run, and the sidebar its data and its teacher."""
    _fill_form(name, config)
    first = (_teachers(config.teacher) or [NONE])[0]
    chosen = {"dataset": config.dataset, "labels": config.labels, "teacher": first}
    st.session_state["choose"] = {key: value for key, value in chosen.items() if value is not None}


def from_link(view: View) -> None:
    """Give the form what the link that was followed says, if one was. `UserError` where that is no record of a run."""
    record = address.linked("settings")
    if record is None:
        return
    own = {"dataset": view.info.name, "labels": view.info.label_space if len(view.info.label_spaces) > 1 else None}
    method = METHODS.get(str(record.get("method")))
    if "teacher" in record or (method and method.needs_teacher):
        named = record.get("teacher")
        more = names_of(named)[1:] if isinstance(named, str) else []
        own["teacher"] = joined([view.teacher.name, *more]) if view.teacher else None
    _fill_form("a link", RunConfig.from_dict(record | own))


def to_link(config: RunConfig) -> None:
    """Let the address say what the form does: all that is not as usual. Data and teacher are those of the sidebar."""
    settings, parameters = given(config)
    for name in ("dataset", "data_root", "labels"):
        settings.pop(name, None)
    st.session_state["settings"] = settings | ({"parameters": parameters} if parameters else {})


def _fill_form(name: str, config: RunConfig) -> None:
    config = said_once(config)
    for field in dataclasses.fields(config):
        value = as_typed(field.name, getattr(config, field.name), config.optimizer)
        st.session_state[key_of(field.name)] = value
    st.session_state[key_of("validation split")] = config.validation > 0
    st.session_state[key_of("teacher")] = config.teacher is not None
    st.session_state[FURTHER] = [name for name in _teachers(config.teacher)[1:] if name != NONE]
    st.session_state["method"] = config.method
    st.session_state.update({f"{config.method} {key}": value for key, value in config.parameters.items()})
    st.session_state[CLONED] = {"name": name, "config": config.to_dict()}


def _teachers(text: str | None) -> list[str]:
    """The names by which pickers have the teachers."""
    return [_offered(name) for name in names_of(text)]


def _offered(teacher: str) -> str:
    try:
        return find_checkpoint(teacher).name
    except UserError:
        return NONE


def said(config: RunConfig) -> None:
    """From which run the form was filled, and in what it differs from that now."""
    cloned: dict[str, Any] | None = st.session_state.get(CLONED)
    if cloned is None:
        return
    now, before = config.to_dict(), cloned["config"]
    differing = [
        f"{key} {_told(now[key])} (was {_told(before.get(key))})"
        for key in now
        if not _same(key, now[key], before.get(key))
    ]
    text = f"Filled from {cloned['name']}, " + (f"now with {'; '.join(differing)}." if differing else "unchanged.")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(literal(text), width="content")
        forget = guard.callback(_back, writes=False)
        st.button("Back to the defaults", type="tertiary", icon=":material/undo:", on_click=forget, key="not cloned")


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return parameters_line(value) or "none"
    return "not set" if value is None else str(value)


def _same(key: str, now: Any, before: Any) -> bool:
    if key == "teacher" and isinstance(before, str):
        return bool(now == before or names_of(now) == _teachers(before))
    return bool(now == before)


def _back() -> None:
    config = RunConfig()
    for field in dataclasses.fields(config):
        st.session_state[key_of(field.name)] = as_typed(field.name, getattr(config, field.name), config.optimizer)
    for method in METHODS:
        st.session_state.update({f"{method} {one.name}": one.default for one in parameters(method)})
    st.session_state.update(
        {key_of("validation split"): True, key_of("teacher"): False, "recipe": "quick", FURTHER: []}
    )
    del st.session_state[CLONED]
