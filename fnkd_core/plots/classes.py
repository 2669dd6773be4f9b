"""How many samples each class has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from fnkd_core.plots.style import SLOTS, framed, literal, literals
from fnkd_core.plots.words import each, ends

NAMED = 40
"""So many classes have room for their names below the bars."""


def samples_by_class(counts: Mapping[str, NDArray[np.int64]], classes: Sequence[str]) -> go.Figure:
    """Bars of samples by class, stacked by split, the fewest first. counts: split -> (K,)."""
    total = np.sum(list(counts.values()), axis=0)
    order = np.argsort(total, kind="stable")
    names = np.array(literals(classes), object)[order]
    figure = go.Figure()
    few = len(classes) <= NAMED
    for colour, (split, count) in zip(SLOTS, counts.items(), strict=False):
        figure.add_bar(
            x=names if few else np.arange(len(names)),
            y=count[order],
            name=literal(split),
            marker={"color": colour, "line": {"width": 0}},
            customdata=names,
            hovertemplate=f"%{{customdata}}<br>%{{y:,}} of {literal(split)}<extra></extra>",
        )
    parts = each({literal(split): f"{int(count.sum()):,}" for split, count in counts.items()})
    says = (
        f"{int(total.sum()):,} samples of {len(classes):,} classes ({parts}): "
        f"{ends(literals(classes), total, ',.0f', 'fewest', 'most')}."
    )
    framed(figure, x="class" if few else "classes, fewest samples first", y="samples", says=says, height=260)
    figure.update_layout(barmode="stack", bargap=0.06 if few else 0, legend={"traceorder": "normal"})
    return figure
