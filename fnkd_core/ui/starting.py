"""Starting a run from the Distill page: what it is, how long it takes if somebody asks, and the button."""

from __future__ import annotations

import streamlit as st

from fnkd_core.errors import UserError
from fnkd_core.jobs.control import submit
from fnkd_core.jobs.summary import summaries
from fnkd_core.jobs.words import time_line
from fnkd_core.stores.epochs import num_bytes
from fnkd_core.training.command import command_line
from fnkd_core.training.config import RunConfig
from fnkd_core.training.estimate import Cost, cost_key, cost_of
from fnkd_core.training.planned import Asking, to_ask
from fnkd_core.training.resolve import Resolved, look_up
from fnkd_core.ui import guard
from fnkd_core.ui.distill import run_form
from fnkd_core.ui.downloads import offered
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.view import View
from fnkd_core.wording import megabytes


@st.cache_resource(max_entries=256, show_spinner=False)
def _cost(key: str, _config: RunConfig) -> Cost:
    return cost_of(_config)


def time_of(run: Resolved, num_runs: int = 1, asking: Asking | None = None, at_most: bool = False) -> None:
    """How long it will take: on request, since a few steps have to be timed, and then at once for all runs whose steps
    cost the same. asking: what is asked once for all the runs. at_most: whether none of them takes longer than `run`.
    """
    asked = st.session_state.setdefault("timed", set())
    key = cost_key(run)
    if key not in asked:
        st.button(
            "How long?",
            icon=":material/timer:",
            key="how long",
            help="Times a few steps, in a process of its own.",
            on_click=guard.callback(asked.add, key),
        )
        return
    try:
        with st.spinner("Timing a few steps"):
            parts = _cost(key, run.config).parts(run, num_runs, asking)
    except (UserError, OSError) as error:
        asked.discard(key)
        guard.say(error)
        return
    st.markdown(literal(time_line(*parts, at_most=at_most, devices=run.config.devices)), width="content")


def form(view: View) -> None:
    """The form, and below it what it describes."""
    config = run_form(view)
    if config is not None:
        start(config, view)


def start(config: RunConfig, view: View) -> None:
    """The button that starts it, what it is, and on request the time it will take."""
    wait = offered(view.info)
    try:
        found = look_up(config)
    except (UserError, OSError) as error:
        guard.say(error)
        return
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button(
        "Start",
        type="primary",
        icon=":material/play_arrow:",
        width=160,
        disabled=wait,
        on_click=guard.callback(_submit, config, at="start"),
    )
    guard.problem("start")
    about = "about " if found.divides_train else ""
    row.markdown(f"**{config.epochs:,}** epochs of {about}{found.num_images[0]:,} images.", width="content")
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.code(command_line(config), language="bash", wrap_lines=True)
    if there := same_as(found.identity):
        st.caption(literal(there))
    if found.beginning:
        st.caption(literal(found.beginning))
    if asking := to_ask([found]):
        st.caption(literal(str(asking)))
    if config.keep_epochs:
        size = megabytes(num_bytes(config.epochs, found.num_images[0], len(found.info.classes)))
        said = f"Keeping every epoch's norms, p of the label and predictions takes {about}{size} on the disk."
        st.caption(literal(said))
    if not wait:
        with row:
            time_of(found)


def same_as(identity: str) -> str:
    """Of a run that trains the same from the same, or is about to: that another one would repeat it; else ""."""
    alike = [(name, one) for name, one in summaries().items() if one["identity"] == identity]
    if not alike:
        return ""
    name, one = next((pair for pair in alike if pair[1]["state"] == "finished"), alike[0])
    reached = "" if one["accuracy"] is None else f", test accuracy {one['accuracy']:.2%}"
    called = name if one["name"] == name else f"{one['name']} ({name})"
    return f"There is a run of these settings and this seed, {called}: {one['state']}{reached}. Another one repeats it."


def _submit(config: RunConfig) -> None:
    st.session_state["watched"] = submit(config.to_dict()).id
