"""Figures of how one run went: between its steps, and what its student's norms became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from fnkd_core.plots.style import SLOTS, STUDENT, framed, literal
from fnkd_core.plots.words import courses

TERMS = {"loss": "loss", "hard": "hard term, before its weight", "soft": "soft term, before its weight"}
"""The terms are recorded as they are, before their weights in the loss, with the T² of methods that have it."""
MEMORY = {"memory": "process", "memory_peak": "process, most so far", "device_memory_peak": "device, most so far"}
GRADIENTS = {"gradient_hard": "hard term", "gradient_soft": "soft term"}
HEIGHT = 250
APART = 4.0
"""Medians of ||f|| whose ratio is larger lie far apart."""
Lines = Sequence[Mapping[str, Any]]


def loss_by_step(steps: Lines) -> go.Figure:
    """The loss, a point for each line of `steps.jsonl`, and its two terms where there are two."""
    shown = TERMS if any(line["soft"] for line in steps) else {"loss": "loss"}
    figure = _over_steps(steps, shown, ".4f", colours=(SLOTS[2], SLOTS[0], SLOTS[1]))
    says = f"The loss by step, nats per sample: {courses(figure)}."
    return framed(figure, x="epoch", y="nats per sample", says=says, height=HEIGHT)


def throughput(steps: Lines) -> go.Figure:
    """Samples per second of training, evaluation not among it."""
    figure = _over_steps(steps, {"samples_per_s": "samples/s"}, ",.0f")
    figure.update_layout(showlegend=False)
    figure.update_yaxes(rangemode="tozero")
    says = f"Throughput of training: {courses(figure, ',.0f')}."
    return framed(figure, x="epoch", y="samples/s", says=says, height=HEIGHT)


def step_learning_rate(steps: Lines) -> go.Figure:
    """The learning rate."""
    figure = _over_steps(steps, {"lr": "learning rate"}, ".3g")
    figure.update_layout(showlegend=False)
    figure.update_yaxes(rangemode="tozero")
    says = f"By step: {courses(figure, '.3g')}."
    return framed(figure, x="epoch", y="learning rate", says=says, height=HEIGHT)


def memory(steps: Lines) -> go.Figure:
    """Memory of the process, and of its tensors on the device where that tells, in GB."""
    in_gb = [line | {k: line[k] / 1e9 for k in MEMORY if line.get(k) is not None} for line in map(dict, steps)]
    shown = {k: v for k, v in MEMORY.items() if any(line.get(k) is not None for line in in_gb)}
    figure = _over_steps(in_gb, shown, ".2f")
    figure.update_yaxes(rangemode="tozero")
    says = f"Memory in GB by step: {courses(figure, '.2f')}."
    return framed(figure, x="epoch", y="GB", says=says, height=HEIGHT)


def gradient_norms(metrics: Lines) -> go.Figure:
    """The norm of the gradient of each term, with its weight in the loss, in the epochs in which it was measured."""
    measured = [line for line in metrics if line.get("gradient_hard") is not None]
    figure = go.Figure()
    for i, (column, name) in enumerate(GRADIENTS.items()):
        with_it = [line for line in measured if line.get(column) is not None]
        if not with_it:
            continue
        figure.add_scatter(
            x=[line["epoch"] for line in with_it],
            y=[line[column] for line in with_it],
            mode="lines+markers" if len(with_it) < 40 else "lines",
            name=name,
            line={"color": SLOTS[i], "dash": ("solid", "dash")[i], "width": 2},
            marker={"size": 5},
            hovertemplate=f"{name}<br>epoch %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    figure.update_layout(showlegend=True)
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(rangemode="tozero")
    says = f"Norm of the gradient of each term by epoch: {courses(figure, '.3g')}."
    return framed(figure, x="epoch", y="norm of the gradient", says=says, height=HEIGHT)


def norms_over_epochs(lines: Lines, bins: int = 48) -> go.Figure:
    """Share of samples by ||f|| and epoch, darker where more are, with the median and the range of 80 % of them.

    lines: of `norms.jsonl`. Their own bins are spread over common ones, as if samples lay evenly within each. The axis
    is logarithmic where the epochs' medians lie more than `APART` times apart: norms that begin or end large would
    leave those of all other epochs one row. Its lowest row then holds what is smaller, too.
    """
    owns = [np.linspace(line["low"], line["high"], len(line["counts"]) + 1) for line in lines]
    belows = [np.concatenate([[0.0], np.cumsum(line["counts"], dtype=float)]) / sum(line["counts"]) for line in lines]
    ranges = [np.interp((0.1, 0.5, 0.9), below, own) for own, below in zip(owns, belows, strict=True)]
    medians = [middle for _, middle, _ in ranges]
    far = max(medians) > APART * min(medians) > 0
    low, high = min(own[0] for own in owns), max(own[-1] for own in owns)
    edges = np.geomspace(max(low, min(medians) / 10), high, bins + 1) if far else np.linspace(low, high, bins + 1)
    up_to = [np.interp(edges[1:], own, below) for own, below in zip(owns, belows, strict=True)]
    shares = [np.diff(share, prepend=0.0) for share in up_to]
    epochs = [line["epoch"] for line in lines]
    filled = np.concatenate([share[share > 0] for share in shares])
    figure = go.Figure()
    figure.add_heatmap(
        x=epochs,
        y=edges,
        z=np.transpose(shares),
        zmin=0,
        zmax=float(np.quantile(filled, 0.98)),  # an epoch whose norms are all alike would leave the others pale
        colorscale=[[0, "rgba(128,138,152,0)"], [1, STUDENT]],
        colorbar={"tickformat": ".0%", "thickness": 10, "outlinewidth": 0},
        hovertemplate="epoch %{x}, ‖f‖ about %{y:.2f}<br>%{z:.1%} of the samples<extra></extra>",
    )
    for place, (name, dash) in enumerate((("10 %", "dot"), ("median", "solid"), ("90 %", "dot"))):
        figure.add_scatter(
            x=epochs,
            y=[found[place] for found in ranges],
            mode="lines+markers" if len(lines) < 2 else "lines",
            name=name,
            line={"color": SLOTS[2], "dash": dash, "width": 1.5},
            hovertemplate=f"{name}, epoch %{{x}}: ‖f‖ %{{y:.2f}}<extra></extra>",
        )
    figure.update_layout(showlegend=False)
    if far:
        figure.update_yaxes(type="log")
    if len(lines) < 10:
        figure.update_xaxes(dtick=1)
    y = f"‖f‖ on {literal(lines[-1]['split'])}"
    return framed(figure, x="epoch", y=y, says=f"{y} by epoch: {courses(figure, '.3g')}.", height=300)


def _over_steps(
    steps: Lines, columns: Mapping[str, str], form: str, colours: Sequence[str] = (SLOTS[1], SLOTS[2], SLOTS[0])
) -> go.Figure:
    """Columns of the steps' lines over the epochs, of which each step is a part."""
    whole = max(line["step"] for line in steps)
    figure = go.Figure()
    for i, (column, name) in enumerate(columns.items()):
        figure.add_scatter(
            x=[line["epoch"] - 1 + line["step"] / whole for line in steps],
            y=[line.get(column) for line in steps],
            mode="lines" if len(steps) > 1 else "lines+markers",
            name=name,
            line={"color": colours[i], "dash": ("solid", "dot", "dash")[i], "width": 1.5},
            customdata=[[line["epoch"], line["step"]] for line in steps],
            hovertemplate=f"{name}<br>epoch %{{customdata[0]}}, step %{{customdata[1]}}: %{{y:{form}}}<extra></extra>",
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(rangemode="tozero")
    return figure
