"""The distribution of ‖f‖ on the Norms page: how to split and draw it, and a range of norms to select."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fnkd_core.analysis.tables import means_by_outcome, norms_by_class
from fnkd_core.plots import norms as plots
from fnkd_core.plots.norms_by_class import MANY, norm_by_class
from fnkd_core.plots.style import ROLE_COLOURS
from fnkd_core.stores.store import Store, open_store
from fnkd_core.ui import address, charts, guard, inputs, selection
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import awaited, kept, labelled, loaded
from fnkd_core.ui.view import View

WAYS = ("model", "right / wrong", "split", "class")
FORMS = ("histogram", "ECDF")
ENDS = ("norm from", "norm to")
"""Keys of the fields of the range that is selected; itself it is the session's "norm", which the Gallery has too."""
DASHES = {"train": "dot", "validation": "dash", "test": "solid"}
CLEARLY = 2
"""A brush means the other model where that has so many times the share of its samples in it."""


@dataclass(frozen=True)
class Choice:
    """role: whose norms are meant. way: of `WAYS`. form: of `FORMS`. cls: the label alone, or None for all."""

    role: str
    way: str
    form: str
    cls: int | None


def controls(stores: dict[str, Store]) -> Choice:
    """Which model, split by what, drawn how, which class."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    role = selection.model_choice(stores, row)
    way = inputs.on(row).segmented_control("Split by", WAYS, key=address.key("by", WAYS), required=True)
    by_class = way == "class"
    form = inputs.on(row).segmented_control(
        "Draw as", FORMS, key=address.key("form", FORMS), required=True, disabled=by_class
    )
    classes = ["all", *stores[role].classes]
    chosen = inputs.on(row).selectbox(
        "Class", classes, key=address.key("of", classes), disabled=by_class, filter_mode="contains", width=140
    )
    cls = classes.index(chosen) - 1 if chosen != "all" and not by_class else None
    return Choice(role, way or "model", form or "histogram", cls)


def show(view: View, stores: dict[str, Store], choice: Choice) -> None:
    """The figure, the fields beside it, and the samples that are selected."""
    plot, fields = st.columns([5.2, 1], gap="medium")
    with fields:
        span = _fields(stores, choice)
    with plot:
        figure = _split(view, choice) if choice.way == "split" else _figure(stores, choice)
        charts.chart(
            plots.with_range(figure, _drawn(span, stores), axis(stores, choice)),
            key="distribution",
            on_select=guard.callback(_brush, stores, choice, writes=False),
            selection_mode="box",
        )
    st.caption(" ".join(_means(role, store) for role, store in stores.items()))
    selection.offer({} if span is None else {"norm": span}, choice.role, stores, choice.cls)


def _figure(stores: dict[str, Store], choice: Choice) -> go.Figure:
    store = stores[choice.role]
    colour, cumulative = ROLE_COLOURS[choice.role == "student"], choice.form == "ECDF"

    def make() -> go.Figure:
        if choice.way == "class":
            table = norms_by_class(store.samples)
            return norm_by_class(table, store.classes, labelled(choice.role, store), colour)
        if choice.way == "right / wrong":
            keep = slice(None) if choice.cls is None else store.samples["label"] == choice.cls
            return plots.norm_by_outcome(store.samples[["norm", "correct"]][keep], cumulative)
        groups = {labelled(role, one): _norms(one, choice.cls) for role, one in stores.items()}
        colours = [ROLE_COLOURS[role == "student"] for role in stores]
        return plots.norm_distribution(groups, colours=colours, cumulative=cumulative)

    return kept("distribution", make, *stores.values(), *stores, choice)


def axis(stores: Mapping[str, Store], choice: Choice) -> str:
    """The axis of the norms, x or y: of very many classes each is a point along x; see `norm_by_class`."""
    many = choice.way == "class" and stores[choice.role].samples["label"].nunique() > MANY
    return "y" if many else "x"


def _norms(store: Store, cls: int | None) -> np.ndarray:
    norms = store.samples["norm"].to_numpy()
    return norms if cls is None else norms[store.samples["label"].to_numpy() == cls]


def _split(view: View, choice: Choice) -> go.Figure:
    """Every model on every split that is extracted; what is not is named, with a button that extracts it."""
    there = {
        (split, role): loaded([entry], view.info, split)[0]
        for split in view.info.splits
        for role, entry in view.models.items()
        if open_store(entry, view.info, split) is not None
    }
    _offer_missing(view, [split for split in view.info.splits for role in view.models if (split, role) not in there])

    def make() -> go.Figure:
        groups = {
            f"{labelled(role, store)}, {split} ({store.manifest['num_samples']:,})": _norms(store, choice.cls)
            for (split, role), store in there.items()
        }
        return plots.norm_distribution(
            groups,
            colours=[ROLE_COLOURS[role == "student"] for _, role in there],
            dashes=[DASHES.get(split, "solid") for split, _ in there],
            cumulative=choice.form == "ECDF",
            outlined=True,
        )

    return kept("distribution", make, *there.values(), *(" ".join(key) for key in there), choice)


def _offer_missing(view: View, missing: list[str]) -> None:
    if not missing:
        return
    named = list(dict.fromkeys(missing))
    # Asked for of these models on these data, and of no others.
    these = (view.info.name, view.info.label_space, *(entry.identity for entry in view.models.values()))
    if st.session_state.get("extracting splits") == these and not guard.read_only():
        awaited(list(view.models.values()), view.info, named[0])
        return
    row = st.container(horizontal=True, vertical_alignment="center")
    row.caption(f"Not extracted yet, so not drawn: {literal(', '.join(named))}.", width="content")
    if not guard.read_only():
        row.button(
            "Extract",
            key="extract splits",
            icon=":material/download_for_offline:",
            on_click=guard.callback(lambda: st.session_state.update({"extracting splits": these})),
        )


def _means(role: str, store: Store) -> str:
    means = kept("summary", lambda: means_by_outcome(store.samples), store)
    parts = [f"{which} {mean:.2f}" for which, mean in zip(("right", "wrong"), means, strict=True) if mean > 0]
    norm = store.manifest["norm"]
    return f"{literal(labelled(role, store))}: mean {norm['mean']:.2f}, sd {norm['sd']:.2f}; {', '.join(parts)}."


def _fields(stores: dict[str, Store], choice: Choice) -> tuple[float, float] | None:
    """The range that the fields hold: what a brush has set, or what was typed; None where both are empty."""
    decimals = _decimals(stores)
    span: tuple[float, float] | None = st.session_state[address.key("norm")]
    st.caption(f"Select norms of {literal(choice.role)} {literal(stores[choice.role].name)}")
    for name, key, end in zip(("‖f‖ from", "‖f‖ to"), ENDS, span or (None, None), strict=True):
        st.session_state[key] = end if end is not None and math.isfinite(end) else None
        inputs.on().number_input(
            name, value=None, step=10.0**-decimals, format=f"%.{decimals}f", key=key, placeholder="any",
            help="Or drag over the plot." if key == ENDS[0] else None,
            on_change=guard.callback(_typed, writes=False),
        )  # fmt: skip
    if span is not None:
        st.button("Clear", key="clear range", on_click=guard.callback(_clear, writes=False), width="stretch")
    return span


def _typed() -> None:
    """Take over the range that the fields hold; one end alone is a range as well."""
    low, high = (st.session_state[key] for key in ENDS)
    ends = sorted((-math.inf if low is None else float(low), math.inf if high is None else float(high)))
    st.session_state["norm"] = (ends[0], ends[1]) if (low, high) != (None, None) else None


def _decimals(stores: Mapping[str, Store]) -> int:
    """How many decimals of a norm are worth saying: two more than its spread begins with."""
    sd = max(float(store.manifest["norm"]["sd"]) for store in stores.values())
    return min(max(2 - math.floor(math.log10(sd)), 0), 6) if sd > 0 else 2


def _clear() -> None:
    st.session_state["norm"] = None


def _drawn(span: tuple[float, float] | None, stores: Mapping[str, Store]) -> tuple[float, float] | None:
    """The range as it is drawn: an open end lies where the norms end."""
    if span is None:
        return None
    norms = [store.manifest["norm"] for store in stores.values()]
    return max(span[0], min(n["min"] for n in norms)), min(span[1], max(n["max"] for n in norms))


def _brush(stores: dict[str, Store], choice: Choice) -> None:
    """Put the range that was dragged over into the fields; it is of the model whose hump is there."""
    brushed(st.session_state["distribution"], stores, choice)


def brushed(event: Any, stores: dict[str, Store], choice: Choice) -> None:
    """Set the range, and whose norms are meant, by the box that was drawn; nothing where none was."""
    columns = ("norm",) if axis(stores, choice) == "x" else ("class", "norm")
    span = selection.boxed(event, columns).get("norm")
    if span is None:
        return
    decimals = _decimals(stores)
    st.session_state["norm"] = (round(span[0], decimals), round(span[1], decimals))
    if choice.way in ("model", "split") and len(stores) > 1:
        st.session_state["model"] = meant(stores, choice, span)


def meant(stores: Mapping[str, Store], choice: Choice, span: tuple[float, float]) -> str:
    """Whose norms a brush means where several models are drawn: the one chosen, unless another's hump is there."""
    shares = {}
    for role, store in stores.items():
        norms = _norms(store, choice.cls)
        shares[role] = float(((norms >= span[0]) & (norms <= span[1])).mean()) if len(norms) else 0.0
    most = max(shares, key=lambda role: shares[role])
    return most if shares[most] > CLEARLY * shares[choice.role] else choice.role
