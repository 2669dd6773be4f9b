"""Figures of how norms and samples went through a run's epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from fnkd_core.analysis.dynamics import NormCounts
from fnkd_core.plots.maps import SEQUENTIAL, colour_scale
from fnkd_core.plots.style import NEUTRAL, RIGHT, SLOTS, WRONG, framed, literal, literals
from fnkd_core.plots.words import courses, spread

GROUPS = {"right": RIGHT, "wrong": WRONG}
MOST_FRAMES = 200
"""Of more epochs than this the slider has an even part, the first and the last among it."""
SHADES = {"right": "rgba(128,138,152,0.20)", "wrong": "rgba(128,138,152,0.12)"}


def slider_epochs(counts: Sequence[NormCounts]) -> list[NormCounts]:
    """Those of the epochs that the slider goes through."""
    if len(counts) <= MOST_FRAMES:
        return list(counts)
    return [counts[i] for i in np.unique(np.linspace(0, len(counts) - 1, MOST_FRAMES).round().astype(int))]


def norms_at_epochs(counts: Sequence[NormCounts], edges: NDArray[np.float64]) -> go.Figure:
    """A histogram of ||f|| of right and of wrong samples, and a slider that moves it through the epochs.

    The epochs are the figure's frames, so that moving it asks nobody. Counts, not shares: what is wrong at first is
    right in the end, which is to be seen. edges: of the bins, the same in every epoch.
    """
    shown = slider_epochs(counts)
    middles, width = (edges[:-1] + edges[1:]) / 2, float(edges[1] - edges[0])
    bars = {one.epoch: {group: one.histogram(group, edges) for group in GROUPS} for one in shown}
    highest = max(int((found["right"] + found["wrong"]).max()) for found in bars.values())
    last = shown[-1]
    figure = go.Figure()
    for group, colour in GROUPS.items():
        figure.add_bar(
            x=middles,
            y=bars[last.epoch][group],
            width=width,
            name=group,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=f"{group}<br>‖f‖ about %{{x:.3g}}: %{{y:,}} samples<extra></extra>",
        )
    figure.frames = [
        go.Frame(
            name=str(one.epoch),
            data=[{"type": "bar", "y": bars[one.epoch][group]} for group in GROUPS],
            traces=[0, 1],
            layout={"annotations": [_told(one)]},
        )
        for one in shown
    ]
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    moving = {"mode": "immediate", "fromcurrent": True, "frame": {"duration": 120, "redraw": True}}
    figure.update_layout(
        barmode="stack",
        showlegend=True,
        annotations=[_told(last)],
        sliders=[
            {
                "active": len(shown) - 1,
                "currentvalue": {"prefix": "epoch ", "xanchor": "left"},
                "pad": {"t": 44, "l": 140, "b": 4},
                "tickcolor": NEUTRAL,
                "bgcolor": "rgba(128,138,152,0.25)",
                "activebgcolor": SLOTS[0],
                "borderwidth": 0,
                "steps": [
                    {"label": str(one.epoch), "method": "animate", "args": [[str(one.epoch)], still]} for one in shown
                ],
            }
        ],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "x": 0,
                "y": 0,
                "xanchor": "left",
                "yanchor": "top",
                "pad": {"t": 64, "l": 0},
                "showactive": False,
                "bgcolor": "rgba(128,138,152,0.15)",
                "borderwidth": 0,
                "buttons": [
                    {"label": "Play", "method": "animate", "args": [None, moving]},
                    {"label": "Pause", "method": "animate", "args": [[None], still]},
                ],
            }
        ],
    )
    figure.update_yaxes(range=[0, 1.05 * highest])
    figure.update_xaxes(range=[float(edges[0]), float(edges[-1])])
    told = [f"In {', '.join(_facts(one))}." for one in {one.epoch: one for one in (shown[0], last)}.values()]
    says = f"Histograms of ‖f‖ of right and of wrong samples in {len(shown):,} epochs. {' '.join(told)}"
    return framed(figure, x="feature norm ‖f‖", y="samples", says=says, height=400)


def _facts(one: NormCounts) -> list[str]:
    auroc = "–" if np.isnan(one.auroc) else f"{one.auroc:.3f}"
    return [f"epoch {one.epoch}", f"accuracy {one.accuracy:.1%}", f"AUROC of ‖f‖ {auroc}"]


def _told(one: NormCounts) -> dict[str, object]:
    """What is said of an epoch in its histogram."""
    text = "<br>".join(_facts(one))
    place = {"x": 1, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "top"}
    return place | {"text": text, "showarrow": False, "align": "right"}


def norm_quantiles(counts: Sequence[NormCounts]) -> go.Figure:
    """Median ||f|| of right and of wrong samples by epoch, with the range of the middle 80 % of each."""
    epochs = [one.epoch for one in counts]
    figure = go.Figure()
    for group, colour in GROUPS.items():
        low, middle, high = np.transpose([one.quantiles(group, (0.1, 0.5, 0.9)) for one in counts])
        for values, fill in ((low, None), (high, "tonexty")):
            figure.add_scatter(
                x=epochs,
                y=values,
                mode="lines",
                line={"color": colour, "width": 0.5},
                fill=fill,
                fillcolor=SHADES[group],
                legendgroup=group,
                showlegend=False,
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=epochs,
            y=middle,
            mode="lines+markers" if len(epochs) < 40 else "lines",
            name=group,
            legendgroup=group,
            line={"color": colour, "width": 2, "dash": "solid" if group == "right" else "dash"},
            marker={"size": 5},
            customdata=np.column_stack([low, high]),
            hovertemplate=f"{group}, epoch %{{x}}<br>median ‖f‖ %{{y:.3g}}, middle 80 % %{{customdata[0]:.3g}} to "
            "%{customdata[1]:.3g}<extra></extra>",
        )
    figure.update_layout(showlegend=True)
    if len(epochs) < 12:
        figure.update_xaxes(dtick=1)
    return framed(figure, x="epoch", y="‖f‖", says=f"Median ‖f‖ by epoch: {courses(figure, '.3g')}.", height=300)


def data_map(rows: pd.DataFrame, column: str, title: str, classes: Sequence[str]) -> go.Figure:
    """Mean against spread of p_label over the epochs, a point a sample, coloured by a column.

    rows: of `by_sample`, those to draw; their index is each point's first custom value.
    """
    values = rows[column].to_numpy(np.float64)
    scale = colour_scale(values, title) if len(values) else {}
    if rows[column].dtype.kind == "i":  # counts, of which most are 0
        most = max(1.0, float(values.max(initial=0)))
        bar = {"title": literal(title), "thickness": 14} | ({"dtick": 1} if most < 10 else {})
        scale |= {"colorscale": SEQUENTIAL, "cmin": 0.0, "cmax": most, "colorbar": bar}
    said = np.array(literals(classes))
    figure = go.Figure(
        go.Scattergl(
            x=rows["p_sd"],
            y=rows["p_mean"],
            mode="markers",
            marker={
                "size": 7 if len(rows) <= 1000 else 5 if len(rows) <= 10_000 else 3,
                "opacity": 0.8,
            }
            | scale,
            customdata=rows[["forgotten", "norm_last", "correctness"]]
            .assign(row=rows.index, label=said[rows["label"]])[
                ["row", "label", "forgotten", "norm_last", "correctness"]
            ]
            .to_numpy(object),
            hovertemplate="%{customdata[1]}<br>p of the label %{y:.3f} ± %{x:.3f}, right in %{customdata[4]:.0%} of "
            "the epochs<br>forgotten %{customdata[2]} times, last ‖f‖ %{customdata[3]:.3g}<extra></extra>",
        )
    )
    figure.update_layout(dragmode="lasso", hovermode="closest", uirevision="data map", showlegend=False)
    says = (
        f"Data map of {len(rows):,} samples. Mean p of the label over the epochs: {spread(rows['p_mean'])}; its "
        f"standard deviation: {spread(rows['p_sd'])}. Coloured by {literal(title)}: {spread(values)}."
    )
    framed(figure, x="spread: sd of p of the label over the epochs", y="mean p of the label", says=says, height=460)
    figure.update_layout(modebar={"remove": ["autoScale2d", "zoomIn2d", "zoomOut2d"]})
    figure.update_yaxes(range=[-0.03, 1.03])
    return figure


def forgetting(samples: pd.DataFrame) -> go.Figure:
    """How many samples were forgotten how often; those that were never learnt apart."""
    learnt = samples["learnt"].to_numpy() > 0
    counts = np.bincount(samples["forgotten"].to_numpy()[learnt], minlength=1)
    names = ["never learnt", *(str(times) for times in range(len(counts)))]
    figure = go.Figure(
        go.Bar(
            x=names,
            y=[int((~learnt).sum()), *counts.tolist()],
            marker={"color": [NEUTRAL, *[SLOTS[0]] * len(counts)], "line": {"width": 0}},
            hovertemplate="%{x}: %{y:,} samples<extra></extra>",
        )
    )
    figure.update_layout(showlegend=False)
    says = (
        f"Of {len(samples):,} samples {int((~learnt).sum()):,} were never learnt, {int(counts[0]):,} learnt and never "
        f"forgotten, {int(counts[1:].sum()):,} forgotten at least once, none more than {len(counts) - 1} times."
    )
    return framed(figure, x="times forgotten", y="samples", says=says, height=300)
