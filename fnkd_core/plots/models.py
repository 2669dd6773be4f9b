"""Figures that compare models: accuracy per class and decile, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from fnkd_core.plots.style import PERCENT, ROLE_COLOURS, ROLE_DASHES, ROLE_SYMBOLS, SLOTS, framed, literal, literals
from fnkd_core.plots.training import TERMS
from fnkd_core.plots.words import courses, each, ends


def accuracy_by_class(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str]) -> go.Figure:
    """Accuracy of two models on each class, ordered by their difference; a line joins the two.

    a, b: tables of `by_class`.
    """
    names = literal(names[0]), literal(names[1])
    both = a.merge(b, on=["label", "class"], suffixes=("_a", "_b"))
    both["class"] = literals(both["class"])
    both = both.assign(gap=both["accuracy_b"] - both["accuracy_a"]).sort_values("gap", kind="stable")
    figure = go.Figure()
    joined_x: list[str | None] = []
    joined_y: list[float | None] = []
    for row in both.itertuples():
        joined_x += [row[2], row[2], None]
        joined_y += [row.accuracy_a, row.accuracy_b, None]
    figure.add_scatter(
        x=joined_x, y=joined_y, mode="lines", line={"color": SLOTS[2], "width": 1}, showlegend=False, hoverinfo="skip"
    )
    for i, (name, column) in enumerate(zip(names, ("accuracy_a", "accuracy_b"), strict=True)):
        figure.add_scatter(
            x=both["class"],
            y=both[column],
            mode="markers",
            name=name,
            marker={"color": ROLE_COLOURS[i], "symbol": ROLE_SYMBOLS[i], "size": 9},
            customdata=both["num_samples_a"],
            hovertemplate=f"{name}, %{{x}}<br>%{{y:.1%}} of %{{customdata}} samples<extra></extra>",
        )
    figure.update_yaxes(tickformat=PERCENT)
    means = each({n: f"{both[c].mean():.1%}" for n, c in zip(names, ("accuracy_a", "accuracy_b"), strict=True)})
    gaps = ends(both["class"].tolist(), 100 * both["gap"], "+.1f", "least", "most")
    says = (
        f"Accuracy on {len(both):,} classes, mean over them: {means}. Difference of {names[1]} from {names[0]} in "
        f"points: {gaps}."
    )
    return framed(figure, x="class, by difference", y="accuracy", says=says, height=340)


def accuracy_on_deciles(both: pd.DataFrame, names: tuple[str, str]) -> go.Figure:
    """Accuracy of two models within the norm deciles in the column `decile`, so that both are the same samples."""
    names = literal(names[0]), literal(names[1])
    table = both.groupby("decile").agg(a=("correct_a", "mean"), b=("correct_b", "mean"), num_samples=("id", "size"))
    figure = go.Figure()
    for i, column in enumerate(("a", "b")):
        figure.add_scatter(
            x=table.index,
            y=table[column],
            mode="lines+markers",
            name=names[i],
            line={"color": ROLE_COLOURS[i], "dash": ROLE_DASHES[i], "width": 2},
            marker={"symbol": ROLE_SYMBOLS[i], "size": 7},
            customdata=table["num_samples"],
            hovertemplate=f"{names[i]}, decile %{{x}}<br>%{{y:.1%}} of %{{customdata}} samples<extra></extra>",
        )
    figure.update_yaxes(tickformat=PERCENT)
    figure.update_xaxes(dtick=1)
    says = f"Accuracy by norm decile, 1 the lowest ‖f‖: {courses(figure, '.1%', 'decile')}."
    return framed(figure, x="norm decile (1 = lowest ‖f‖)", y="accuracy", says=says, height=340)


def reliability(tables: tuple[pd.DataFrame, pd.DataFrame], names: tuple[str, str]) -> go.Figure:
    """Accuracy against confidence of two models, a point for each bin with the interval of its accuracy, larger where
    more samples are in it.

    tables: of `by_confidence`.
    """
    names = literal(names[0]), literal(names[1])
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": SLOTS[2], "width": 1, "dash": "dot"}, name="calibrated"
    )
    told = {}
    for i, (table, name) in enumerate(zip(tables, names, strict=True)):
        share = table["num_samples"] / table["num_samples"].sum()
        sure, right = ((table[column] * share).sum() for column in ("confidence", "accuracy"))
        told[name] = (
            f"is right on {right:.1%} at a mean confidence of {sure:.1%} ({table['num_samples'].sum():,} samples)"
        )
        figure.add_scatter(
            x=table["confidence"],
            y=table["accuracy"],
            mode="markers",  # between two bins nothing was measured
            name=name,
            marker={"symbol": ROLE_SYMBOLS[i], "color": ROLE_COLOURS[i], "size": 5 + 11 * share**0.5},
            error_y={
                "array": table["high"] - table["accuracy"],
                "arrayminus": table["accuracy"] - table["low"],
                "thickness": 1,
                "width": 2,
            },
            customdata=table[["num_samples", "low", "high"]],
            hovertemplate=f"{name}, confidence %{{x:.2f}}<br>%{{y:.1%}} of %{{customdata[0]:,}} samples "
            "(%{customdata[1]:.1%} to %{customdata[2]:.1%})<extra></extra>",
        )
    figure.update_yaxes(tickformat=PERCENT, range=[-0.03, 1.03])
    figure.update_xaxes(range=[0, 1.03])
    says = f"Accuracy against confidence: {each(told)}."
    return framed(figure, x="confidence (max p)", y="accuracy", says=says, height=340)


def run_curves(
    runs: Mapping[str, Sequence[Mapping[str, float]]], column: str, title: str, *, percent: bool = False
) -> go.Figure:
    """A metric over the epochs, a line for each run.

    runs: name -> its metrics, a mapping per epoch.
    """
    figure = go.Figure()
    dashes = ("solid", "dash", "dot", "dashdot")
    for i, (name, metrics) in enumerate(zip(literals(runs), runs.values(), strict=True)):
        figure.add_scatter(
            x=[line["epoch"] for line in metrics],
            y=[line.get(column) for line in metrics],
            mode="lines+markers" if len(metrics) < 40 else "lines",
            name=name,
            line={"color": SLOTS[i % len(SLOTS)], "dash": dashes[i // len(SLOTS) % len(dashes)], "width": 2},
            marker={"size": 5},
            hovertemplate=f"{name}<br>epoch %{{x}}: %{{y:{'.2%' if percent else '.4f'}}}<extra></extra>",
        )
    figure.update_layout(showlegend=len(runs) > 1)
    figure.update_xaxes(minallowed=0.5)
    if max((len(metrics) for metrics in runs.values()), default=0) < 10:
        figure.update_xaxes(dtick=1)  # there is no half epoch
    if percent:  # a single value would be drawn between -50 % and 150 %
        figure.update_yaxes(tickformat=PERCENT, minallowed=-0.02, maxallowed=1.02)
    says = f"{literal(title)} by epoch: {courses(figure, '.2%' if percent else '.4g')}."
    return framed(figure, x="epoch", y=literal(title), says=says, height=280)


def loss_terms_curves(metrics: Sequence[Mapping[str, float]]) -> go.Figure:
    """The hard and the soft term of the loss over the epochs of one run, before their weights."""
    figure = go.Figure()
    for i, (column, name) in enumerate(TERMS.items()):
        if column == "soft" and not any(line["soft"] for line in metrics):
            continue
        figure.add_scatter(
            x=[line["epoch"] for line in metrics],
            y=[line[column] for line in metrics],
            mode="lines+markers" if len(metrics) < 40 else "lines",
            name=name,
            line={"color": SLOTS[(2, 0, 1)[i]], "dash": ("solid", "dot", "dash")[i], "width": 2},
            marker={"size": 5},
            hovertemplate=f"{name}<br>epoch %{{x}}: %{{y:.4f}}<extra></extra>",
        )
    figure.update_xaxes(minallowed=0.5)
    says = f"The loss and its terms, before their weights, by epoch, nats per sample: {courses(figure)}."
    return framed(figure, x="epoch", y="nats per sample", says=says, height=280)
