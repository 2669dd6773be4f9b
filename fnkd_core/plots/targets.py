"""Figures of targets: a class's mean target, the map of what classes say of each other, the factors of a logit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from fnkd_core.plots.style import MOST_NAMED, NEUTRAL, PERCENT, STUDENT, TEACHER, framed, literal, literals, turn
from fnkd_core.plots.words import each, ends, spread

MOST_CLASSES = 100
"""A map of more classes is unreadable; those that take part most are drawn."""
MOST_BARS = 12
SHAPES = ("", "/", "x", ".")
"""Patterns of bars that stand beside each other, which shades of one colour alone do not tell apart."""
SEQUENTIAL = [[0, "rgba(37,120,224,0)"], [0.15, "rgba(37,120,224,0.3)"], [1, "rgba(37,120,224,1)"]]
DIVERGING = [
    [0, "rgba(217,95,14,1)"], [0.4, "rgba(217,95,14,0.35)"], [0.5, "rgba(128,128,128,0)"],
    [0.6, "rgba(37,120,224,0.35)"], [1, "rgba(37,120,224,1)"],
]  # fmt: skip
"""Nothing is the background's colour, in both themes; what is less is orange, what is more blue."""


def class_target(
    means: Mapping[str, np.ndarray], classes: Sequence[str], label: int, role: str, soft: Sequence[str]
) -> go.Figure:
    """Bars of the other classes in a class's mean target, under each rule, and of what is left together.

    means: rule -> (K,). soft: the rules whose first one orders the classes. The label itself is not drawn: beside it
    the others would be nothing.
    """
    first = means[soft[0] if soft else next(iter(means))].copy()
    first[label] = -1
    shown = np.argsort(-first, kind="stable")[: min(MOST_BARS, len(classes) - 1)].tolist()
    rest = sorted(set(range(len(classes))) - {label, *shown})
    names = literals(classes[k] for k in shown) + [f"<i>{len(rest)} others together</i>"] * bool(rest)
    figure = go.Figure()
    for i, (rule, q) in enumerate(means.items()):
        x = [*q[shown], *([q[rest].sum()] if rest else [])]
        hard = rule not in soft
        colour = NEUTRAL if hard else STUDENT if role == "student" else TEACHER
        figure.add_bar(
            y=names,
            x=x,
            name=f"{literal(rule)} (label {q[label]:.3f})",
            orientation="h",
            marker={"color": colour, "opacity": 0.9 - 0.22 * (i % 4), "pattern": {"shape": SHAPES[i % 4]}},
            text=[f"{p:.3f}" if p >= 0.0005 else "" for p in x],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{literal(rule)}<br>%{{y}}: %{{x:.5f}}<extra></extra>",
        )
    figure.update_layout(barmode="group")
    most = max(float(q[shown].max(initial=0)) for rule, q in means.items() if rule in soft or not soft)
    left = max((float(q[rest].sum()) for q in means.values()), default=0.0) if rest else 0.0
    figure.update_xaxes(range=[0, 1.15 * max(most, min(left, 3 * most), 1e-6)], nticks=5)
    told = each({literal(rule): _said(q, classes, label) for rule, q in means.items()})
    says = f"Mean target of {literal(classes[label])}: {told}."
    framed(figure, x="mean probability", y="", says=says, height=90 + (16 * len(means) + 8) * len(names))
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _said(target: np.ndarray, classes: Sequence[str], label: int) -> str:
    """What a target says of its label, and of the other class of which it says most."""
    others = [k for k in range(len(classes)) if k != label]
    most = max(others, key=lambda k: target[k], default=label)
    return f"{target[label]:.3f} to the label, of the others most to {literal(classes[most])} ({target[most]:.3g})"


def class_map(
    matrix: np.ndarray, classes: Sequence[str], order: Sequence[int], title: str, *, difference: bool
) -> go.Figure:
    """What the targets of each class, a row, say of each other one, a column; zero in the middle for a difference.

    matrix: (K, K) mean probabilities, or differences of two. order: the classes that are drawn, in their order.
    """
    part = matrix[np.ix_(order, order)].astype(float)
    names = literals(classes[k] for k in order)
    blank = part.copy()
    np.fill_diagonal(blank, np.nan)
    # One pair of classes alone must not take all the colour.
    strongest = float(np.nanquantile(np.abs(blank), 0.998)) or float(np.nanmax(np.abs(blank))) or 1e-6
    figure = go.Figure(
        go.Heatmap(
            z=blank,
            x=names,
            y=names,
            colorscale=DIVERGING if difference else SEQUENTIAL,
            zmin=-strongest if difference else 0,
            zmax=strongest,
            colorbar={"title": {"text": title, "side": "right"}, "thickness": 12, "len": 0.9},
            hoverongaps=False,
            hovertemplate="targets of %{y}<br>say of %{x}: %{z:.5f}<extra></extra>",
        )
    )
    off = ~np.eye(len(names), dtype=bool)
    pairs = [f"{names[k]} of {names[j]}" for k, j in np.argwhere(off)]
    says = (
        f"What the targets of {len(names):,} classes say of one another, {title}: "
        f"{ends(pairs, part[off], '.3g', 'least', 'most')}."
    )
    height = min(220 + 16 * len(names), 760)
    framed(figure, x="the other class", y="class of the samples", says=says, height=height)
    many = len(names) > 60
    figure.update_xaxes(tickangle=turn(names), tickfont={"size": 9 if many else 11}, showgrid=False)
    figure.update_yaxes(autorange="reversed", tickfont={"size": 9 if many else 11}, showgrid=False)
    return figure


def head_norms(weights: np.ndarray, classes: Sequence[str]) -> go.Figure:
    """||W_k|| of every class, sorted."""
    order = np.argsort(weights, kind="stable")
    figure = go.Figure(
        go.Bar(
            x=np.arange(1, len(order) + 1),
            y=weights[order],
            marker={"color": TEACHER, "opacity": 0.85},
            customdata=literals(classes[k] for k in order),
            hovertemplate="%{customdata}: ‖W‖ %{y:.4f}<extra></extra>",
        )
    )
    says = f"‖W‖ of {len(order):,} classes: median {np.median(weights):.3g}, {ends(literals(classes), weights)}."
    framed(figure, x="classes by rising ‖W‖", y="‖W‖", says=says, height=260)
    if len(order) <= MOST_NAMED:
        figure.update_xaxes(tickvals=np.arange(1, len(order) + 1), ticktext=literals(classes[k] for k in order))
    else:
        figure.update_xaxes(showticklabels=False)  # a place in this order is nothing to read
    return figure


def cosine_distributions(own: np.ndarray, other: np.ndarray) -> go.Figure:
    """Shares of samples by the cosine with the label's row of the head, and with the nearest other one."""
    edges = np.linspace(min(own.min(), other.min()), max(own.max(), other.max(), own.min() + 1e-6), 61)
    figure = go.Figure()
    for name, values, colour in (("the label", own, TEACHER), ("the nearest other class", other, NEUTRAL)):
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=np.histogram(values, edges)[0] / max(len(values), 1),
            width=np.diff(edges),
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            opacity=0.65,
            hovertemplate=f"{name}<br>cos θ %{{x:.3f}}: %{{y:.2%}}<extra></extra>",
        )
    figure.update_layout(barmode="overlay")
    says = (
        f"cos θ of {len(own):,} samples with the head's row of the label: {spread(own, '.3f')}; with that of the "
        f"nearest other class: {spread(other, '.3f')}."
    )
    figure.update_yaxes(tickformat=PERCENT)
    return framed(figure, x="cos θ", y="share of samples", says=says, height=260)
