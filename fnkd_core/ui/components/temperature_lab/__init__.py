"""Sliders for T and tau that move the distributions while they are dragged, in the browser."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from fnkd_core.plots.norms import drawn
from fnkd_core.stores.store import Store

_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "fnkd_temperature_lab",
    html='<div class="frame"><div class="lab"></div></div>',
    css=(_HERE / "lab.css").read_text(),
    js="\n".join((_HERE / name).read_text() for name in ("curves.js", "lab.js")),
)

MOST_SAMPLES = 2000
"""More are thinned evenly over the norms: what is sent once must stay a few megabytes."""


def _packed(values: np.ndarray, dtype: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def model_data(store: Store) -> dict[str, Any]:
    """Norms and curves of a store, packed: shares of 65535 in 16 bits, norms in float32."""
    norms = store.samples["norm"].to_numpy()
    count = min(len(norms), MOST_SAMPLES)
    rows = np.sort(store.order[np.linspace(0, len(norms) - 1, count).round().astype(int)])
    part = drawn(len(norms), MOST_SAMPLES)
    curves, largest = store.curves, np.log(len(store.classes))
    data: dict[str, Any] = {
        "name": store.name,
        "norms": _packed(norms[rows], np.float32),
        "mean_norm": float(norms.mean(dtype=np.float64)),
        "num_samples": len(norms),
        "drawn": f"{part} Evenly over the norms; the numbers above the shapes are theirs." if part else "",
        "grid": curves["grid"].astype(float).tolist(),
        "entropy": _packed(np.clip(curves["entropy"][rows].astype(np.float32) / largest, 0, 1) * 65535, np.uint16),
        "top": _packed(curves["top_probability"][rows].astype(np.float32) * 65535, np.uint16),
    }
    if "released_entropy" in curves:
        data["released_entropy"] = _packed(
            np.clip(curves["released_entropy"][rows].astype(np.float32) / largest, 0, 1) * 65535, np.uint16
        )
        data["released_top"] = _packed(curves["released_top_probability"][rows].astype(np.float32) * 65535, np.uint16)
    return data


def sample_data(store: Store, sample: int) -> dict[str, Any]:
    """One sample's logits, the head's bias and the norm, as plain numbers."""
    row = store.samples.iloc[sample]
    return {
        "name": store.name,
        "logits": [float(x) for x in store.logits[sample]],
        "bias": None if store.bias is None else [float(x) for x in store.bias],
        "norm": float(row["norm"]),
        "prediction": int(row["prediction"]),
    }


def temperature_lab(
    models: Mapping[str, Mapping[str, Any]],
    sample: Mapping[str, Any],
    classes: list[str],
    values: Mapping[str, Any],
    *,
    key: str,
    on_values: Callable[[], None],
) -> Any:
    """Draw the lab.

    models: role -> `model_data`. sample: rank (0 = lowest norm), count, image (data URI), label and, by role,
    `sample_data`. values: t, tau, lambda and variant. The result has `values` and `rank` as last released.
    """
    return _component(
        key=key,
        data={"models": dict(models), "sample": dict(sample), "classes": classes, "values": dict(values)},
        default={"values": dict(values), "rank": sample["rank"]},
        on_values_change=on_values,
        on_rank_change=lambda: None,
    )
