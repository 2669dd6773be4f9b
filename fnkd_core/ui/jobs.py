"""Live jobs: read from their folders once a second while one is alive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from fnkd_core.checkpoints.library import of_run
from fnkd_core.files import stamp
from fnkd_core.index import Stamp
from fnkd_core.jobs.control import cancel, resume, tend
from fnkd_core.jobs.reading import Reading, read
from fnkd_core.jobs.run import ALIVE, Run
from fnkd_core.jobs.slots import pace
from fnkd_core.jobs.summary import living, outline, summaries
from fnkd_core.jobs.words import parameters_line, results_line, share_of
from fnkd_core.paths import runs_dir
from fnkd_core.plots.models import loss_terms_curves, run_curves
from fnkd_core.ui import charts, guard
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.pickers import choose
from fnkd_core.ui.reading import broken
from fnkd_core.ui.tasks import leave_out_after
from fnkd_core.ui.view import page_path
from fnkd_core.wording import counted, duration

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
MOST_WAITING = 10
LATELY = 5
"""Runs that ended and stay in sight, with what can be done next."""


def badge(state: str) -> None:
    icon, colour = STATES[state]
    st.badge(literal(state), icon=icon, color=colour)  # type: ignore[arg-type]


def await_others(since: Stamp | None) -> None:
    """Below what tells of runs: once one was begun or deleted elsewhere, as by `fnkd train`, the page is run anew.

    since: the stamp of their folder, from before the page looked which there are.
    """
    guard.fragment(_await_others, run_every="3s")(since)


def _await_others(since: Stamp | None) -> None:
    if stamp(runs_dir()) != since:
        st.rerun(scope="app")


def queue() -> None:
    """Jobs that are alive, and the one last started here; refreshed while any is alive, or when one begins."""
    st.header("Jobs", anchor=False)
    since = stamp(runs_dir())
    runs = summaries()
    alive = list(living(runs))
    guard.fragment(_queue, run_every="1s" if alive else None)(alive)
    for name, one in runs.items():
        if one["problem"]:
            broken(outline(name, one))
    await_others(since)


def sight() -> None:
    """One line in the sidebar of every page while runs are alive: how many, and how long yet."""
    if alive := list(living(summaries())):
        guard.fragment(_sight, run_every="2s")(alive)


def _sight(alive_before: list[str]) -> None:
    alive = living(summaries())
    if any(name not in alive for name in alive_before):
        st.rerun(scope="app")  # its student belongs in the pickers
    waiting = sum(one["state"] == "queued" for one in alive.values())
    running = [outline(name, one).run for name, one in alive.items() if one["state"] != "queued"]
    keep_going([outline(name, one).run for name, one in alive.items() if one["state"] == "queued"])
    words = [f"{len(running):,} running"] * bool(running) + [f"{waiting:,} queued"] * bool(waiting)
    left = [now["eta_s"] for now in (run.progress for run in running) if now is not None]
    if left and not waiting:
        words.append(f"{duration(max(left))} left")
    st.page_link(page_path("distill"), label=literal(", ".join(words)), icon=":material/play_circle:")


def _queue(alive_before: list[str]) -> None:
    runs = summaries()
    alive = [*reversed(living(runs))]
    if ended_now := [name for name in alive_before if name not in alive]:
        # One has ended: its student belongs in the pickers, and the clock may stop.
        st.session_state["watched"] = ended_now[0]
        st.rerun(scope="app")
    watched = st.session_state.get("watched")
    waiting = [name for name in alive if runs[name]["state"] == "queued"]
    keep_going([outline(name, runs[name]).run for name in waiting])
    left_out = set(waiting[MOST_WAITING:])
    ids = [name for name in alive if name not in left_out]
    ids += [watched] if watched in runs and watched not in alive else []
    lately = [name for name, one in runs.items() if name not in alive and not one["problem"] and not one["comparison"]]
    lately = [name for name in lately[:LATELY] if name not in ids]
    shown = [one for one in (read(outline(name, runs[name]).run) for name in ids) if not one.problem]  # said below
    if not shown:
        how = "" if guard.read_only() else f"Start one here; several run {pace()}."
        st.info(f"No job is running. {literal(how)}", icon=":material/info:")
    for one in shown:
        with st.container(border=True, key=f"job {one.run.id}"):  # whose charts stay when one above it has ended
            job(one, large=one.state != "queued")
    if left_out:
        st.caption(f"{len(left_out):,} more wait.")
    ended = [one for one in (read(outline(name, runs[name]).run) for name in lately) if not one.problem]
    if ended:
        st.header("Ended lately", anchor=False)
    for one in ended:
        with st.container(border=True):
            brief(one)


def keep_going(waiting: Sequence[Run]) -> None:
    """Whoever looks at runs that wait has somebody serve them, as after the machine was started anew."""
    if waiting and not guard.read_only():
        tend(waiting)


def job(reading: Reading, *, large: bool = True, alone: bool = False) -> None:
    """One job: state, progress, curves, log, and what can be done with it.

    alone: without the curves and the way to Runs, which has them around it.
    """
    run, state, config, metrics = reading.run, reading.state, reading.config, reading.metrics
    head, actions = st.columns([3, 1], vertical_alignment="center")
    with head:
        st.markdown(f"**{literal(reading.name)}**")
        line = f"{config['method']}, {config['student']} on {config['dataset']}, {counted(config['epochs'], 'epoch')}"
        parameters = parameters_line(reading.parameters)
        st.caption(literal(f"{line}, learning rate {config['lr']:g}{f'; {parameters}' if parameters else ''}"))
    with actions:
        badge(state)
    with st.container():
        if state in ALIVE:
            progress(run, state)
            if state != "cancelling" and not guard.read_only():
                halt = guard.callback(cancel, run, at=run.id, anew=True)
                st.button("Cancel", key=f"cancel {run.id}", icon=":material/stop:", on_click=halt)
    if large and metrics and not alone:
        left, right = st.columns(2)
        on = metrics[-1]["evaluated_on"]
        figure = run_curves({reading.name: metrics}, "accuracy", f"accuracy on {on}", percent=True)
        with left:
            charts.chart(figure, key=f"accuracy {run.id}", bar=False)
        with right:
            charts.chart(loss_terms_curves(metrics), key=f"loss {run.id}", bar=False)
    ended(reading, to_runs=not alone)
    guard.problem(run.id)
    if large:
        with st.expander("Log", key=f"log {run.id}"):
            st.code(run.log_tail(40) or "Nothing printed yet.", language=None)


def progress(run: Run, state: str) -> None:
    """A bar with what is left."""
    if state == "queued":
        st.caption("Waits for the runs before it.")
        return
    now = run.progress
    if now is None:
        st.progress(*preparation(run))
        return
    left = f"{duration(now['eta_s'])} left" if now["eta_s"] >= 1 else "almost done"
    text = f"Epoch {now['epoch']} of {now['epochs']}, {left}, {now['samples_per_s']:,.0f} samples/s"
    st.progress(share_of(now), literal(text))


def preparation(run: Run) -> tuple[float, str]:
    """How much is done of what a run needs before its first step, and what that is."""
    now = run.preparing
    if now is None:
        return 0.0, "Loading data and models"
    left = f", {duration(now['eta_s'])} left" if now["eta_s"] >= 1 else ""
    what = now["what"][:1].upper() + now["what"][1:]
    return min(now["done"] / now["total"], 1.0), literal(f"{what}, {now['done']:,} of {now['total']:,} images{left}")


def outcome(reading: Reading) -> str:
    """How it ended, in a sentence; empty while it has not."""
    state, metrics, epochs = reading.state, reading.metrics, reading.config.get("epochs", "?")
    if state == "finished" and metrics:
        where = "with those of its comparison" if reading.comparison else "in the pickers"
        return f"{results_line(reading.results)} The student is {where}."
    if state == "failed":
        return str(reading.end.get("error") or "It failed without a reason.")
    if state == "interrupted":
        done = len(metrics)
        return f"Its process ended without a word, after {done} of {epochs} epochs. Resuming goes on from there."
    if state == "cancelled":
        return f"Cancelled at {len(metrics)} of {epochs} epochs. Resuming goes on from there."
    return ""


def ended(reading: Reading, *, to_runs: bool = True) -> None:
    """How it ended, and the next step. to_runs: with the way to the page Runs."""
    run, state = reading.run, reading.state
    if said := outcome(reading):
        kinds: dict[str, tuple[Callable[..., Any], str]] = {
            "finished": (st.success, "check_circle"),
            "failed": (st.error, "error"),
            "interrupted": (st.warning, "pause_circle"),
            "cancelled": (st.info, "cancel"),
        }
        show, icon = kinds[state]
        show(prose(said), icon=f":material/{icon}:")
    if state == "failed" and reading.end.get("traceback"):
        with st.expander("Traceback", key=f"traceback {run.id}"):
            st.code(reading.end["traceback"], language=None)
    with st.container(horizontal=True, vertical_alignment="center"):
        way_on(reading)
        if state == "finished" and to_runs:
            st.page_link(page_path("runs"), label="All runs", icon=":material/timeline:")


def way_on(reading: Reading) -> None:
    """What can be done with a run that has ended."""
    run, state = reading.run, reading.state
    entry = of_run(run.path) if state == "finished" else None
    if entry:
        # What learnt from labels alone may as well be who others are to learn from.
        for role in ("student",) if run.taught_by else ("student", "teacher"):
            use = guard.callback(choose, role, entry, anew=True, writes=False)
            st.button(
                f"Choose it as {role}",
                key=f"use {run.id} as {role}",
                type="primary" if role == "student" else "secondary",
                on_click=use,
            )
    if state in ("interrupted", "cancelled", "failed") and not guard.read_only():
        if not (run.path / "resolved.json").exists():  # else it has begun with images that it needs to go on
            leave_out_after(reading.end, str(reading.config.get("dataset")), at=run.id)
        again = guard.callback(resume, run, at=run.id, anew=True)
        st.button("Resume", key=f"resume {run.id}", icon=":material/resume:", on_click=again)


def brief(reading: Reading) -> None:
    """A run that ended lately, in two lines."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{literal(reading.name)}**", width="content")
        badge(reading.state)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(prose(outcome(reading)), width="content")
        way_on(reading)
    guard.problem(reading.run.id)
