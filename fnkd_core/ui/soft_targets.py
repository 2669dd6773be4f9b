"""The lab of the Soft targets page, and what follows from its values."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from fnkd_core.spreadsheets import csv_of
from fnkd_core.stores.curves import summary_under
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard
from fnkd_core.ui.components.gallery import image_uri
from fnkd_core.ui.components.temperature_lab import model_data, sample_data, temperature_lab
from fnkd_core.ui.distill import take_over
from fnkd_core.ui.markdown import literal, table_cells
from fnkd_core.ui.sample import temperatures
from fnkd_core.ui.stores import kept
from fnkd_core.ui.view import page_path

NUMBERS = {"t": "T", "tau": "tau", "lambda": "lambda"}
"""Value -> its name in the address."""


def _start(store: Store) -> dict[str, float | str]:
    """The values to begin with: the URL's, else those of this session, else the matched ones."""
    values = dict(temperatures(store))
    values |= {key: st.session_state[name] for key, name in NUMBERS.items() if st.session_state.get(name)}
    variants = ("paper", "released")
    values["variant"] = st.session_state[address.key("variant", variants, values["variant"])]
    return values


@guard.fragment
def lab(stores: dict[str, Store]) -> None:
    """The sliders with their charts, one sample's targets, and the sums of what is shown."""
    reference = stores.get("teacher") or next(iter(stores.values()))
    samples = reference.samples
    key = "lab " + " ".join(s.path.name for s in stores.values())
    held = st.session_state.get(key) or {}
    rank = min(max(int(held.get("rank") or 0), 0), len(samples) - 1)
    row = samples.iloc[int(reference.order[rank])]
    sample = int(row["id"])
    start = st.session_state.setdefault(f"{key} start", _start(reference))

    def remember() -> None:
        values = st.session_state[key]["values"]
        st.session_state.update({name: values[k] for k, name in NUMBERS.items()} | {"variant": values["variant"]})

    result = temperature_lab(
        {role: kept("lab", functools.partial(model_data, s), s) for role, s in stores.items()},
        {
            "id": sample,
            "rank": rank,
            "count": len(samples),
            "image": image_uri(reference, sample),
            "label": int(row["label"]),
            "models": {role: sample_data(s, sample) for role, s in stores.items()},
        },
        reference.classes,
        start,
        key=key,
        on_values=guard.callback(remember, writes=False),
    )
    values = dict(result["values"] or start)
    st.session_state["temperatures"] = values  # the dialog of a sample shows it under these
    to_distill(values)
    tables = [summary_under(s, values).assign(model=role) for role, s in stores.items()]
    with st.expander("The same in numbers, over all samples"):
        table = pd.concat(tables)[
            ["model", "rule", "temperature", "temperature sd", "top probability", "entropy", "entropy sd"]
        ]
        st.dataframe(table_cells(table), hide_index=True, column_config=_formats(table))
        st.download_button("Download as CSV", csv_of(table), "soft-targets.csv", "text/csv")


def _formats(table: pd.DataFrame) -> dict[str, Any]:
    return {c: st.column_config.NumberColumn(format="%.4f") for c in table.columns if c not in ("model", "rule")}


def to_distill(values: Mapping[str, Any]) -> None:
    """The values, and the way from them to a training."""
    if guard.read_only():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Use these values in Distill", icon=":material/science:"):
            take_over(values)
            address.go(page_path("distill"))
        st.caption(
            f"T {values['t']:.3g} for kd; tau {values['tau']:.3g}, lambda {values['lambda']:.3g} and variant "
            f"{literal(values['variant'])} for fn. Distill keeps its own values until you press.",
            width="content",
        )
