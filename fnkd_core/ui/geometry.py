"""How the features of a model lie by class, on the Norms page: angles between class means, and neural collapse."""

from __future__ import annotations

import contextlib
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from fnkd_core.analysis.geometry import Geometry, by_likeness, geometry, head_weights, nearest_classes
from fnkd_core.checkpoints.library import Entry
from fnkd_core.plots.geometry import MOST_CELLS, MOST_NAMED, class_angles
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, charts, inputs, tables
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.stores import kept

AT_ONCE = 2e8
"""Numbers of features that are read without being asked; of more the page says what it costs."""
KINDS = {"centred": "from their common mean", "raw": "from the origin"}


def show(role: str, store: Store, entry: Entry) -> None:
    """Angles, nearest classes and NC1 to NC3 of one model."""
    n, d, k = (store.manifest[f"num_{what}"] for what in ("samples", "features", "classes"))
    st.caption(f"{literal(role.capitalize())}: {literal(store.name)}, {n:,} samples, {d:,} features.")
    if n * d > AT_ONCE and not inputs.on().toggle(
        "Compute it", key=address.key("geometry"), help=f"Reads {2e-9 * n * d:.1f} GB of features, once."
    ):
        return
    with st.spinner("Reading the features") if n * d > AT_ONCE else contextlib.nullcontext():
        found = kept("geometry", lambda: geometry(store.features, store.samples["label"].to_numpy(), k), store)
    if len(found.labels) < 2:
        st.info("There is one class here; angles are between two.", icon=":material/info:")
        return
    weights = kept("head weights", lambda: head_weights(entry.path, store), store, str(entry.path))
    _collapse(found, None if weights is None else found.alignment(weights), store)
    kind = inputs.on().segmented_control(
        "Angles between class means",
        list(KINDS),
        key=address.key("angles", list(KINDS)),
        required=True,
        format_func=KINDS.__getitem__,
    )
    _angles(found, store, kind != "raw")


def _collapse(found: Geometry, aligned: tuple[float, float] | None, store: Store) -> None:
    sd, gap = found.equal_angles
    part = "" if found.num_samples == store.manifest["num_samples"] else f" From {found.num_samples:,} samples, seeded."
    with st.container(horizontal=True, gap="medium"):
        text = f"tr(S_W pinv(S_B)) / K: scatter around the class means against how far these lie apart.{part}"
        st.metric("NC1, within / between", f"{found.nc1:.3g}", help=text, width="content")
        text = "Coefficient of variation of the norms of the centred class means."
        st.metric("NC2, norms", f"{found.equal_norms:.3f}", help=text, width="content")
        text = f"sd of the cosines between centred class means; their mean distance to -1/(K-1) is {gap:.3f}."
        st.metric("NC2, angles", f"{sd:.3f}", help=text, width="content")
        if aligned is not None:
            text = (
                "Mean cosine between a class's row of the head and its centred mean; 1 where they are one direction. "
                f"Squared distance of the two as normalised matrices: {aligned[1]:.3f}."
            )
            st.metric("NC3, head with means", f"{aligned[0]:.3f}", help=text, width="content")
    without = "" if aligned is not None else " NC3 is left out: no linear head in the checkpoint makes these logits."
    st.caption(
        "Where a network has collapsed, NC1 is 0 (a class is a point), NC2 is 0 twice (the class means are as long as "
        f"each other, at {found.simplex_angle:.1f}° between any two) and NC3 is 1 (the head points at them). "
        f"Papyan et al. (2020) saw networks near this on the training split, trained on past the last error.{without}"
    )


def _columns() -> dict[str, Any]:
    return {
        "angle nearest": st.column_config.NumberColumn("angle", format="%.1f°", width=64),
        "angle second": st.column_config.NumberColumn("angle", format="%.1f°", width=64),
        "norm of mean": st.column_config.NumberColumn("‖mean f‖", format="%.2f", width=80),
        "mean norm": st.column_config.NumberColumn("mean ‖f‖", format="%.2f", width=80),
    }


def _angles(found: Geometry, store: Store, centred: bool) -> None:
    middle = found.simplex_angle if centred else found.mean_angle
    few = len(found.labels) <= MOST_NAMED
    left, right = st.columns([1.35, 1], gap="medium") if few else (st.container(), st.container())
    with left:

        def chart() -> go.Figure:
            order = by_likeness(found.angles(True))
            names = [store.classes[label] for label in found.labels[order]]
            return class_angles(found.angles(centred)[order][:, order], names, middle)

        charts.chart(kept("angles", chart, store, centred), key="class-angles")
        size = -(-len(found.labels) // MOST_CELLS)
        said = "" if size == 1 else f" A cell is the mean over {size} by {size} neighbouring classes."
        st.caption(
            f"Similar classes stand side by side. Orange is closer, blue further apart than {middle:.1f}°"
            f"{', the angle of a simplex' if centred else ', their mean'}.{said}"
        )
    with right:
        table = kept("nearest", lambda: nearest_classes(found, store.classes, centred), store, centred)
        tables.show(table, hide_index=True, height=min(560, 35 * (len(table) + 1) + 3), column_config=_columns())
        st.caption("The closest pairs first; angles in degrees.")
