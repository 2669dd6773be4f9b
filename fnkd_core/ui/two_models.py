"""The parts of the Compare page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis.tables import mcnemar, wilson
from fnkd_core.checkpoints.library import Entry
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard, pickers, tables
from fnkd_core.ui.components.gallery import panel
from fnkd_core.ui.markdown import prose
from fnkd_core.ui.sample import show_sample
from fnkd_core.ui.selection import to_gallery
from fnkd_core.ui.stores import kept
from fnkd_core.ui.tiles import tiles
from fnkd_core.ui.view import View, page_path
from fnkd_core.wording import counted

PER_PANEL = 24
SURE = 0.05
"""A difference that chance makes more seldom is said to be one."""


def two_models(view: View) -> tuple[Entry, Entry]:
    """Two different checkpoints that fit the data; teacher and student of the sidebar to begin with."""
    names = {e.name: e for e in view.fitting}
    if len(names) < 2:
        st.info("Two checkpoints that fit this data are needed; train one more.", icon=":material/info:")
        st.page_link(page_path("distill"), label="Train a student", icon=":material/science:")
        raise guard.Enough
    options = list(names)
    first = view.teacher.name if view.teacher else options[0]
    second = view.student.name if view.student else _other(names, first)
    a, b = st.columns(2)
    chosen = []
    for column, key, label, default in ((a, "a", "First", first), (b, "b", "Second", second)):
        chosen.append(pickers.checkpoint(label, key, names, default, column))
    first, second = (
        address.here(name, key, "checkpoint", options, "above") for name, key in zip(chosen, ("a", "b"), strict=True)
    )
    if first == second:
        st.info("Both are the same checkpoint. Choose another one on either side.", icon=":material/info:")
        raise guard.Enough
    return names[first], names[second]


def _other(names: dict[str, Entry], first: str) -> str:
    """One of other weights, where there is one."""
    own = names[first].identity
    return next((n for n, e in names.items() if e.identity != own), next(n for n in names if n != first))


def headline(both: pd.DataFrame, stores: tuple[Store, Store], expected: float) -> None:
    """Agreement, the four ways two models can stand to a sample, what each reaches, and whether one is better."""
    counts = np.bincount(both["outcome"], minlength=4).tolist()
    n = len(both)
    figures = st.columns(5)
    figures[0].metric(
        "Agreement",
        f"{both['agree'].mean():.2%}",
        border=True,
        height="stretch",
        help=f"Same prediction, right or wrong. Two models of these accuracies whose errors were independent would "
        f"agree on about {expected:.1%}.",
    )
    for column, label, count in zip(
        figures[1:], ("Both right", "Only first", "Only second", "Both wrong"), counts, strict=True
    ):
        with column:
            share = f"{count / n:.1%}"
            st.metric(label, f"{count:,}", share, delta_color="off", delta_arrow="off", border=True, height="stretch")
    numbers(stores)
    st.markdown(prose(who_is_better([store.name for store in stores], *counts[1:3])))


def numbers(stores: Iterable[Store]) -> None:
    """What each reaches, with how well that is known."""
    lines = []
    for store in stores:
        m = store.manifest
        low, high = wilson(m["accuracy"], m["num_samples"])
        interval = f"{100 * float(low):.2f} to {100 * float(high):.2f} %"
        lines.append((store.name, 100 * m["accuracy"], interval, m["nll"], m["ece"], m["norm"]["mean"]))
    table = pd.DataFrame(lines, columns=["model", "accuracy", "95 % interval", "NLL", "ECE", "mean ‖f‖"])
    form = {"accuracy": "%.2f %%", "NLL": "%.4f", "ECE": "%.4f", "mean ‖f‖": "%.2f"}
    columns = {name: st.column_config.NumberColumn(format=text) for name, text in form.items()}
    tables.show(table, hide_index=True, column_config=columns)


def who_is_better(names: Sequence[str], first: int, second: int) -> str:
    """Whether one of two models gets more samples right. first, second: samples that it alone gets right."""
    differ = first + second
    if not differ:
        return "Both get the same samples right."
    ahead, more = (names[0], first) if first >= second else (names[1], second)
    p = mcnemar(first, second)
    alone = f"Of {counted(differ, 'sample')} that one alone gets right, {ahead} has {more:,}"
    often = f"{100 * p:.0f} % of cases" if p >= 0.01 else "less than 1 % of cases"
    verdict = "it is the better one here" if p < SURE else "neither can be called better"
    return f"{alone}: chance alone makes a split as uneven in {often} (McNemar's exact test), so {verdict}."


def disagreements(stores: dict[str, Store], both: pd.DataFrame) -> None:
    """The samples that one model gets right and the other wrong, lowest norm of the latter first, as the tiles show."""
    panels = []
    wrong_by = {1: "b", 2: "a"}

    def of_outcome(outcome: int) -> tuple[NDArray[np.int64], int]:
        """The samples of lowest norm under the model that is wrong, and how many there are."""

        def found() -> tuple[NDArray[np.int64], int]:
            order = stores[wrong_by[outcome]].order
            ids = order[both["outcome"].to_numpy()[order] == outcome]
            return ids[:PER_PANEL].copy(), len(ids)

        return kept("of outcome", found, *stores.values(), outcome)

    for outcome, loser in wrong_by.items():
        winner = "a" if loser == "b" else "b"
        ids, count = of_outcome(outcome)
        shown = counted(count, "sample")
        if count > PER_PANEL:
            shown = f"The {PER_PANEL} of lowest norm of {count:,}"
        note = f"{shown}; norm and arrow are of {stores[loser].name}."
        rows = stores[loser].samples.iloc[ids]
        panels.append(panel(f"Only {stores[winner].name} is right", note, rows, stores[loser]))
    for column, (outcome, loser) in zip(st.columns(2), wrong_by.items(), strict=True):
        count = of_outcome(outcome)[1]
        text = f"Open all {count:,} in the gallery"
        if count and column.button(
            text, icon=":material/grid_view:", key=f"open {outcome}", help="As teacher and student."
        ):
            role = "teacher" if loser == "a" else "student"
            models = {"teacher": stores["a"].name, "student": stores["b"].name}
            to_gallery(role, {}, cls="all", outcome="wrong", other="right", **models)
    open_if_clicked(tiles(panels, 64, key="disagreements"), stores)


def selected(selection: Mapping[str, Any], both: pd.DataFrame) -> pd.DataFrame:
    """The rows in the box that was drawn over norms as multiples of their means; without one, those clicked on."""
    boxes = selection.get("box") or []
    if boxes:
        keep = pd.Series(True, index=both.index)
        for column, axis in (("norm_a", "x"), ("norm_b", "y")):
            low, high = sorted(float(end) for end in boxes[0][axis][:2])
            keep &= (both[column] / both[column].mean()).between(low, high)
        return both[keep]
    data = [point["customdata"] for point in selection.get("points", [])]
    ids = {int(one[0] if isinstance(one, list) else one) for one in data}
    return both.iloc[sorted(i for i in ids if 0 <= i < len(both))]


def preview(event: Any, stores: dict[str, Store], both: pd.DataFrame) -> None:
    """The samples selected in the plot of norms, whether they are drawn there or not.

    In a place that is there without any too; see `charts.chart`.
    """
    with st.container():
        if not (chosen := selected(event.selection, both)).empty:
            _preview(chosen, stores)


def _preview(chosen: pd.DataFrame, stores: dict[str, Store]) -> None:
    rows = stores["b"].samples.loc[chosen.sort_values("norm_b")["id"]]
    note = f"{min(len(rows), PER_PANEL)} of {len(rows):,}, norms and predictions of {stores['b'].name}."
    shown = panel("Selected samples", note, rows.head(PER_PANEL), stores["b"])
    open_if_clicked(tiles([shown], 64, key="chosen"), stores)


def open_if_clicked(sample: int | None, stores: dict[str, Store]) -> None:
    """The dialog of the sample that was clicked, if one was."""
    if sample is not None:
        show_sample({"teacher": stores["a"], "student": stores["b"]}, sample)
