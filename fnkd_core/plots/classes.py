"""How many samples each class has, and how far the others lie from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from fnkd_core.plots.style import ACCENT, NEUTRAL, SLOTS, framed, literal, literals
from fnkd_core.plots.words import each, ends, listed

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


def costs_from(costs: Mapping[str, NDArray[np.float64]], classes: Sequence[str], shown: Sequence[int]) -> go.Figure:
    """Bars of what it costs to move mass of one class to each of those shown. costs: what it goes by -> (K,)."""
    names = [literal(classes[k]) for k in shown]
    figure = go.Figure()
    for colour, (name, cost) in zip((ACCENT, NEUTRAL), costs.items(), strict=False):
        figure.add_bar(
            y=names,
            x=cost[list(shown)],
            name=literal(name),
            orientation="h",
            marker={"color": colour, "opacity": 0.9},
            text=[f"{x:.2f}" for x in cost[list(shown)]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{literal(name)}<br>%{{y}}: %{{x:.4f}}<extra></extra>",
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(range=[0, 1.15], nticks=4)
    parts = [
        f"{literal(by)}: {ends(names, cost[list(shown)], '.2f', 'cheapest', 'dearest')}" for by, cost in costs.items()
    ]
    says = f"What mass costs on {len(names)} other classes, by {listed(parts)}."
    framed(figure, x="cost of mass there", y="", says=says, height=110 + 34 * len(shown))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
