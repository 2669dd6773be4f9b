"""Figures of a single sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from fnkd_core.plots.style import NEUTRAL, STUDENT, TEACHER, framed


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
    names = [f"<b>{classes[k]}</b> (label)" if k == label else classes[k] for k in order]
    colour = TEACHER if role == "teacher" else STUDENT
    figure = go.Figure()
    for i, rule in enumerate(rules):
        p = distributions[rule][order]
        figure.add_bar(
            y=names,
            x=p,
            name=rule,
            orientation="h",
            marker={"color": NEUTRAL if i == 0 else colour, "opacity": 0.5 if i == 1 else 0.9},
            text=[f"{x:.3f}" for x in p],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{rule}<br>%{{y}}: %{{x:.4f}}<extra></extra>",
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(range=[0, 1.12], tickvals=[0, 0.5, 1])
    framed(figure, x="probability", y="", height=80 + 44 * len(order))
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure
