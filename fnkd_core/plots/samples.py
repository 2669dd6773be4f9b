"""Figures of a single label's targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from fnkd_core.plots.style import ACCENT, NEUTRAL, framed, literal
from fnkd_core.plots.words import listed

MOST_SIMILAR = 8


def given_back(
    alsd: np.ndarray, lsd: np.ndarray, classes: Sequence[str], label: int, similar: Sequence[int]
) -> go.Figure:
    """Bars of what the label gives back to each similar class and to each other one, under aLSD and under LSD.

    alsd, lsd: (K,) targets of the label.
    """
    others = sorted(set(range(len(classes))) - {label, *similar})
    shown = [*similar[:MOST_SIMILAR], *others[:1]]
    names = [literal(classes[k]) for k in similar[:MOST_SIMILAR]] + [f"{len(others)} others, each"] * bool(others)
    if len(similar) > MOST_SIMILAR:
        names[MOST_SIMILAR - 1] += f" and {len(similar) - MOST_SIMILAR} more"
    figure = go.Figure()
    for name, target, colour in (("aLSD", alsd, ACCENT), ("LSD with ε₁ + ε₂", lsd, NEUTRAL)):
        figure.add_bar(
            y=names,
            x=target[shown],
            name=name,
            orientation="h",
            marker={"color": colour, "opacity": 0.9},
            text=[f"{x:.2g}" for x in target[shown]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{name}<br>%{{y}}: %{{x:.5f}}<extra></extra>",
        )
    figure.update_layout(barmode="group")
    most = float(max(alsd[shown].max(initial=0), lsd[shown].max(initial=0), 1e-6))
    figure.update_xaxes(range=[0, 1.3 * most], nticks=4)
    told = [f"to {literal(classes[k])} {alsd[k]:.2g} (LSD {lsd[k]:.2g})" for k in similar]
    told += [f"to each of {len(others):,} others {alsd[others[0]]:.2g} (LSD {lsd[others[0]]:.2g})"] if others else []
    says = f"What the label {literal(classes[label])} gives back under aLSD: {listed(told)}."
    framed(figure, x="probability", y="", says=says, height=110 + 40 * len(shown))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
