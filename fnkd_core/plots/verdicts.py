"""How well each score of a sample tells whether it is right, with intervals."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from fnkd_core.plots.style import GRID, NEUTRAL, framed, literal
from fnkd_core.plots.words import each


def auroc_intervals(
    aurocs: Mapping[str, tuple[float, float, float]], colour: str, first: str, ends: tuple[float, float] = (0.5, 1.0)
) -> go.Figure:
    """A dot for each AUROC right-vs-wrong on its 95 % interval, and its value; a line where chance is.

    aurocs: score -> value and the ends of its interval; those that are NaN are left out. first: the score that has the
    colour, the others are neutral. ends: what the axis has to hold, so that two models' charts compare.
    """
    shown = {name: found for name, found in aurocs.items() if found[0] == found[0]}
    figure = go.Figure()
    for name, (value, below, above) in shown.items():
        own = name == first
        figure.add_scatter(
            x=[value],
            y=[literal(name)],
            error_x={
                "type": "data", "symmetric": False, "array": [above - value], "arrayminus": [value - below],
                "thickness": 2.5 if own else 1.5, "width": 0, "color": colour if own else NEUTRAL,
            },
            mode="markers",
            marker={"color": colour if own else NEUTRAL, "size": 10 if own else 7},
            customdata=[[below, above]],
            hovertemplate=f"{literal(name)}<br>AUROC %{{x:.3f}}<br>95 %: %{{customdata[0]:.3f}} to "
            "%{customdata[1]:.3f}<extra></extra>",
            showlegend=False,
            cliponaxis=False,
        )  # fmt: skip
        figure.add_annotation(
            x=1, xref="paper", y=literal(name), xanchor="left", showarrow=False, xshift=6,
            text=f"<b>{value:.3f}</b>" if own else f"{value:.3f}",
        )  # fmt: skip
    figure.add_vline(x=0.5, line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    low = min([ends[0], 0.5, *(found[1] for found in shown.values())])
    high = max([ends[1], 0.5, *(found[2] for found in shown.values())])
    margin = 0.03 * (high - low)
    told = each({literal(name): f"{v:.3f} ({low:.3f} to {high:.3f})" for name, (v, low, high) in shown.items()})
    says = f"AUROC of right against wrong, .5 is chance, with 95 % intervals: {told}."
    framed(figure, x="AUROC (.5 is chance)", y="", says=says, height=74 + 24 * max(len(shown), 1))
    figure.update_layout(margin={"t": 6, "r": 52})
    figure.update_xaxes(range=[low - margin, high + margin], showgrid=True, gridcolor=GRID)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
