"""Live jobs: read from their folders once a second while one is alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from fnkd_core.checkpoints.library import of_run
from fnkd_core.errors import UserError
from fnkd_core.jobs.control import cancel, resume
from fnkd_core.jobs.run import ALIVE, Run, list_runs
from fnkd_core.jobs.words import parameters_line, results_line
from fnkd_core.plots.models import loss_terms_curves, run_curves
from fnkd_core.ui.distill import duration
from fnkd_core.ui.frame import page_path

STATES = {
    "queued": (":material/schedule:", "gray"),
    "running": (":material/play_circle:", "blue"),
    "cancelling": (":material/stop_circle:", "orange"),
    "finished": (":material/check_circle:", "green"),
    "failed": (":material/error:", "red"),
    "cancelled": (":material/cancel:", "gray"),
    "interrupted": (":material/pause_circle:", "orange"),
    "broken": (":material/broken_image:", "red"),
}


def badge(state: str) -> None:
    icon, colour = STATES[state]
    st.badge(state, icon=icon, color=colour)  # type: ignore[arg-type]


def title(run: Run) -> str:
    """A run's own name, else its id."""
    try:
        return str(run.spec.get("name") or run.id)
    except UserError:
        return run.id


def queue() -> None:
    """Jobs that are alive, and the one last started here; refreshed while any is alive."""
    st.subheader("Jobs", anchor=False)
    alive = [run for run in list_runs() if run.state in ALIVE]
    st.fragment(_queue, run_every="1s" if alive else None)([run.id for run in alive])


def _queue(alive_before: list[str]) -> None:
    runs = list_runs()
    states = {run.id: run.state for run in runs}
    if any(states.get(name) not in ALIVE for name in alive_before):
        # One has ended: its student belongs in the pickers, and the clock may stop.
        st.session_state["watched"] = next(name for name in alive_before if states.get(name) not in ALIVE)
        st.rerun(scope="app")
    watched = st.session_state.get("watched")
    shown = [run for run in reversed(runs) if states[run.id] in ALIVE]
    shown += [run for run in runs if run.id == watched and run not in shown]
    if not shown:
        st.info("No job is running. Start one here; several run one after another.", icon=":material/info:")
        return
    for run in shown:
        with st.container(border=True):
            job(run, large=states[run.id] != "queued")


def job(run: Run, *, large: bool = True) -> None:
    """One job: state, progress, curves, log, and what can be done with it."""
    state, config, metrics = run.state, run.config, run.metrics()
    head, actions = st.columns([3, 1], vertical_alignment="center")
    with head:
        st.markdown(f"**{title(run)}**")
        line = f"{config['method']}, {config['student']} on {config['dataset']}, {config['epochs']} epochs"
        parameters = parameters_line(run.parameters)
        st.caption(f"{line}, learning rate {config['lr']:g}{f'; {parameters}' if parameters else ''}")
    with actions:
        badge(state)
    if state in ALIVE:
        progress(run, config, state)
        if state != "cancelling" and st.button("Cancel", key=f"cancel {run.id}", icon=":material/stop:"):
            act(lambda: cancel(run))
    if large and metrics:
        left, right = st.columns(2)
        on = metrics[-1]["evaluated_on"]
        figure = run_curves({title(run): metrics}, "accuracy", f"accuracy on {on}", percent=True)
        left.plotly_chart(figure, key=f"accuracy {run.id}", config={"displayModeBar": False})
        right.plotly_chart(loss_terms_curves(metrics), key=f"loss {run.id}", config={"displayModeBar": False})
    ended(run, state, metrics)
    if large:
        with st.expander("Log", key=f"log {run.id}"):
            st.code(run.log_tail(40) or "Nothing printed yet.", language=None)


def progress(run: Run, config: dict[str, Any], state: str) -> None:
    """A bar with what is left."""
    if state == "queued":
        st.caption("Waits for the runs before it.")
        return
    now = run.progress
    if now is None:
        st.progress(0.0, "Loading data and models")
        return
    done = (now["epoch"] - 1 + now["step"] / now["steps"]) / now["epochs"]
    left = f"{duration(now['eta_s'])} left" if now["eta_s"] >= 1 else "almost done"
    text = f"Epoch {now['epoch']} of {now['epochs']}, {left}, {now['samples_per_s']:,.0f} samples/s"
    st.progress(min(done, 1.0), text)


def ended(run: Run, state: str, metrics: list[dict[str, Any]]) -> None:
    """How it ended, in a sentence, and the next step."""
    end = run.end or {}
    if state == "finished" and metrics:
        st.success(f"{results_line(run.results)} The student is in the pickers.", icon=":material/check_circle:")
        left, right = st.columns(2)
        entry = of_run(run.path)
        if entry and left.button("Choose it as student", key=f"use {run.id}", type="primary", width="stretch"):
            st.session_state["choose"] = {"dataset": run.config["dataset"], "student": entry.name}
            st.rerun(scope="app")
        with right:
            st.page_link(page_path("runs"), label="All runs", icon=":material/timeline:")
    elif state == "failed":
        st.error(end.get("error") or "It failed without a reason.", icon=":material/error:")
        if end.get("traceback"):
            with st.expander("Traceback", key=f"traceback {run.id}"):
                st.code(end["traceback"], language=None)
    elif state == "interrupted":
        st.warning(
            f"Its process ended without a word, after {len(metrics)} finished epochs. Resuming goes on from there.",
            icon=":material/pause_circle:",
        )
    if state in ("interrupted", "cancelled", "failed") and st.button(
        "Resume", key=f"resume {run.id}", icon=":material/resume:"
    ):
        act(lambda: resume(run))


def act(what: Callable[[], object]) -> None:
    """Do something to a run; what stands against it is a sentence. Then everything is read anew."""
    try:
        what()
    except UserError as error:
        st.toast(str(error), icon=":material/error:")
    st.rerun(scope="app")
