"""What the Norms page says where the chosen models come from no run that kept its epochs, and the ways to one."""

from __future__ import annotations

import dataclasses

import streamlit as st

from fnkd_core.checkpoints.library import Entry
from fnkd_core.errors import UserError
from fnkd_core.jobs.run import Run
from fnkd_core.stores.epochs import kept_epochs
from fnkd_core.training.command import command_line
from fnkd_core.training.config import RunConfig
from fnkd_core.ui import address, cloning, guard
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.view import View, page_path

MOST_NAMES = 4


def show(view: View) -> None:
    """A sentence, the students that have some, and the command that trains one."""
    names = " nor ".join(literal(entry.name) for entry in view.models.values())
    st.info(
        f"{'Neither ' if len(view.models) > 1 else ''}{names} {'comes' if len(view.models) > 1 else 'does not come'} "
        "from a run that kept its epochs. With *Keep every epoch's norms*, among the settings on Distill, a run keeps "
        "‖f‖, p of the label and the prediction of each training sample in every epoch; it asks the network nothing "
        "more.",
        icon=":material/timeline:",
    )
    # One for each run: its last epoch's, which stands before its best one's.
    found = {entry.path.parent: entry for entry in reversed(view.fitting)}
    others = [entry for run, entry in reversed(found.items()) if kept_epochs(run) is not None]
    if others:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("These did:", width="content")
            for other in others[:MOST_NAMES]:
                choose = guard.callback(st.session_state.update, {"choose": {"student": other.name}}, writes=False)
                st.button(literal(other.name), key=f"kept {other.name}", on_click=choose)
            if len(others) > MOST_NAMES:
                st.caption(f"and {len(others) - MOST_NAMES:,} more, in the sidebar.", width="content")
    entry, config = _to_repeat(view)
    again = f"This trains {entry.name} again, with its epochs kept:" if entry else "Such a training, for example:"
    st.caption(literal(again))
    st.code(command_line(config), language="bash", wrap_lines=True)
    if not guard.read_only() and st.button("Set it up in Distill", icon=":material/science:"):
        cloning.fill(entry.name if entry else "Norms", config)
        address.go(page_path("distill"))


def _to_repeat(view: View) -> tuple[Entry | None, RunConfig]:
    """The run of a chosen model, the student's first, that could be made again with its epochs kept; else a plain
    one."""
    for entry in reversed(view.models.values()):
        try:
            config = RunConfig.from_dict(Run(entry.path.parent).config)
        except (UserError, OSError, KeyError):  # of no run, or of another version's
            continue
        return entry, dataclasses.replace(config, keep_epochs=True)
    labels = view.info.label_space if len(view.info.label_spaces) > 1 else None
    return None, RunConfig(dataset=view.info.name, labels=labels, keep_epochs=True)
