"""Figures of the feature norm: its distribution, and what it goes with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fnkd_core.analysis.auroc import rank_correlation
from fnkd_core.plots.style import (
    ACCENT,
    GRID,
    NEUTRAL,
    PERCENT,
    RIGHT,
    ROLE_COLOURS,
    ROLE_DASHES,
    ROLE_SYMBOLS,
    WRONG,
    framed,
    literal,
    literals,
)
from fnkd_core.plots.words import courses, each, spread

PLACES = np.linspace(0, 1, 257)
"""Shares of the samples at which an empirical distribution function is drawn."""
MOST_POINTS = 10_000
"""A scatter of more points than this draws an even share of them; its legend counts them all, see `drawn`."""


def norm_distribution(
    groups: Mapping[str, np.ndarray],
    *,
    colours: Sequence[str] = ROLE_COLOURS,
    dashes: Sequence[str] = ROLE_DASHES,
    cumulative: bool = False,
    outlined: bool = False,
    num_bins: int = 50,
) -> go.Figure:
    """Share of samples per norm bin, one outline for each group over common bins; or up to each norm.

    groups: name -> (N,) norms. Shares, not counts, so that groups of unequal size compare. cumulative: the empirical
    distribution function instead, by its values at `PLACES`. outlined: no areas, so that many groups stay apart.
    """
    every = [norms for norms in groups.values() if len(norms)]
    low = min((float(norms.min()) for norms in every), default=0.0)
    high = max((float(norms.max()) for norms in every), default=low)
    edges = np.linspace(low, high if high > low else low + 1, num_bins + 1)
    figure = go.Figure()
    for i, (name, norms) in enumerate(zip(literals(groups), groups.values(), strict=True)):
        colour, dash = colours[i % len(colours)], dashes[i % len(dashes)]
        if cumulative:
            _add_steps(figure, name, norms, colour, dash)
        elif outlined:
            _add_outline(figure, name, norms, edges, colour, dash)
        else:
            _add_bars(figure, name, norms, edges, colour, 0.85 if len(groups) == 1 else 0.55)
        if len(norms) and not outlined:
            figure.add_vline(x=float(np.mean(norms)), line={"color": colour, "width": 1.5, "dash": dash})
    figure.update_layout(barmode="overlay", selectdirection="h", dragmode="select", showlegend=True)
    figure.update_yaxes(tickformat=PERCENT, rangemode="tozero")
    told = {literal(name): f"{len(norms):,} samples, {spread(norms)}" for name, norms in groups.items()}
    y = "share up to this norm" if cumulative else "share of samples"
    return framed(figure, x="feature norm ‖f‖", y=y, says=f"Distribution of ‖f‖: {each(told)}.")


def _add_bars(figure: go.Figure, name: str, norms: np.ndarray, edges: np.ndarray, colour: str, opacity: float) -> None:
    counts = np.histogram(norms, edges)[0]
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts / max(len(norms), 1),
        width=np.diff(edges),
        name=name,
        marker={"color": colour, "line": {"width": 0}},
        opacity=opacity,
        customdata=np.stack([edges[:-1], edges[1:], counts], axis=1),
        hovertemplate=f"{name}<br>‖f‖ %{{customdata[0]:.2f}} to %{{customdata[1]:.2f}}"
        "<br>%{customdata[2]} samples (%{y:.1%})<extra></extra>",
    )


def _add_outline(figure: go.Figure, name: str, norms: np.ndarray, edges: np.ndarray, colour: str, dash: str) -> None:
    shares = np.histogram(norms, edges)[0] / max(len(norms), 1)
    figure.add_scatter(
        x=(edges[:-1] + edges[1:]) / 2,
        y=shares,
        mode="lines",
        name=name,
        line={"color": colour, "dash": dash, "width": 2, "shape": "hvh"},
        hovertemplate=f"{name}<br>‖f‖ about %{{x:.2f}}: %{{y:.1%}}<extra></extra>",
    )


def _add_steps(figure: go.Figure, name: str, norms: np.ndarray, colour: str, dash: str) -> None:
    figure.add_scatter(
        x=np.quantile(norms, PLACES) if len(norms) else [],
        y=PLACES if len(norms) else [],
        mode="lines",
        name=name,
        line={"color": colour, "dash": dash, "width": 2},
        hovertemplate=f"{name}<br>%{{y:.1%}} have ‖f‖ up to %{{x:.2f}}<extra></extra>",
    )


def with_range(figure: go.Figure, span: tuple[float, float] | None, axis: str = "x") -> go.Figure:
    """The figure with a range of norms shaded in each of its plots; a new one, so that the other can be kept.

    axis: that of the norms, x or y.
    """
    if span is None:
        return figure
    marked = go.Figure(figure)
    marked.update_layout(meta={"summary": f"{figure.layout.meta['summary']} Marked: {span[0]:.3g} to {span[1]:.3g}."})
    look = {"fillcolor": ACCENT, "opacity": 0.14, "line": {"color": ACCENT, "width": 1.5}, "row": "all", "col": "all"}
    if axis == "x":
        marked.add_vrect(x0=span[0], x1=span[1], **look)
    else:
        marked.add_hrect(y0=span[0], y1=span[1], **look)
    return marked


def norm_by_outcome(samples: pd.DataFrame, cumulative: bool = False) -> go.Figure:
    """Distribution of ‖f‖ of the right and of the wrong samples, each as shares of its own number."""
    groups = {
        f"{name} ({len(rows):,})": rows["norm"].to_numpy()
        for name, rows in (("right", samples[samples["correct"]]), ("wrong", samples[~samples["correct"]]))
    }
    colours = dict(zip(groups, (RIGHT, WRONG), strict=True))
    groups = {name: norms for name, norms in groups.items() if len(norms)}
    return norm_distribution(groups, colours=[colours[name] for name in groups], num_bins=40, cumulative=cumulative)


def accuracy_by_decile(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Accuracy (line) and mean confidence (dotted) per norm decile of each model's own norms.

    tables: name -> the table of `by_decile`.
    """
    figure = go.Figure()
    for i, (name, table) in enumerate(zip(literals(tables), tables.values(), strict=True)):
        colour, symbol = ROLE_COLOURS[i % 2], ROLE_SYMBOLS[i % 2]
        ranges = np.stack([table["norm_low"], table["norm_high"], table["num_samples"]], axis=1)
        for column, dash, filled in (("accuracy", ROLE_DASHES[i % 2], True), ("confidence", "dot", False)):
            figure.add_scatter(
                x=table["decile"],
                y=table[column],
                customdata=ranges,
                name=f"{name}: {column}",
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2 if filled else 1.5},
                marker={"symbol": symbol if filled else f"{symbol}-open", "size": 7},
                hovertemplate=f"{name}, decile %{{x}} (‖f‖ %{{customdata[0]:.2f}} to %{{customdata[1]:.2f}})"
                f"<br>{column} %{{y:.1%}} of %{{customdata[2]}} samples<extra></extra>",
            )
    figure.update_yaxes(tickformat=PERCENT)
    figure.update_xaxes(dtick=1)
    says = f"By norm decile, 1 the lowest ‖f‖: {courses(figure, '.1%', 'decile')}."
    return framed(figure, x="norm decile (1 = lowest ‖f‖)", y="accuracy, confidence", says=says)


def drawn(num_samples: int, most: int | None = None) -> str:
    """What to say where a chart draws a part of so many samples: "Drawn: 10,000 of 30,000.", else nothing."""
    most = MOST_POINTS if most is None else most
    return f"Drawn: {most:,} of {num_samples:,}." if num_samples > most else ""


def thinned(samples: pd.DataFrame) -> pd.DataFrame:
    """At most `MOST_POINTS` rows, evenly taken over the norms so that both ends stay."""
    if len(samples) <= MOST_POINTS:
        return samples
    order = np.argsort(samples["norm"].to_numpy())
    return samples.iloc[order[np.linspace(0, len(order) - 1, MOST_POINTS).round().astype(int)]]


def norm_against(samples: pd.DataFrame, column: str, title: str, classes: Sequence[str]) -> go.Figure:
    """Each sample's ‖f‖ against a column, right and wrong apart; `customdata` is its id, for selections."""
    shown, named = thinned(samples), literals(classes)
    figure = go.Figure()
    num_right = int(samples["correct"].sum())
    for name, colour, symbol, rows, count in (
        ("right", RIGHT, "circle", shown[shown["correct"]], num_right),
        ("wrong", WRONG, "x", shown[~shown["correct"]], len(samples) - num_right),
    ):
        figure.add_scattergl(
            x=rows["norm"],
            y=rows[column],
            mode="markers",
            name=f"{name} ({count:,})",
            marker={"color": colour, "size": 6 if name == "right" else 8, "symbol": symbol, "opacity": 0.65},
            customdata=rows["id"],
            text=[
                f"label {named[y]}, predicted {named[p]}"
                for y, p in zip(rows["label"], rows["prediction"], strict=True)
            ],
            hovertemplate="#%{customdata} %{text}<br>‖f‖ %{x:.2f}, " + literal(title) + " %{y:.3f}<extra></extra>",
        )
    figure.update_layout(dragmode="select")
    says = (
        f"‖f‖ of {len(samples):,} samples, {num_right:,} right and {len(samples) - num_right:,} wrong, against "
        f"{literal(title)}: ‖f‖ {spread(samples['norm'])}, {literal(title)} {spread(samples[column])}"
        f"{_together(shown['norm'], shown[column], len(samples))}."
    )
    return framed(figure, x="feature norm ‖f‖", y=literal(title), says=says, height=380)


def _together(a: pd.Series, b: pd.Series, num_samples: int) -> str:
    """The rank correlation of those drawn of so many samples, where there is one: to rank a million takes too long."""
    rho = rank_correlation(a.to_numpy(), b.to_numpy()) if len(a) else np.nan
    of = f" of the {len(a):,} that are drawn" if len(a) < num_samples else ""
    return f", rank correlation of the two{of} {rho:+.2f}" if np.isfinite(rho) else ""


def norm_against_norm(both: pd.DataFrame, names: tuple[str, str], classes: Sequence[str]) -> go.Figure:
    """‖f‖ under one model against ‖f‖ under the other, each as a multiple of its mean; coloured by outcome."""
    shown, named = both, literals(classes)
    names = literal(names[0]), literal(names[1])
    if len(both) > MOST_POINTS:
        shown = both.iloc[np.linspace(0, len(both) - 1, MOST_POINTS).round().astype(int)]
    means = both["norm_a"].mean(), both["norm_b"].mean()
    labels = ("both right", f"only {names[0]} right", f"only {names[1]} right", "both wrong")
    colours = (NEUTRAL, *ROLE_COLOURS, WRONG)
    symbols = ("circle", *ROLE_SYMBOLS, "x")
    figure = go.Figure()
    for outcome in (0, 3, 1, 2):
        rows = shown[shown["outcome"] == outcome]
        figure.add_scattergl(
            x=rows["norm_a"] / means[0],
            y=rows["norm_b"] / means[1],
            mode="markers",
            name=f"{labels[outcome]} ({(both['outcome'] == outcome).sum():,})",
            marker={
                "color": colours[outcome],
                "symbol": symbols[outcome],
                "size": 5 if outcome == 0 else 8,
                "opacity": 0.4 if outcome == 0 else 0.85,
            },
            customdata=rows["id"],
            text=[named[y] for y in rows["label"]],
            hovertemplate="#%{customdata} %{text}<br>%{x:.2f} and %{y:.2f} of the mean ‖f‖<extra></extra>",
        )
    low = min((shown["norm_a"] / means[0]).min(), (shown["norm_b"] / means[1]).min())
    high = max((shown["norm_a"] / means[0]).max(), (shown["norm_b"] / means[1]).max())
    line = {"color": GRID, "width": 1}
    figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=line, layer="below")
    figure.update_layout(dragmode="select")
    counts = {label: f"{int((both['outcome'] == i).sum()):,}" for i, label in enumerate(labels)}
    says = (
        f"‖f‖ of {len(both):,} samples under {names[0]} (mean {means[0]:.3g}) and under {names[1]} (mean "
        f"{means[1]:.3g}): {each(counts)}{_together(shown['norm_a'], shown['norm_b'], len(both))}."
    )
    return framed(figure, x=f"‖f‖ / mean, {names[0]}", y=f"‖f‖ / mean, {names[1]}", says=says, height=420)
