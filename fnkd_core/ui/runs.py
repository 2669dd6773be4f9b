"""The parts of the Runs page."""

from __future__ import annotations

import functools
import io
import zipfile
from collections import Counter

import pandas as pd
import streamlit as st

from fnkd_core.jobs.reading import Reading, read
from fnkd_core.jobs.run import Run
from fnkd_core.jobs.summary import Summary, living, outline, summaries
from fnkd_core.kd.objective import of_many_meanings
from fnkd_core.paths import runs_dir
from fnkd_core.plots.models import run_curves
from fnkd_core.ui import address, charts, guard, inputs, tables
from fnkd_core.ui.cloning import again
from fnkd_core.ui.jobs import job, keep_going
from fnkd_core.ui.markdown import literal, prose
from fnkd_core.ui.reading import SELECTED, WITHIN, remove
from fnkd_core.ui.run_details import details as watched
from fnkd_core.ui.run_table import Group, Row, filtered, grouped, outlines, paged, selected
from fnkd_core.ui.view import page_path

CURVES = {
    "accuracy": "accuracy on {on}",
    "train_accuracy": "training accuracy",
    "loss": "loss, nats",
    "hard": "hard term before its weight, nats",
    "soft": "soft term before its weight, with its T² where it has one, nats",
    "nll": "NLL on {on}, nats",
    "ece": "ECE on {on}",
    "norm": "mean ‖f‖ on {on}",
    "agreement": "agreement with the teacher",
    "temperature": "mean T of the teacher's soft targets",
    "lr": "learning rate",
}

REACHED = {"accuracy": "test accuracy", "nll": "NLL on test", "ece": "ECE on test", "norm": "mean ‖f‖ on test"}
NEWEST = 6


def browse() -> None:
    """The table, and below it what the selected runs have to say."""
    runs = summaries()
    alive_before = st.session_state.get("runs alive", 0)
    alive = list(living(runs))
    st.session_state["runs alive"] = len(alive)
    if not runs or (alive_before and not alive):
        st.rerun(scope="app")  # the clock may stop, and the student belongs in the pickers
    keep_going([outline(name, runs[name]).run for name in alive if runs[name]["state"] == "queued"])
    found = filtered(runs)
    for key in (SELECTED, WITHIN):
        for name in not_here(address.linked(key) or [], runs):
            address.tell(f"This link names {name}, which is not here.")
            st.session_state[key].remove(name)
        for name in not_here(st.session_state.get(key) or [], runs):
            address.tell(f"{name} is not here any more: somebody has deleted it.")
    if not found:
        st.info("No run passes these filters. Widen one, or empty the field.", icon=":material/filter_alt_off:")
        return
    by_seeds = len(found) > 1 and inputs.on().toggle(
        "Group by seeds",
        key=address.key("by_seeds"),
        help="Single runs that differ in nothing but their seed are one row, with mean and sd.",
    )
    rows = grouped(found, by_seeds)
    _open_rows_of(rows)
    chosen = selected(paged(rows, "page", len(found), len(runs)), rows, SELECTED)
    groups = [row for row in chosen if isinstance(row, Group)]
    single = [row for row in chosen if not isinstance(row, Group)]
    if len(chosen) != 1 or not groups:
        st.session_state[WITHIN] = None
    if not chosen:
        st.caption("Select rows at their left edge: one for its log and its student, several for their differences.")
        newest([name for name, one in found.items() if one["epochs_done"]][:NEWEST])
    elif not groups:
        details(single)
    elif len(groups) == 1 and not single:
        opened(groups[0])
    else:
        names = {name: one for group in groups for name, one in group.runs.items()}
        names |= {name: runs[name] for name in single}
        st.header(f"{len(names):,} runs selected", anchor=False)
        st.caption("Select one comparison alone to open it, or single runs for their differences.")
        remove(outlines(names))


def _open_rows_of(rows: list[Row]) -> None:
    """Of a run that is selected and stands in a row with others, the row is selected, and the run within it."""
    if not (chosen := st.session_state.get(SELECTED)):
        return
    holding = {name: row.name for row in rows if isinstance(row, Group) for name in row.runs}
    if inside := [name for name in chosen if name in holding]:
        st.session_state[SELECTED] = list(dict.fromkeys(holding.get(name, name) for name in chosen))
        st.session_state[WITHIN] = inside


def not_here(named: list[str], runs: dict[str, Summary]) -> list[str]:
    """Those of these rows that there are not, under any filter."""
    lacking = [name for name in named if name not in runs]
    if not lacking:
        return []
    groups = {row.name for by_seeds in (False, True) for row in grouped(runs, by_seeds) if isinstance(row, Group)}
    return [name for name in lacking if name not in groups]


def newest(names: list[str]) -> None:
    """The curves of these runs, where none is selected."""
    if names:
        st.header("The newest runs" if len(names) > 1 else "The newest run", anchor=False)
    curves(readings(names))


def opened(group: Group) -> None:
    """A row's runs as a table of their own, and what those that are selected in it have to say."""
    st.header(literal(group.title or group.name), anchor=False)
    if not group.of_seeds:
        st.page_link(
            page_path("compare"),
            label="Open it on Compare",
            icon=":material/compare_arrows:",
            query_params={"what": "methods", "comparison": group.name},
        )
    rows: list[Row] = [*group.runs]
    chosen = selected(paged(rows, f"page of {group.name}", len(rows), len(rows)), rows, WITHIN)
    if chosen:
        details([row for row in chosen if not isinstance(row, Group)])
    else:
        newest([name for name, one in group.runs.items() if one["epochs_done"]][:NEWEST])
        remove(outlines(group.runs))


def readings(names: list[str]) -> list[Reading]:
    return [read(Run(runs_dir() / name)) for name in names]


def details(names: list[str]) -> None:
    """What the selected runs have to say: curves, differences, or the one run whole."""
    chosen = readings(names)
    st.header(f"{len(chosen)} selected" if len(chosen) > 1 else literal(chosen[0].name), anchor=False)
    curves(chosen)
    for one in chosen:
        if one.problem:
            st.error(prose(one.problem), icon=":material/broken_image:")
    if len(chosen) > 1:
        differences(chosen)
    elif not chosen[0].problem:
        with st.container(border=True):
            job(chosen[0], alone=True)
        if taught_by := chosen[0].run.taught_by:
            st.caption(literal(f"Taught by {taught_by}."))
        watched(chosen[0])
        again(chosen[0])
        export(chosen[0])
    remove(chosen)


def curves(runs: list[Reading]) -> None:
    """A metric of several runs over each other."""
    lines = {name: one.metrics for name, one in zip(names_of(runs), runs, strict=True) if one.metrics}
    if not lines:
        return
    column, _ = st.columns([2, 3])
    # Those that hold nothing out are looked at on the test split.
    on = " / ".join(sorted({line["evaluated_on"] for metrics in lines.values() for line in metrics}, reverse=True))
    titles = {name: text.format(on=on) for name, text in CURVES.items()}
    metric = inputs.on(column).selectbox(
        "Curve", CURVES, format_func=titles.__getitem__, key=address.key("curve", list(CURVES))
    )
    with_it = {name: metrics for name, metrics in lines.items() if metrics[0].get(metric) is not None}
    if not with_it:
        st.info(f"None of these runs has a teacher, so there is no {literal(titles[metric])}.", icon=":material/info:")
        return
    figure = run_curves(with_it, metric, titles[metric], percent=metric.endswith(("accuracy", "agreement")))
    charts.chart(figure, key="curves")


def names_of(runs: list[Reading]) -> list[str]:
    """What each of the runs is called among these: its name, with the end of its id where others have that too."""
    given = Counter(one.name for one in runs)
    return [one.name if given[one.name] == 1 else f"{one.name} {one.run.id.rpartition('-')[2]}" for one in runs]


def differences(runs: list[Reading]) -> None:
    """What the runs reached and the settings in which they differ, a column for each run."""
    st.subheader("What distinguishes them", anchor=False)
    flat, other = {}, of_many_meanings(str(one.config.get("method")) for one in runs)
    for name, one in zip(names_of(runs), runs, strict=True):
        if one.problem:
            continue
        config, last = one.config, one.results.get("last") or {}
        given = {f"{config['method']}.{k}" if k in other else k: v for k, v in one.parameters.items()}
        reached = {f"{title}, last epoch": last.get(key) for key, title in REACHED.items()}
        flat[name] = reached | {k: v for k, v in config.items() if k not in ("parameters", "name")} | given
    if len(flat) < 2:
        st.caption(literal(f"The settings of {len(flat)} of these {len(runs)} can be read, too few to compare."))
        return
    settings = pd.DataFrame(flat).astype(object)
    settings = settings.where(settings.notna(), None)
    differing = settings[settings.apply(lambda row: len({str(x) for x in row}) > 1, axis=1)]
    if differing.empty:
        st.caption("Nothing: they have the same settings.")
        return
    tables.show(differing.map(lambda x: "" if x is None else f"{x:.6g}" if isinstance(x, float) else str(x)))


def export(one: Reading) -> None:
    """The finished student with its card, to download."""
    if one.state != "finished":
        return
    if not (one.run.path / "model.safetensors").exists():
        gone = f"The weights of its last epoch are gone: {one.run.path / 'model.safetensors'} is missing"
        st.error(literal(f"{gone}; put the file back, or train it again."), icon=":material/broken_image:")
    left, right, _ = st.columns([1, 1, 2])
    for column, weights, file in ((left, "last", "model"), (right, "best", "best")):
        if not (one.run.path / f"{file}.safetensors").exists():
            continue  # nothing was held out, so that no best epoch was chosen
        column.download_button(
            f"Export the {literal(weights)} epoch's student",
            guard.download(functools.partial(_zipped, one, file)),
            f"{one.name}-{weights}.zip",
            "application/zip",
            icon=":material/download:",
            key=f"export {weights}",
            width="stretch",
            on_click="ignore",
            help="Weights as safetensors, with the card that holds their history.",
        )


def _zipped(one: Reading, file: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for suffix in (".safetensors", ".json"):
            archive.write(one.run.path / f"{file}{suffix}", f"{one.name}{suffix}")
    return buffer.getvalue()
