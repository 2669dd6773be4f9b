"""How much a teacher's mean probability spreads under each augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fnkd_core.plots.style import NEUTRAL, TEACHER, framed, literals
from fnkd_core.plots.words import ends, spread


def spreads(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """A point with its interval for each augmentation, the lowest on top. rows: see `fnkd_core.training.spread.Row`."""
    shown = [*reversed(rows)]
    figure = go.Figure()
    figure.add_scatter(
        x=[row["ratio"] for row in shown],
        y=literals(row["name"] for row in shown),
        mode="markers",
        marker={"color": TEACHER, "size": 9},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [row["high"] - row["ratio"] for row in shown],
            "arrayminus": [row["ratio"] - row["low"] for row in shown],
            "color": TEACHER,
            "thickness": 1.5,
        },
        customdata=[[row["spread"], row["entropy"], row["norm"]] for row in shown],
        hovertemplate="spread %{customdata[0]:.3g}, %{x:.3f} of the first<br>entropy of the targets "
        "%{customdata[1]:.3f} nats<br>mean ‖f‖ %{customdata[2]:.3g}<extra></extra>",
        showlegend=False,
    )
    figure.add_vline(x=1, line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    ratios = ends(literals(row["name"] for row in rows), [row["ratio"] for row in rows], ".3f")
    says = (
        f"Spread of the teacher's mean probability under {len(rows)} augmentations, as a multiple of that under shifts "
        f"and flips alone: {ratios}. Entropy of the targets in nats: {spread([row['entropy'] for row in rows])}."
    )
    x = "spread of the teacher's mean probability, to shifts and flips alone"
    return framed(figure, x=x, y="", says=says, height=300)
