"""An extraction or import as a page shows it: how far it is, how it ended, and what can be done with it.

Also what can be done where any job has met a broken image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from fnkd_core.data import leave_out_broken, look_again, refuses_broken
from fnkd_core.errors import BrokenImages
from fnkd_core.jobs.tasks import Task, cancel, forget, start
from fnkd_core.ui import guard
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.wording import duration

ALIVE = ("running", "cancelling")
GOES_ON = "It goes on when you leave this page."
"""Stands below what is still being made."""


def left(task: Task) -> str:
    """ ", 3 min left", where that is known."""
    seconds = task.progress.get("left_s")
    return f", {duration(seconds)} left" if isinstance(seconds, int | float) and seconds >= 1 else ""


def show(task: Task, what: str, text: str, share: float) -> None:
    """Progress, or how it ended, with what can be done. what: it makes. text: says how far it is. share: 0 to 1."""
    state = task.state
    with st.container(border=True):
        if state in ALIVE:
            st.progress(min(max(share, 0.0), 1.0), literal(text))
            st.caption(GOES_ON)
        ended(task, state, what, text)


def ended(task: Task, state: str, what: str, text: str = "") -> None:
    """How it ended, and buttons: to stop it, to try again."""
    if state == "failed":
        end = task.end or {}
        st.error(prose(end.get("error") or "It failed without a reason."), icon=":material/error:")
        if end.get("traceback"):
            with st.expander("Traceback", key=f"traceback {task.id}"):
                st.code(end["traceback"], language=None)
    elif state == "interrupted":
        said = f"The process for {what} ended without a word; free some memory and disk, and try again."
        st.warning(literal(f"{said} {text}"), icon=":material/pause_circle:")
    elif state == "cancelled":
        st.info(literal(f"Cancelled. {text}"), icon=":material/cancel:")
    guard.problem(task.id)
    if guard.read_only():
        return
    if state == "failed":
        leave_out_after(task.end or {}, str(task.ask.get("dataset")), lambda: forget(task), at=task.id)
    if state == "running":
        halt = guard.callback(cancel, task, at=task.id, anew=True)
        st.button("Cancel", key=f"cancel {task.id}", icon=":material/stop:", on_click=halt)
    elif state == "cancelling":
        st.caption("Being cancelled.")
    elif state != "finished":
        with st.container(horizontal=True):
            again = guard.callback(_again, task, at=task.id, anew=True)
            label = "Go on" if state == "cancelled" else "Try again"
            st.button(label, key=f"again {task.id}", icon=":material/refresh:", on_click=again)
            if task.id.startswith("import"):
                gone = guard.callback(forget, task, at=task.id, anew=True)
                st.button("Dismiss", key=f"dismiss {task.id}", icon=":material/close:", on_click=gone)


def leave_out_after(
    end: Mapping[str, Any], name: str, before: Callable[[], object] = lambda: None, at: str = guard.PAGE
) -> None:
    """The button below, where a job that ended like this failed by a broken image of such a folder."""
    if end.get("kind") == BrokenImages.__name__ and refuses_broken(name):
        leave_out(name, before, at)


def leave_out(name: str, before: Callable[[], object] = lambda: None, at: str = guard.PAGE) -> None:
    """A button that leaves out from now on what cannot be read in an added folder. before: is done before."""

    def chosen() -> None:
        before()
        leave_out_broken(name)

    st.button(
        "Leave out broken images",
        icon=":material/broken_image:",
        key=f"leave out {at}",
        help="Every image is decoded once, now. It is then other data: what was extracted and trained before stays "
        "that of the data as they were.",
        on_click=guard.callback(chosen, at=at, anew=True),
    )


def _again(task: Task) -> None:
    """Start it again; an extraction from the images as they are now, which the page then asks for."""
    if task.id.startswith("import"):
        start(task)
        return
    look_again()
    forget(task)
