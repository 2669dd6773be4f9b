"""Runs and comparisons that cannot be shown, in one line that says why, and deleting them and others."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from fnkd_core.experiments.comparison import Comparison, delete_comparison
from fnkd_core.identity import digest
from fnkd_core.jobs.reading import Reading
from fnkd_core.jobs.run import Run, delete_run, stores_of_run
from fnkd_core.jobs.summary import taught_by
from fnkd_core.ui import guard
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.wording import counted

MOST_NAMES = 8
SELECTED = "runs"
WITHIN = "within"
"""Where the session keeps the ids of the rows that are selected on Runs, and of the runs that are selected within the
one row of several that is open; both stand in the address."""


def delete_all(runs: Sequence[Run]) -> None:
    """Those that are gone already are what was wished for."""
    for run in runs:
        if run.path.exists():
            delete_run(run)
    gone = {run.id for run in runs}
    for key in (SELECTED, WITHIN):
        if key in st.session_state:
            st.session_state[key] = [name for name in st.session_state[key] or [] if name not in gone]


def remove(readings: Sequence[Reading]) -> None:
    """Delete, after it has been confirmed: the runs that the confirmation names, whatever has happened since."""
    if guard.read_only():
        return
    # What was said of some is never taken to be of others.
    key = digest([one.run.id for one in readings])
    disabled = any(one.alive for one in readings)
    with st.popover("Delete", icon=":material/delete:", disabled=disabled, key=f"delete {key}"):
        if len(readings) == 1:
            also = along(readings[0].run)
            st.markdown(
                f"Delete **{literal(readings[0].name)}** with all weights and logs? {also}This cannot be undone."
            )
        else:
            st.markdown(f"Delete these {len(readings)} runs with all weights and logs? This cannot be undone.")
            names = [f"- {literal(one.name)}" for one in readings[:MOST_NAMES]]
            more = len(readings) - MOST_NAMES
            st.markdown("\n".join(names + ([f"- and {more} more"] if more > 0 else [])))
        gone = guard.callback(delete_all, [one.run for one in readings], at=f"delete {key}", anew=True)
        st.button("Delete for good", type="primary", key=f"delete for good {key}", on_click=gone)
    guard.problem(f"delete {key}")


def along(run: Run) -> str:
    """What goes with the run, and whom it leaves behind."""
    stores, pupils = len(stores_of_run(run)), len(taught_by(run))
    text = f"What was extracted from its students goes along ({counted(stores, 'store')}). " if stores else ""
    return text + (f"It taught {counted(pupils, 'other run')}, which stay. " if pupils else "")


def broken(reading: Reading, name: str | None = None) -> None:
    """One line for a run that cannot be shown, and the way to be rid of it."""
    st.error(f"**{literal(name or reading.name)}** is broken. {prose(reading.problem)}", icon=":material/broken_image:")
    remove([reading])


def remove_comparison(comparison: Comparison) -> None:
    """Delete the list, after it has been confirmed."""
    if guard.read_only():
        return
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(f"Delete the comparison **{literal(comparison.id)}**? Its runs and their students stay.")
        gone = guard.callback(delete_comparison, comparison, at="comparison", anew=True)
        key = f"delete comparison {comparison.id}"
        st.button("Delete for good", type="primary", key=key, on_click=gone)
