"""Methods over seeds, on the Compare page: watch a comparison fill, read what its runs say together."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from fnkd_core.checkpoints.library import of_run
from fnkd_core.errors import UserError
from fnkd_core.experiments import seeds as analysis
from fnkd_core.experiments.comparison import Comparison, list_comparisons, start, state_of, stop
from fnkd_core.experiments.plan import NOT_CHOSEN
from fnkd_core.experiments.report import as_text, report
from fnkd_core.experiments.status import CellStatus, computed, results, settings_line, statuses_of
from fnkd_core.jobs.reading import read
from fnkd_core.jobs.words import share_of
from fnkd_core.plots.seeds import intervals, norm_against_accuracy, sweep_lines, sweep_map
from fnkd_core.spreadsheets import csv_of
from fnkd_core.ui import address, charts, comparison_link, guard, inputs, tables
from fnkd_core.ui.comparison_form import form
from fnkd_core.ui.jobs import keep_going
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.reading import broken, remove_comparison
from fnkd_core.ui.view import View

ALL_ROWS = "all"
ALONE = "alone"
"""In the link, that a sweep is shown over nothing else."""
OF_A_COMPARISON = ("best", "along", "over")
"""Names of the link that are picked for one comparison and dropped with it."""
BRIEFLY = {
    "accuracy": "test accuracy",
    "best": "of the best epoch",
    "validation": "on validation",
    "agreement": "agreement",
}
"""Measure -> its heading in fewer words."""
SHOWN = "comparison shown"
"""The key of the comparison that was shown last."""


def show(view: View) -> None:
    """The form, and the comparison that is chosen."""
    found = list_comparisons()
    if not guard.read_only():
        guard.went_well(comparison_link.from_link)
        comparison_link.begin_open(not found)
        new = st.expander("New comparison", icon=":material/add:", key=comparison_link.OPEN, on_change="rerun")
        if new.open:  # to plan one takes a fifth of this page's time
            with new:
                guard.went_well(lambda: form(view))
        else:
            comparison_link.leave_out()
    elif not found:
        st.info("There is no comparison yet.", icon=":material/info:")
    if not found:
        return
    names = [c.id for c in found]
    chosen = address.here(
        address.picker("Comparison", "comparison", names, names[0]), "comparison", "comparison", names, "above"
    )
    comparison = found[names.index(chosen)]
    if st.session_state.get(SHOWN, chosen) != chosen:
        for name in OF_A_COMPARISON:
            address.forget(name)
    st.session_state[SHOWN] = chosen
    guard.problem("comparison")
    try:
        comparison.cells  # noqa: B018
    except (UserError, OSError) as error:
        problem = guard.sentence(error).replace(f"{comparison.path}/", "")
        st.error(f"**{literal(comparison.id)}** is broken. {prose(problem)}", icon=":material/broken_image:")
        remove_comparison(comparison)
        return
    guard.fragment(live, run_every="2s" if comparison.working else None)(comparison)


def live(comparison: Comparison) -> None:
    """Progress, intervals, tables, and what can be done with it."""
    cells = comparison.cells
    found = statuses_of(cells)
    state = state_of(comparison, found)
    if state not in ("running", "stopping") and st.session_state.pop("comparison alive", False):
        st.rerun(scope="app")  # the clock may stop, and the students belong in the pickers
    st.session_state["comparison alive"] = state in ("running", "stopping")
    keep_going([s.run for s in found if s.run is not None and s.state == "queued"])
    progress(comparison, found, state)
    st.caption(f"All runs: {literal(settings_line(cells))}. {prose(computed(found))}")
    for status in found:
        if status.run is not None and status.problem:
            broken(read(status.run), f"{status.cell.row}, seed {status.cell.seed}")
    runs = analysis.table(results(found))
    if not (runs["state"] == "finished").any():
        st.info("No run has finished yet.", icon=":material/hourglass_empty:")
        return
    st.header("Accuracy and its interval", anchor=False)
    names = _to_choose(comparison, runs)
    best = analysis.at_best(runs, names)
    lines, choice = analysis.summary(best), analysis.chosen_line(names, runs, best)
    charts.chart(intervals(best, lines), key="intervals", bar=False)
    known = (
        "with its 95 % interval (Student's t)" if lines["low"].notna().any() else "which has no interval of one seed"
    )
    st.caption(
        f"{literal(choice)} Accuracy on the test split after the last epoch: a stroke for each seed, a dot for their "
        f"mean, {known}. Diamonds are the mean of the epochs that were best on validation."
    )
    shown = analysis.readable(lines[lines["num_seeds"] > 0])
    height = "content" if len(shown) <= 15 else 560
    tables.show(shown, hide_index=True, height=height, column_config=columns_of(shown))
    with st.container(horizontal=True):
        square = as_text(analysis.beats(best))
        text = report(best, square, settings_line(cells), computed(found), choice)
        for label, data, kind in (("CSV", csv_of(runs), "csv"), ("Markdown", text, "md")):
            name = f"{comparison.id}.{kind}"
            st.download_button(
                literal(label), data, name, f"text/{kind}", icon=":material/download:", key=f"download {kind}"
            )
    sweeps(runs)
    st.header("Norm against accuracy", anchor=False)
    charts.chart(norm_against_accuracy(best), key="norm accuracy", bar=False)
    st.caption(
        "A point for each run. Methods that keep norms small and sit high support the paper's reading of the norm; a "
        "slope within one method would say more than one between methods."
    )
    paired = list(lines.loc[lines["num_seeds"] >= analysis.FEWEST, "row"])
    if len(paired) > 1:
        st.header("Which beats which", anchor=False)
        tables.show(square.loc[paired, paired], height="content")
        st.caption("Probability that the row's mean accuracy is higher than the column's, paired over seeds.")
    elif len(lines) > 1:
        st.caption(f"Which beats which is told from {analysis.FEWEST:d} seeds on; fewer say nothing of their spread.")
    two_students(found)


def _to_choose(comparison: Comparison, runs: pd.DataFrame) -> list[str]:
    """Settings of which each row is shown at the value best on validation, as the comparison asks or as was picked."""
    varied = [name for name in analysis.varied(runs) if name not in NOT_CHOSEN]
    if not varied or runs["validation"].isna().all():
        return []
    asked = ",".join(name for name in comparison.at_best if name in varied) or ALL_ROWS
    options = list(dict.fromkeys([ALL_ROWS, *varied, asked]))
    text = (
        "At each value that was tried, or only at the one best on validation. What was varied, below, has all of them."
    )
    picked = inputs.on().selectbox(
        "Each row", options, key=address.key("best", options, asked), format_func=_at, help=text, width=320
    )
    return [] if picked == ALL_ROWS else picked.split(",")


def _at(picked: str) -> str:
    return "at every value" if picked == ALL_ROWS else f"at its best {picked.replace(',', ' and ')}"


def sweeps(runs: pd.DataFrame) -> None:
    """How the accuracy follows the settings and parameters that were varied: as lines, over two of them as a map."""
    by_method = {m: axes for m in dict.fromkeys(runs["method"]) if (axes := analysis.axes(runs, m))}
    if not by_method:
        return
    st.header("What was varied", anchor=False)
    a, b, _ = st.columns([1, 1, 2], vertical_alignment="bottom")
    names = list(dict.fromkeys(axis for axes in by_method.values() for axis in axes))
    # tau over lambda is what the paper's rule speaks of, so that it comes first where it can.
    usual = "tau" if "tau" in names else names[0]
    x = inputs.on(a).selectbox("Along", names, key=address.key("along", names, usual))
    over_numbers = {m: axes for m, axes in by_method.items() if x in axes and not analysis.words(runs, m)}
    maps = {f"{m} {y}": (m, y) for m, axes in over_numbers.items() for y in axes if y != x}
    shown = ALONE
    if maps:
        options = [*maps, ALONE]
        # No word of x in the labels: by these the browser tells which one was chosen, also when x has changed since.
        titles = {over: f"{m}: with {y}" for over, (m, y) in maps.items()} | {ALONE: "alone"}
        shown = inputs.on(b).selectbox(
            "Show", options, key=address.key("over", options), format_func=titles.__getitem__
        )
    if shown == ALONE:
        _lines(runs, x, by_method)
    else:
        method, y = maps[shown]
        _map(runs, method, x, y)


def _lines(runs: pd.DataFrame, x: str, by_method: dict[str, list[str]]) -> None:
    words = [c for c in analysis.varied(runs) if c != x and not any(c in axes for axes in by_method.values())]
    also = ["method", *words]
    have = {method for method, axes in by_method.items() if x in axes}
    others = {}
    for _, own in runs[~runs["method"].isin(have)].groupby("method", sort=False):
        rows = analysis.summary(own).dropna(subset="accuracy").sort_values("accuracy")
        if len(rows):
            count = f", best of {len(rows)}" if len(rows) > 1 else ""
            others[f"{rows['row'].iloc[-1]}{count}"] = float(rows["accuracy"].iloc[-1])
    figure = sweep_lines(analysis.sweep(runs[runs["method"].isin(have)], x, also), x, also, others)
    charts.chart(figure, key="sweep lines", bar=False)
    more = sorted({axis for method in have for axis in by_method[method]} - {x})
    text = f"The last epoch's accuracy over {x}; bars are one standard deviation over seeds."
    if more:
        text += f" Averaged over {', '.join(more)}."
    st.caption(literal(text + (" Dotted: methods without it." if others else "")))


def _map(runs: pd.DataFrame, method: str, x: str, y: str) -> None:
    norm = analysis.teacher_norm(runs[runs["method"] == method])
    table = analysis.over_two(runs, method, x, y)
    charts.chart(sweep_map(table, x, y, norm), key="sweep map", bar=False)
    if table["mean"].isna().all():
        return
    best = table.loc[table["mean"].idxmax()]
    text = (
        f"Mean accuracy of the last epoch. The best of {table['mean'].count()} cells is {x} {best[x]:g}, "
        f"{y} {best[y]:g} with {analysis.spread(best['mean'], best['sd'], 4)}; the best of many flatters."
    )
    if {x, y} == {"tau", "lambda"} and not math.isnan(norm):
        text += (
            f" The dashed line is the paper's rule λ²τ² = mean‖f‖²: near it, good cells support the rule. At the "
            f"best cell λ²τ²/mean‖f‖² is {(best[x] * best[y] / norm) ** 2:.2g}."
        )
    st.caption(literal(text))


def columns_of(shown: pd.DataFrame) -> dict[str, Any]:
    """How the table's columns are headed, so that all have room: the whole heading is told where the mouse rests."""
    whole = {analysis.HEADINGS[measure]: label for measure, label in BRIEFLY.items()}
    headed = {name: st.column_config.Column(label, help=name[0].upper() + name[1:]) for name, label in whole.items()}
    empty = [name for name in shown if not shown[name].astype(bool).any()]
    return headed | dict.fromkeys(empty)  # None hides


def progress(comparison: Comparison, found: list[CellStatus], state: str) -> None:
    """How many runs are done, what is being worked on, and the buttons."""
    done = sum(s.state == "finished" for s in found)
    now = next((s for s in found if s.state in ("running", "cancelling")), None)
    share = float(done)
    text = f"{done} of {len(found)} runs done"
    if now is not None and now.run is not None:
        text += f"; {now.cell.row}, seed {now.cell.seed}"
        if at := now.run.progress:
            share += share_of(at)
            text += f", epoch {at['epoch']} of {at['epochs']}"
    row = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    row.progress(min(share / len(found), 1.0), literal(text))
    may_act = not guard.read_only()
    if state == "running" and may_act:
        halt = guard.callback(stop, comparison, at="comparison", anew=True)
        row.button("Stop", icon=":material/stop:", on_click=halt)
    elif state == "stopped" and may_act:
        go = guard.callback(start, comparison, at="comparison", anew=True)
        row.button("Go on", icon=":material/resume:", on_click=go)
    elif state == "finished":
        with row:
            remove_comparison(comparison)
    for s in found:
        if s.state == "failed" and s.run is not None:
            reason = read(s.run).end.get("error") or "without a reason"
            st.error(prose(f"{s.cell.row}, seed {s.cell.seed}: {reason}"), icon=":material/error:")


def two_students(found: list[CellStatus]) -> None:
    """Two of its students, to be looked at side by side."""
    done = {f"{s.cell.row}, seed {s.cell.seed}": s for s in found if s.state == "finished"}
    if len(done) < 2:
        return
    st.header("Two of its students", anchor=False)
    a, b, button = st.columns([2, 2, 1], vertical_alignment="bottom")
    options = list(done)
    first = inputs.on(a).selectbox("First student", options, key="first student")
    # Of one seed, as far as there is one: they saw the same batches.
    alike = [i for i, one in enumerate(done.values()) if one.cell.seed == done[first].cell.seed and options[i] != first]
    second = inputs.on(b).selectbox(
        "Second student", options, index=alike[-1] if alike else len(options) - 1, key="second student"
    )
    entries = [of_run(s.run.path) for s in (done[first], done[second]) if s.run is not None]
    names = [entry.name for entry in entries if entry is not None]
    if len(names) == 2:
        config = done[first].cell.config
        named = {"dataset": config.dataset, "labels": config.labels, "a": names[0], "b": names[1]}
        url = "?" + urlencode({name: value for name, value in named.items() if value is not None})
        text = "Norms, classes and samples of the two, in a new tab."
        button.link_button("Compare", url, icon=":material/compare_arrows:", width="stretch", help=text)
