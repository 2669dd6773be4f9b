"""Which augmentation suits the teacher: the question, its progress, and the answer as a chart."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.jobs.tasks import spread_of, start_spread
from fnkd_core.plots.augmentations import spreads
from fnkd_core.training import spread
from fnkd_core.ui import charts, guard, tables, tasks
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.view import View

READING = (
    "The spread of the teacher's mean probability over draws of images, with its 95 % interval: the lower, the better "
    "students were found to become (Wang et al., NeurIPS 2022). No student is trained for it. "
    "The table has the mean ‖f‖ of the views too, mixed ones among them."
)
COLUMNS = {"name": "augmentation", "spread": "spread", "entropy": "entropy of the targets, nats", "norm": "mean ‖f‖"}


def section(view: View) -> None:
    """The question, folded away, where a teacher is chosen and its data are here."""
    if view.teacher is None or view.info.download:
        return
    with st.expander("Which augmentation suits this teacher?", icon=":material/query_stats:"):
        alive = spread_of(view.teacher, view.info).state in tasks.ALIVE
        guard.fragment(live, run_every="1s" if alive else None)(view.teacher, view.info)


def live(teacher: Entry, info: DatasetInfo) -> None:
    """The answer, or how far it is, or the button that asks."""
    task = spread_of(teacher, info)
    alive = task.state in tasks.ALIVE
    if st.session_state.pop("spread alive", False) and not alive:
        st.rerun(scope="app")  # the clock may stop
    st.session_state["spread alive"] = alive
    if (found := spread.found(teacher, info)) is not None:
        charts.chart(spreads(found["rows"]), key="spreads", bar=False)
        st.caption(literal(f"{spread.verdict(found)} {READING}"))
        rows = pd.DataFrame(found["rows"])[list(COLUMNS)].rename(columns=COLUMNS)
        tables.show(rows, hide_index=True, height="content")
        return
    if task.state == "gone":
        st.caption(literal(READING))
        if not guard.read_only():
            begin = guard.callback(start_spread, teacher, info, at="spread", anew=True)
            st.button("Measure", icon=":material/play_arrow:", key="measure spread", on_click=begin)
        guard.problem("spread")
        return
    done, total = task.progress.get("done"), task.progress.get("total")
    share = done / total if isinstance(done, int) and isinstance(total, int) and total else 0.0
    text = f"Asking {teacher.name}: {share:.0%}{tasks.left(task)}"
    tasks.show(task, "the spread", text, share)
