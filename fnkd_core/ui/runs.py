"""The parts of the Runs page."""

from __future__ import annotations

import functools
import io
import zipfile

import pandas as pd
import streamlit as st

from fnkd_core.identity import digest
from fnkd_core.jobs.reading import Reading, read
from fnkd_core.jobs.run import list_runs
from fnkd_core.jobs.words import parameters_line
from fnkd_core.plots.models import run_curves
from fnkd_core.ui import guard
from fnkd_core.ui.jobs import job
from fnkd_core.ui.markdown import literal, prose, table_cells
from fnkd_core.ui.reading import remove

CURVES = {
    "accuracy": "accuracy on {on}",
    "train_accuracy": "training accuracy",
    "loss": "loss, nats",
    "hard": "hard term, nats",
    "soft": "soft term, nats",
    "nll": "NLL on {on}, nats",
    "ece": "ECE on {on}",
    "norm": "mean ‖f‖ on {on}",
    "agreement": "agreement with the teacher",
    "temperature": "mean T of the teacher's soft targets",
    "lr": "learning rate",
}

SELECTED = "selected runs"
"""Where the session keeps the ids of the runs that are selected, for as long as it lasts."""


def table(runs: list[Reading]) -> pd.DataFrame:
    """A row per run, newest first."""
    rows = []
    for one in runs:
        config, metrics, reached = one.config, one.metrics, one.results
        rows.append(
            {
                "name": one.name,
                "state": one.state,
                "method": config.get("method"),
                "parameters": parameters_line(one.parameters),
                "lr": config.get("lr"),
                "last accuracy": (reached.get("last") or {}).get("accuracy"),
                "best accuracy": (reached.get("best") or {}).get("accuracy"),
                "over epochs": [m["accuracy"] for m in metrics],
                "seed": config.get("seed"),
                "epochs": f"{len(metrics)} / {config.get('epochs', '?')}",
                "student": config.get("student"),
                "teacher": config.get("teacher") or "",
                "data": config.get("dataset"),
                "seconds": sum(m["seconds"] for m in metrics),
                "id": one.run.id,
            }
        )
    return pd.DataFrame(rows)


def browse() -> None:
    """The table, and below it what the selected runs have to say."""
    runs = [read(run) for run in list_runs()]
    alive_before = st.session_state.get("runs alive", 0)
    st.session_state["runs alive"] = sum(one.alive for one in runs)
    if not runs or (alive_before and not st.session_state["runs alive"]):
        st.rerun(scope="app")  # the clock may stop, and the student belongs in the pickers
    shown = table(runs)
    ids = [one.run.id for one in runs]
    kept = st.session_state.get(SELECTED, [])
    event = st.dataframe(
        table_cells(shown),
        # The browser knows rows by their number alone, so a table of other runs is another table, which begins with
        # what was selected in the one before it.
        key=f"runs {digest(ids)}",
        selection_default={"selection": {"rows": [ids.index(name) for name in kept if name in ids]}},
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "last accuracy": st.column_config.NumberColumn(format="%.4f", help="On the test split, of the last epoch."),
            "best accuracy": st.column_config.NumberColumn(
                format="%.4f", help="On the test split, of the epoch that was best on validation."
            ),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
            "over epochs": st.column_config.LineChartColumn(
                y_min=0.0, y_max=1.0, width="small", help="Accuracy on validation, or on test where none is held out."
            ),
        },
    )
    chosen = [runs[i] for i in sorted(event.selection["rows"])]
    st.session_state[SELECTED] = [one.run.id for one in chosen]
    selected = bool(chosen)
    if not selected:
        st.caption("Select rows at their left edge: one for its log and its student, several for their differences.")
        chosen = [one for one in runs if one.metrics][:6]
        if chosen:
            st.header("The newest runs" if len(chosen) > 1 else "The newest run", anchor=False)
    else:
        st.header(f"{len(chosen)} selected" if len(chosen) > 1 else literal(chosen[0].name), anchor=False)
    curves(chosen)
    if selected:
        for one in chosen:
            if one.problem:
                st.error(prose(one.problem), icon=":material/broken_image:")
        if len(chosen) > 1:
            differences(chosen)
        elif not chosen[0].problem:
            with st.container(border=True):
                job(chosen[0])
            export(chosen[0])
        remove(chosen)


def curves(runs: list[Reading]) -> None:
    """A metric of several runs over each other."""
    lines = {one.name: one.metrics for one in runs}
    if len(lines) < len(runs):  # names that are given twice
        lines = {one.run.id: one.metrics for one in runs}
    lines = {name: metrics for name, metrics in lines.items() if metrics}
    if not lines:
        return
    column, _ = st.columns([2, 3])
    # Those that hold nothing out are looked at on the test split.
    on = " / ".join(sorted({line["evaluated_on"] for metrics in lines.values() for line in metrics}, reverse=True))
    titles = {name: text.format(on=on) for name, text in CURVES.items()}
    metric = column.selectbox("Curve", CURVES, format_func=titles.__getitem__, key="curve", bind="query-params")
    with_it = {name: metrics for name, metrics in lines.items() if metrics[0].get(metric) is not None}
    if not with_it:
        st.info(f"None of these runs has a teacher, so there is no {literal(titles[metric])}.", icon=":material/info:")
        return
    figure = run_curves(with_it, metric, titles[metric], percent=metric.endswith(("accuracy", "agreement")))
    st.plotly_chart(figure, key="curves")


def differences(runs: list[Reading]) -> None:
    """The settings in which the runs differ, a column for each run."""
    st.subheader("What distinguishes them", anchor=False)
    flat = {}
    for one in runs:
        if one.problem:
            continue
        config = one.config
        given = {f"{config['method']}.{k}": v for k, v in one.parameters.items()}
        flat[one.run.id] = {k: v for k, v in config.items() if k != "parameters"} | given
    settings = pd.DataFrame(flat).astype(object)
    settings = settings.where(settings.notna(), None)
    differing = settings[settings.apply(lambda row: len({str(x) for x in row}) > 1, axis=1)]
    if differing.empty:
        st.caption("Nothing: they have the same settings.")
        return
    st.dataframe(table_cells(differing.map(lambda x: "" if x is None else str(x))))


def export(one: Reading) -> None:
    """The finished student with its card, to download."""
    if one.state != "finished":
        return
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
