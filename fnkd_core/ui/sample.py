"""One sample in full, in a dialog: image, norms, and its top classes under the three rules."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import streamlit as st

from fnkd_core.plots.samples import class_bars
from fnkd_core.stores.curves import feature_norm_temperatures, softmax
from fnkd_core.stores.store import Store
from fnkd_core.ui import guard
from fnkd_core.ui.components.gallery import image_uri
from fnkd_core.ui.markdown import code, literal, table_cells


def temperatures(store: Store) -> dict[str, float | str]:
    """T, tau, lambda and variant as last set on Soft targets; else T = 4 and the tau that matches it."""
    mean = float(store.manifest["norm"]["mean"])
    matched = float(f"{mean / 4:.3g}")
    return st.session_state.get("temperatures") or {"t": 4.0, "tau": matched, "lambda": 3.0, "variant": "paper"}


def distributions(store: Store, sample: int, values: dict[str, float | str]) -> dict[str, np.ndarray]:
    """Rule -> (K,) probabilities of a sample at T = 1, at T, and at its own T_i by the feature norm."""
    v = np.asarray(store.logits[sample], np.float64)
    t = float(values["t"])
    t_i = float(feature_norm_temperatures(store.samples["norm"].iloc[[sample]].to_numpy(), values)[0])
    softened = v / t_i
    if values["variant"] == "released" and store.bias is not None:
        softened = (v - store.bias) / t_i + store.bias
    return {"T = 1": softmax(v), f"T = {t:g}": softmax(v / t), f"τ/‖f‖, T_i = {t_i:.2f}": softmax(softened)}


@guard.dialog("Sample", width="large")
def show_sample(stores: dict[str, Store], sample: int) -> None:
    """Open the dialog for one sample of the split."""
    first = next(iter(stores.values()))
    row, classes = first.samples.iloc[sample], first.classes
    values = temperatures(stores.get("teacher", first))
    picture, facts = st.columns([1, 2.4], gap="medium")
    with picture:
        # Streamlit would smooth an 8-pixel image into a blur.
        st.html(
            f'<img src="{image_uri(first, sample)}" alt="sample {sample}" style="width:100%;max-width:220px;'
            'image-rendering:pixelated;border-radius:6px">'
        )
        st.caption(f"#{sample:d}, {code(row['key'])}")
    with facts:
        st.markdown(f"**Label: {literal(classes[row['label']])}**")
        st.dataframe(table_cells(_facts(stores, sample)), hide_index=True)
    for role, store in stores.items():
        st.markdown(f"**{literal(role.capitalize())}**: {literal(store.name)}")
        figure = class_bars(distributions(store, sample, values), classes, int(row["label"]), role)
        st.plotly_chart(figure, key=f"sample-{role}", config={"displayModeBar": False})
    st.caption("T and τ are those set on Soft targets.")


def _facts(stores: dict[str, Store], sample: int) -> pd.DataFrame:
    rows = []
    for role, store in stores.items():
        row = store.samples.iloc[sample]
        share = float((store.samples["norm"] < row["norm"]).mean())
        rows.append(
            {
                "model": role,
                "‖f‖": round(float(row["norm"]), 2),
                "lower than": f"{math.ceil(100 * (1 - share))} %",
                "predicts": store.classes[row["prediction"]],
                "right": bool(row["correct"]),
                "confidence": round(float(row["confidence"]), 4),
                "entropy": round(float(row["entropy"]), 4),
            }
        )
    return pd.DataFrame(rows)
