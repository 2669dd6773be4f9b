"""What the samples that pass have in common, below their pictures; looked at when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from fnkd_core.analysis.common import class_shares, mean_picture
from fnkd_core.stores.neighbours import central, closest_pairs
from fnkd_core.stores.store import Store
from fnkd_core.ui import address, guard, inputs, tables
from fnkd_core.ui.arrange import Arrangement, rows_of
from fnkd_core.ui.components.gallery import panel
from fnkd_core.ui.links import MOST_IN_COMMON
from fnkd_core.ui.shown import open_it
from fnkd_core.ui.stores import kept_of_filters
from fnkd_core.ui.tiles import tiles

STAND_FOR, PAIRS = 12, 12
KEY = "common pictures"


def common(store: Store, arrangement: Arrangement) -> None:
    """The first of the order: class shares against the whole, mean picture, representatives and near-duplicates."""
    a, b = st.columns([1, 3], vertical_alignment="bottom")
    wanted = int(inputs.on(a).number_input("Of the first", 2, MOST_IN_COMMON, step=100, key=address.key("common_of")))
    ids = arrangement.ids[:wanted]
    text = f"Look at {len(ids):,} of the {len(arrangement.ids):,} that pass"
    if not inputs.on(b).toggle(text, key=address.key("common")):
        st.caption(
            "Which classes they are of, their mean picture, which of them stand for the rest, and near-duplicates."
        )
        return
    key = (ids.tobytes(),)  # whatever made them pass, and in this order
    shares = kept_of_filters("shares", lambda: class_shares(store, ids), store, *key)
    picture, of = kept_of_filters("mean picture", lambda: mean_picture(store, ids), store, *key)
    left, right = st.columns([3, 1], gap="medium")
    with left:
        tables.show(
            shares,
            hide_index=True,
            height=220,
            column_config={
                "share": st.column_config.NumberColumn(format="percent"),
                "share_of_all": st.column_config.NumberColumn("share of all", format="percent"),
                "times": st.column_config.NumberColumn("times as often", format="%.2f"),
                "num_samples": st.column_config.NumberColumn("samples"),
            },
        )
    with right:
        says = f"Mean picture of {of:,}"
        st.image(picture, caption=says, width=180, alt=says)
    pairs, distances = kept_of_filters("pairs", lambda: closest_pairs(store, ids, PAIRS), store, *key)
    stand = kept_of_filters("stand for", lambda: central(store, ids, STAND_FOR), store, *key)
    told = f", distances {distances[0]:.4f} to {distances[-1]:.4f}" if len(pairs) else ""
    near = f"By the cosine of their features{told}; at 0 two are the same to the network."
    panels: list[dict[str, Any]] = [
        panel(title, note, rows_of(store, those.astype(np.int32)), store)
        for title, note, those in (
            ("Representatives", "Nearest by angle to the mean direction of their features.", stand),
            ("Nearest pairs", near, pairs.ravel()),
        )
    ]
    panels[1]["pairs"] = True
    tiles(panels, 64, key=KEY, on={"opened": guard.Answer(open_it, writes=False)})
