"""Figures of a single sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from fnkd_core.plots.style import ACCENT, NEUTRAL, STUDENT, TEACHER, framed, literal

MOST_SIMILAR = 8


def class_bars(
    distributions: Mapping[str, np.ndarray], classes: Sequence[str], label: int, role: str, num_classes: int = 5
) -> go.Figure:
    """Bars of the most probable classes and the label, under each rule.

    distributions: rule -> (K,) probabilities; the first is drawn neutral. role: `teacher` or `student`.
    """
    rules = list(distributions)
    order = np.argsort(-distributions[rules[0]], kind="stable")[:num_classes].tolist()
    if label not in order:
        order[-1] = label
    names = [f"<b>{literal(classes[k])}</b> (label)" if k == label else literal(classes[k]) for k in order]
    colour = TEACHER if role == "teacher" else STUDENT
    figure = go.Figure()
    for i, rule in enumerate(rules):
        p = distributions[rule][order]
        figure.add_bar(
            y=names,
            x=p,
            name=literal(rule),
            orientation="h",
            marker={"color": NEUTRAL if i == 0 else colour, "opacity": 0.5 if i == 1 else 0.9},
            text=[f"{x:.3f}" for x in p],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{literal(rule)}<br>%{{y}}: %{{x:.4f}}<extra></extra>",
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(range=[0, 1.12], tickvals=[0, 0.5, 1])
    framed(figure, x="probability", y="", height=80 + 44 * len(order))
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure


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
    framed(figure, x="probability", y="", height=110 + 40 * len(shown))
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure
