"""The Norms page through a run's epochs: norms, data map and forgetting, where the run has kept them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from fnkd_core.analysis import dynamics
from fnkd_core.analysis.auroc import rank_correlation
from fnkd_core.analysis.dynamics import NormCounts
from fnkd_core.checkpoints.library import Entry
from fnkd_core.plots import dynamics as plots
from fnkd_core.stores.epochs import KeptEpochs, kept_epochs
from fnkd_core.stores.parts import part
from fnkd_core.stores.store import open_store
from fnkd_core.ui import address, charts, guard, inputs, not_kept, selection, tables, tagging
from fnkd_core.ui.components.gallery import panel
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.sample import show_sample
from fnkd_core.ui.stores import kept, load_store, load_stores
from fnkd_core.ui.tiles import tiles
from fnkd_core.ui.view import View
from fnkd_core.wording import counted, megabytes

WHEN = {"split": "On this split", "training": "Through training"}
HEADINGS = {
    "p_mean": "mean p",
    "p_sd": "sd of p",
    "p_change": "change of p",
    "correctness": "right in",
    "learnt": "first right in epoch",
    "norm_mean": "mean ‖f‖",
    "norm_sd": "sd of ‖f‖",
    "norm_first": "first ‖f‖",
    "norm_last": "last ‖f‖",
}
MOST_POINTS, MOST_ROWS, PREVIEW = 10_000, 500, 24
CHART = "data-map"
COLOURS = {
    "forgotten": "times forgotten",
    "norm_last": "last ‖f‖",
    "norm_change": "change of ‖f‖",
    "correctness": "share of epochs right",
}
THOSE = {
    "forgotten": "forgotten most often",
    "never learnt": "never learnt",
    "hard": "lowest mean p",
    "ambiguous": "largest spread of p",
    "easy": "highest mean p",
}


def wanted() -> bool:
    """Whether the page is to show what was through training, instead of what is on a split."""
    choice = inputs.on().segmented_control(
        "When",
        list(WHEN),
        key=address.key("when", list(WHEN)),
        required=True,
        format_func=WHEN.__getitem__,
        label_visibility="collapsed",
    )
    return choice == "training"


def show(view: View) -> None:
    """The kept epochs of the chosen models' runs, or how to get some."""
    if not view.models:
        load_stores(view)  # says what to do, and ends the page
    found = {role: one for role, entry in view.models.items() if (one := kept_epochs(entry.path.parent)) is not None}
    if not found:
        not_kept.show(view)
        return
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    role = selection.model_choice(found, row)
    entry, one = view.models[role], found[role]
    key = ("kept epochs", str(one.run), one.changed)
    one = kept("kept epochs", lambda: found[role], *key)  # with the names of its samples, once they are read
    classes = ["all", *one.classes]
    named = inputs.on(row).selectbox(
        "Class", classes, key=address.key("of", classes), filter_mode="contains", width=160
    )
    label = classes.index(named) - 1 if named != "all" else None
    with st.spinner(f"Reading {len(one.numbers):,} epochs of {len(one.samples):,} samples"):
        samples = kept("by sample", lambda: dynamics.by_sample(one), *key)
        counts = kept("norms by epoch", lambda: dynamics.norms_by_epoch(one, label), *key, label)
    those = samples
    if label is not None:
        those = kept("of a class", lambda: samples[samples["label"] == label], *key, label)
    st.caption(literal(_of_what(role, entry, one, len(those), named)))
    _norms(counts, those, (*key, label))
    st.header("Data map", anchor=False)
    marked = _data_map(those, one, (*key, label))
    _lists(view, role, entry, one, those, marked, (*key, label))


def _of_what(role: str, entry: Entry, one: KeptEpochs, count: int, named: str) -> str:
    """Whose values these are, of which epochs, and when they were taken."""
    of = "" if named == "all" else f" of class {named}"
    missing = sorted(set(range(1, max(one.numbers[-1], one.num_epochs or 0) + 1)) - set(one.numbers))
    lacking = f" without {_listed(missing)}" if missing else ""
    return (
        f"{role.capitalize()}: {entry.name}, {len(one.numbers):,} epochs{lacking}, {count:,} "
        f"training samples{of}, {megabytes(one.num_bytes)}. Every value is of the augmented view that a "
        "step learnt from, before that step, with batch norm and dropout as in training: an epoch's samples were seen "
        "at different moments of it."
    )


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:6]))
    return shown + (f" and {len(numbers) - 6} more" if len(numbers) > 6 else "")


def _norms(counts: list[NormCounts], samples: pd.DataFrame, key: tuple[Hashable, ...]) -> None:
    st.header("Norms by epoch", anchor=False)
    figure = kept("at epochs", lambda: plots.norms_at_epochs(counts, dynamics.common_edges(counts)), *key)
    charts.chart(figure, key="norms-at-epochs", bar=False)
    part_of = len(plots.slider_epochs(counts))
    more = f" It goes through {part_of} of {len(counts):,} epochs." if part_of < len(counts) else ""
    st.caption(
        "Drag the slider, or press play: right samples are stacked below the wrong ones, and all epochs have the same "
        f"axes. Up to one sample in 1,000 of an epoch can lie right of them.{more}"
    )
    left, right = st.columns(2, gap="medium")
    with left:
        charts.chart(kept("quantiles", lambda: plots.norm_quantiles(counts), *key), key="norm-quantiles")
        st.caption(literal(_auroc_words(counts)))
    with right:
        charts.chart(kept("forgetting", lambda: plots.forgetting(samples), *key), key="forgetting")
        st.caption(literal(kept("memory", lambda: _memory_words(samples), *key)))
    with st.expander("By epoch, as a table"):
        tables.show(_table(counts), hide_index=True)


def _auroc_words(counts: list[NormCounts]) -> str:
    """How well the norm told right from wrong, first and last."""
    known = [one for one in counts if one.auroc == one.auroc]
    if not known:
        return "Lines are medians, bands the middle 80 %. No epoch has both right and wrong samples."
    told = f"{known[0].auroc:.3f} in epoch {known[0].epoch}"
    if len(known) > 1:
        told += f", {known[-1].auroc:.3f} in epoch {known[-1].epoch}"
    return f"Lines are medians, bands the middle 80 %. AUROC of ‖f‖ for being right: {told}; .5 is chance."


def _memory_words(samples: pd.DataFrame) -> str:
    """How many were never learnt, never forgotten and forgotten, and what the norm has to do with it."""
    found, count = dynamics.memory(samples), max(len(samples), 1)
    told = ", ".join(f"{number:,} {name} ({number / count:.1%})" for name, number in found.items())
    learnt = samples[samples["learnt"] > 0]
    rho = rank_correlation(learnt["forgotten"].to_numpy(), learnt["norm_last"].to_numpy()) if len(learnt) else math.nan
    with_norm = f" Among those learnt, its rank correlation with the last ‖f‖ is {rho:+.2f}." if rho == rho else ""
    return f"Forgotten: right in one epoch and wrong in the next (Toneva et al. 2019). {told}.{with_norm}"


def _table(counts: list[NormCounts]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for one in counts:
        row: dict[str, Any] = {"epoch": one.epoch, "accuracy": one.accuracy, "AUROC of ‖f‖": one.auroc}
        for group in one.groups:
            row |= {f"{group}, {q:.0%}": v for q, v in zip(dynamics.QUANTILES, one.quantiles(group), strict=True)}
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def _data_map(samples: pd.DataFrame, one: KeptEpochs, key: tuple[Hashable, ...]) -> NDArray[np.bool_] | None:
    """The chart; which samples are marked in it, None where nothing is."""
    colour = inputs.on().selectbox(
        "Colour", list(COLOURS), key=address.key("points", list(COLOURS)), format_func=COLOURS.__getitem__, width=240
    )
    seen = np.flatnonzero(samples["prediction"].to_numpy() >= 0)

    def figure() -> go.Figure:
        drawn = part(len(seen), MOST_POINTS)
        shown = samples.iloc[seen if drawn is None else seen[drawn]]
        return plots.data_map(shown, colour, COLOURS[colour], one.classes)

    chart = kept("data map", figure, *key, colour)
    event = charts.chart(chart, key=CHART, on_select="rerun", selection_mode=("points", "box", "lasso"))
    of = "" if len(seen) <= MOST_POINTS else f" {MOST_POINTS:,} of {len(seen):,} samples are drawn, by a fixed seed."
    few = " Of a single epoch there is no spread yet." if len(one.numbers) < 2 else ""
    st.caption(
        "Swayamdipta et al. (2020) call what lies at the top left easy, at the bottom left hard, and to the right "
        f"ambiguous; a wrong label can lie at the bottom left too.{of}{few} Draw round some: all samples that lie "
        "there are listed below, drawn or not."
    )
    marked = selection.drawn_round(event, samples["p_sd"].to_numpy(), samples["p_mean"].to_numpy())
    points = [p["customdata"][0] for p in event.selection.get("points", []) if p.get("customdata")]
    if marked is None and points:
        marked = samples.index.isin([int(row) for row in points])
    return marked


def ranked(samples: pd.DataFrame, those: str, most: int) -> pd.DataFrame:
    """So many of the samples that are asked for, first those that are it most. those: of `THOSE`."""
    if those == "forgotten":
        return samples.iloc[dynamics.most_forgotten(samples, most)]
    asked = samples["prediction"].to_numpy() >= 0
    if those == "never learnt":
        asked &= samples["learnt"].to_numpy() == 0
    rows = np.flatnonzero(asked)
    values = samples["p_sd" if those == "ambiguous" else "p_mean"].to_numpy()[rows]
    order = np.argsort(-values if those in ("ambiguous", "easy") else values, kind="stable")
    return samples.iloc[rows[order[:most]]]


def _lists(
    view: View,
    role: str,
    entry: Entry,
    one: KeptEpochs,
    samples: pd.DataFrame,
    marked: NDArray[np.bool_] | None,
    key: tuple[Hashable, ...],
) -> None:
    """A table of the samples that are asked for, their pictures, and the way to the Gallery."""
    if marked is None:
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
        options = list(THOSE)
        those = inputs.on(row).selectbox(
            "Samples", options, key=address.key("those", options), format_func=THOSE.__getitem__, width=240
        )
        most = int(inputs.on(row).number_input("How many, at most", 1, None, 100, width=160))
        found, words = kept("ranked", lambda: ranked(samples, those, most), *key, those, most), THOSE[those]
    else:
        found, words = samples[marked].sort_values("p_mean", kind="stable"), "drawn round in the data map"
    mean = f"; their mean last ‖f‖ is {found['norm_last'].mean():.3g}, that of all {samples['norm_last'].mean():.3g}"
    st.markdown(f"**{counted(len(found), 'sample')}** {literal(words)}{literal(mean) if len(found) else ''}.")
    if found.empty:
        return
    _way_to_gallery(view, role, one, found, words)
    shown = found[:MOST_ROWS].drop(columns=["flips", "norm_change"]).round(3)
    names = np.array(one.classes)
    shown = shown.assign(label=names[shown["label"]], prediction=names[shown["prediction"]])
    height = min(38 + 35 * len(shown), 320)
    tables.show(shown.rename(columns=HEADINGS), hide_index=True, height=height)
    if len(found) > MOST_ROWS:
        st.caption(f"The first {MOST_ROWS:,} of {len(found):,}.")
    if _same_data(view, one):
        _pictures(view, role, entry, found)


def _same_data(view: View, one: KeptEpochs) -> bool:
    return one.split_identity is not None and one.split_identity == view.info.identity("train")


def _way_to_gallery(view: View, role: str, one: KeptEpochs, found: pd.DataFrame, words: str) -> None:
    if not _same_data(view, one):
        st.caption("The training images have changed since, so that these cannot be shown in the Gallery.")
        return
    if guard.read_only():
        return
    if st.button("Open in the gallery", type="primary", icon=":material/grid_view:", key="open through training"):
        train = dataclasses.replace(view, split="train")
        name = f"training-{view.info.name}"[:64]
        made = f"{len(found):,} {words}, in the run {one.run.name}"
        st.session_state["choose"] = {"split": "train", "model": role}
        tagging.to_gallery(train, found["key"].tolist(), name, made)


def _pictures(view: View, role: str, entry: Entry, found: pd.DataFrame) -> None:
    """The first of them, where the model's outputs on the training split are there anyway."""
    if open_store(entry, view.info, "train") is None:
        st.caption("Open them in the Gallery for their pictures.")
        return
    store = load_store(entry, view.info, "train")
    place = {key: i for i, key in enumerate(found["key"][:PREVIEW])}
    rows = store.samples[store.samples["key"].isin(list(place))]
    rows = rows.iloc[np.argsort(rows["key"].map(place).to_numpy())]
    note = "Norm and prediction are those of the finished model on the plain image."
    shown = panel(f"The first {len(rows)}", note, rows, store)
    opened = tiles([shown], 64, key="of training")
    if opened is not None:
        show_sample({role: store}, opened)
