"""Sliders for the values of target rules that move the distributions while they are dragged, in the browser."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from fnkd_core.analysis.divergence import Bins, binned
from fnkd_core.analysis.targets import Source
from fnkd_core.kd.objective import with_policy
from fnkd_core.kd.rules import RULES, STATISTICS
from fnkd_core.plots.norms import drawn
from fnkd_core.stores.store import Store

_HERE = Path(__file__).parent
_FILES = ("curves.js", "divergence.js", "charts.js", "apart.js", "sample.js", "controls.js", "lab.js")
_component = st.components.v2.component(
    "fnkd_temperature_lab",
    html='<div class="frame"><div class="lab"></div></div>',
    css=(_HERE / "lab.css").read_text(),
    js="\n".join((_HERE / name).read_text() for name in _FILES),
)

MOST_SAMPLES = 2000
"""More are thinned evenly over the norms: what is sent once must stay a few megabytes."""


def _packed(values: Any, dtype: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def drawn_rows(store: Store) -> np.ndarray:
    """(n,) the samples that are drawn, evenly over this store's norms."""
    count = len(store.samples)
    picked = np.linspace(0, count - 1, min(count, MOST_SAMPLES)).round().astype(int)
    return np.sort(store.order[picked])


def lab_data(sources: Mapping[str, Source]) -> dict[str, Any]:
    """All that is the same for every value: models (by role), and what of their samples is common to them.

    The samples are drawn over the norms of the teacher, where there is one.
    """
    reference = sources.get("teacher") or next(iter(sources.values()))
    rows = drawn_rows(reference.store)
    bins = binned(dict(sources), rows)
    sizes = [len(members) for members in reference.similar] or [0] * reference.num_classes
    return {
        "what": " ".join(f"{s.store.path.name} {s.store.manifest['created']} {s.store.name}" for s in sources.values()),
        "rules": {name: dataclasses.asdict(rule) for name, rule in RULES.items()},
        "policies": with_policy(),
        "bounds": {name: list(span) for name, span in reference.bounds().items()},
        "classes": reference.store.classes,
        "models": {role: model_data(source, rows, bins, role) for role, source in sources.items()},
        "common": {
            "labels": _packed(reference.store.samples["label"].to_numpy()[rows], np.int32),
            "sizes": sizes,
            "counts": bins.counts.tolist(),
            "similar": _packed(bins.similar, np.uint16),
        },
    }


def model_data(source: Source, rows: np.ndarray, bins: Bins, role: str) -> dict[str, Any]:
    """Statistics, curves and binned logits of the drawn samples, packed: shares of 65535 in 16 bits, else float32."""
    store = source.store
    part = drawn(len(store.samples), MOST_SAMPLES)
    curves, nats = store.curves, np.log(source.num_classes)
    data: dict[str, Any] = {
        "name": store.name,
        "means": {name: float(source.statistic(name).mean()) for name in STATISTICS},
        "statistics": {name: _packed(source.statistic(name)[rows], np.float32) for name in STATISTICS},
        "num_samples": len(store.samples),
        "drawn": f"{part} Evenly over the norms; the numbers above the shapes are theirs." if part else "",
        "grid": curves["grid"].astype(float).tolist(),
        "logits": _packed(bins.logits[role], np.float32),
        "bias": _packed(bins.biases[role], np.float32) if role in bins.biases else None,
    }
    for prefix in ("", "released_") if "released_entropy" in curves else ("",):
        entropy = np.clip(curves[f"{prefix}entropy"][rows].astype(np.float32) / nats, 0, 1)
        data[f"{prefix}entropy"] = _packed(entropy * 65535, np.uint16)
        data[f"{prefix}top"] = _packed(curves[f"{prefix}top_probability"][rows].astype(np.float32) * 65535, np.uint16)
    return data


def sample_data(source: Source, sample: int) -> dict[str, Any]:
    """One sample's logits, the head's bias and the statistics, as plain numbers."""
    store = source.store
    return {
        "name": store.name,
        "logits": [float(x) for x in store.logits[sample]],
        "bias": None if store.bias is None else [float(x) for x in store.bias],
        "statistics": source.statistics_of(sample),
        "prediction": int(store.samples["prediction"].iat[sample]),
    }


def temperature_lab(
    pack: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    key: str,
    on_values: Callable[[], None],
    on_rank: Callable[[], None],
    on_match: Callable[[], None],
    on_train: Callable[[], None],
) -> Any:
    """Draw the lab.

    pack: `lab_data`, which goes to the browser once. data: sample (id, rank with 0 = lowest norm, count, image as a
    data URI, label, similar, and `sample_data` by role), values (those of the sliders, lambda, `rules` that are
    drawn, `pair` and `of` that are compared), set (another number where the values are to be taken), can_train, said
    (of the last match), largest.
    The result has `values` and `rank` as last released; `match` and `train` are what was just asked for, else None.
    """
    with st.container(gap=None):
        _component(key=f"{key} pack", data=dict(pack))
        return _component(
            key=key,
            data={"what": pack["what"], **data},
            default={"values": dict(data["values"]), "rank": data["sample"]["rank"]},
            on_values_change=on_values,
            on_rank_change=on_rank,
            on_match_change=on_match,
            on_train_change=on_train,
        )
