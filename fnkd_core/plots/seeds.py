"""Figures of a comparison: intervals over seeds, sweeps of one and of two settings, norm against accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fnkd_core.plots.style import ACCENT, NEUTRAL, PERCENT, SLOTS, STUDENT, TEACHER, framed, literal, literals
from fnkd_core.plots.words import each, ends, spread

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "cross", "pentagon")
DASHES = ("solid", "dash", "dot", "dashdot")


def intervals(runs: pd.DataFrame, lines: pd.DataFrame) -> go.Figure:
    """The last epoch's accuracy of each row: every seed, the mean with its 95 % interval, and the mean of the
    epochs that were best on validation.

    runs, lines: `table` and `summary` of `fnkd_core.experiments.seeds`.
    """
    runs, lines = (frame.assign(row=literals(frame["row"])) for frame in (runs, lines))
    done = runs[runs["state"] == "finished"]
    lines = lines[lines["num_seeds"] > 0]
    figure = go.Figure()
    figure.add_scatter(
        x=done["accuracy"],
        y=done["row"],
        mode="markers",
        name="one seed",
        marker={"color": NEUTRAL, "size": 6, "opacity": 0.6, "symbol": "line-ns-open"},
        customdata=done["seed"],
        hovertemplate="%{y}, seed %{customdata}: %{x:.2%}<extra></extra>",
    )
    figure.add_scatter(
        x=lines["accuracy"],
        y=lines["row"],
        mode="markers",
        name="mean and 95 % interval" if lines["low"].notna().any() else "mean",
        marker={"color": TEACHER, "size": 9},
        error_x={"array": lines["high"] - lines["accuracy"], "color": TEACHER, "thickness": 1.5, "width": 4},
        customdata=lines[["low", "high", "num_seeds"]],
        hovertemplate="%{y}: %{x:.2%}, %{customdata[0]:.2%} to %{customdata[1]:.2%}, "
        "%{customdata[2]} seeds<extra></extra>",
    )
    figure.add_scatter(
        x=lines["best"],
        y=lines["row"],
        mode="markers",
        name="best on validation, mean",
        marker={"color": STUDENT, "size": 8, "symbol": "diamond-open"},
        hovertemplate="%{y}, best on validation: %{x:.2%}<extra></extra>",
    )
    # The interval of few seeds goes beyond what an accuracy can be.
    figure.update_xaxes(tickformat=PERCENT, minallowed=-0.005, maxallowed=1.005)
    # A row whose runs diverged would press all others together; it is told at the edge instead.
    low, _ = _usual(lines["accuracy"])
    shown = pd.concat([done.loc[done["accuracy"] >= low, "accuracy"], lines.loc[lines["accuracy"] >= low, "low"]])
    limits = shown.min(), pd.concat([done["accuracy"], lines["high"], lines["best"]]).max()
    for row in lines[lines["accuracy"] < low].itertuples():
        figure.add_annotation(
            x=0, xref="x domain", xanchor="left", y=row.row, text=f"◂ {row.accuracy:.1%}", showarrow=False
        )
    if (lines["accuracy"] < low).any():
        margin = 0.05 * (limits[1] - limits[0])
        figure.update_xaxes(range=[limits[0] - 2 * margin, limits[1] + margin])
    finished = set(lines["row"])
    order = [row for row in dict.fromkeys(runs["row"]) if row in finished]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1])
    ordered = lines.sort_values("accuracy", ascending=False, kind="stable")
    told = each(
        {
            row.row: f"{row.accuracy:.2%} "
            + (f"({row.low:.2%} to {row.high:.2%}, {row.num_seeds} seeds)" if row.low == row.low else "(1 seed)")
            for row in ordered.itertuples()
        }
    )
    says = f"Test accuracy after the last epoch with its 95 % interval, {len(lines):,} rows, highest first: {told}."
    return framed(figure, x="test accuracy, last epoch", y="", says=says, height=110 + 26 * max(len(lines), 3))


def sweep_lines(
    table: pd.DataFrame, x: str, also: Sequence[str], others: Mapping[str, float] | None = None
) -> go.Figure:
    """Mean accuracy over the values of one setting, a line for each combination of `also`; bars are one sd over seeds.

    table: of `fnkd_core.experiments.seeds.sweep`. others: rows that have no x, by name: a thin line at their mean.
    """
    figure = go.Figure()
    for name, mean in (others or {}).items():
        figure.add_hline(mean, line={"color": NEUTRAL, "width": 1, "dash": "dot"}, annotation_text=literal(name))
    for i, (key, lines) in enumerate(table.groupby(list(also), sort=False, dropna=False)):
        lines = lines.sort_values(x)
        name = literal(_called(dict(zip(also, key, strict=True))))
        figure.add_scatter(
            x=lines[x],
            y=lines["mean"],
            mode="lines+markers",
            name=name,
            line={"color": SLOTS[i % len(SLOTS)], "dash": DASHES[i // len(SLOTS) % len(DASHES)], "width": 2},
            marker={"size": 7, "symbol": SYMBOLS[i % len(SYMBOLS)]},
            error_y={"array": lines["sd"], "thickness": 1, "width": 3},
            customdata=lines[["sd", "num_seeds"]],
            hovertemplate=f"{name}, {literal(x)} %{{x}}: %{{y:.2%}} ± %{{customdata[0]:.2%}}, "
            "%{customdata[1]} seeds<extra></extra>",
        )
    if _is_geometric(table[x]):
        values = sorted(table[x].unique())
        figure.update_xaxes(type="log", tickvals=values, ticktext=[f"{v:g}" for v in values])
    figure.update_yaxes(tickformat=PERCENT)
    places = [
        literal(f"{_called({part: row[part] for part in also})} at {x} {row[x]:g}") for row in table.to_dict("records")
    ]
    without = each({literal(name): f"{mean:.2%}" for name, mean in (others or {}).items()})
    says = f"Mean test accuracy over {literal(x)}: {ends(places, table['mean'], '.2%')}." + (
        f" Without it: {without}." if others else ""
    )
    return framed(figure, x=literal(x), y="test accuracy, last epoch", says=says, height=340)


def _called(values: Mapping[str, Any]) -> str:
    """A line as the rows of its runs are called: its method, and what else it is one for."""
    parts = []
    for name, value in values.items():
        if value == value:  # NaN: this method has no such parameter
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            said = f"{value:g}" if is_number else str(value).lower() if isinstance(value, bool) else str(value)
            parts.append(said if name == "method" else f"{name}={said}")
    return " ".join(parts)


def sweep_map(table: pd.DataFrame, x: str, y: str, teacher_norm: float = math.nan) -> go.Figure:
    """Mean accuracy over the values of two settings as a heat map; a frame marks the best cell.

    teacher_norm: mean ||f||. Over tau and lambda the paper's tuning rule lambda^2 tau^2 = mean||f||^2 is drawn in.
    """
    figure = go.Figure()
    geometric = {name: _is_geometric(table[name]) for name in (x, y)}
    spans = {}
    for name in (x, y):
        values = np.unique(table[name].to_numpy(float))
        spans[name] = values, np.log2(values) if geometric[name] else values
    grid = table.pivot_table(index=y, columns=x, values="mean").reindex(index=spans[y][0], columns=spans[x][0])
    sd = table.pivot_table(index=y, columns=x, values="sd", dropna=False).reindex_like(grid)
    figure.add_heatmap(
        x=spans[x][1],
        y=spans[y][1],
        z=grid.to_numpy(),
        zmin=_usual(table["mean"])[0],
        zmax=table["mean"].max(),
        customdata=np.dstack([*np.meshgrid(spans[x][0], spans[y][0]), sd.to_numpy()]),
        texttemplate="%{z:.1%}",
        hovertemplate=f"{literal(x)} %{{customdata[0]:g}}, {literal(y)} %{{customdata[1]:g}}: %{{z:.2%}} "
        "± %{customdata[2]:.2%}<extra></extra>",
        colorbar={"tickformat": ".1~%", "thickness": 12, "outlinewidth": 0},
        xgap=2,
        ygap=2,
    )
    edges = {name: _edges(scaled) for name, (_, scaled) in spans.items()}
    if grid.notna().to_numpy().any():
        row, column = np.unravel_index(np.nanargmax(grid.to_numpy()), grid.shape)
        (x0, x1), (y0, y1) = edges[x][column : column + 2], edges[y][row : row + 2]
        figure.add_scatter(
            x=[x0, x1, x1, x0, x0],
            y=[y0, y0, y1, y1, y0],
            mode="lines",
            line={"color": STUDENT, "width": 3},
            name="best cell",
            hoverinfo="skip",
        )
    if {x, y} == {"tau", "lambda"} and not math.isnan(teacher_norm):
        along = np.linspace(edges[x][0], edges[x][-1], 200)
        product = teacher_norm / np.exp2(along) if geometric[x] else teacher_norm / np.maximum(along, 1e-9)
        rule = np.log2(product) if geometric[y] else product
        inside = (rule >= edges[y][0]) & (rule <= edges[y][-1])
        figure.add_scatter(
            x=along[inside],
            y=rule[inside],
            mode="lines",
            line={"color": ACCENT, "width": 2, "dash": "dash"},
            name=f"λ²τ² = mean‖f‖², mean‖f‖ = {teacher_norm:.2f}",
            hoverinfo="skip",
        )
    cells = [literal(f"{x} {row[x]:g}, {y} {row[y]:g}") for row in table.to_dict("records")]
    says = f"Mean test accuracy over {literal(x)} and {literal(y)}: {ends(cells, table['mean'], '.2%')}."
    figure = framed(figure, x=literal(x), y=literal(y), says=says, height=120 + 44 * max(len(spans[y][0]), 4))
    for name, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        values, scaled = spans[name]
        labels = [f"{v:g}" for v in values]
        update(tickvals=scaled, ticktext=labels, range=[edges[name][0], edges[name][-1]], showgrid=False)
    return figure


def norm_against_accuracy(runs: pd.DataFrame) -> go.Figure:
    """The last epoch's accuracy of every finished run against its student's mean ||f||, a symbol for each method."""
    done = runs[runs["state"] == "finished"]
    figure = go.Figure()
    for i, (method, own) in enumerate(done.groupby("method", sort=False)):
        figure.add_scatter(
            x=own["norm"],
            y=own["accuracy"],
            mode="markers",
            name=literal(method),
            marker={"color": SLOTS[i % len(SLOTS)], "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8, "opacity": 0.8},
            customdata=own[["row", "seed"]].assign(row=literals(own["row"])),
            hovertemplate="%{customdata[0]}, seed %{customdata[1]}<br>‖f‖ %{x:.2f}, accuracy %{y:.2%}<extra></extra>",
        )
    right, low = _usual(done["norm"])[1], _usual(done["accuracy"])[0]
    outside = int(((done["norm"] > right) | (done["accuracy"] < low)).sum())
    if outside:
        kept = done[(done["norm"] <= right) & (done["accuracy"] >= low)]
        for name, update in (("norm", figure.update_xaxes), ("accuracy", figure.update_yaxes)):
            margin = 0.06 * max(float(np.ptp(kept[name])), 1e-3)
            update(range=[kept[name].min() - margin, kept[name].max() + margin])
        text = f"{outside} of {len(done)} runs lie outside: they diverged"
        figure.add_annotation(x=1, y=0, xref="x domain", yref="y domain", xanchor="right", text=text, showarrow=False)
    figure.update_yaxes(tickformat=PERCENT)
    told = {
        literal(method): f"({len(own)}) accuracy {spread(own['accuracy'], '.2%')}, ‖f‖ {spread(own['norm'])}"
        for method, own in done.groupby("method", sort=False)
    }
    says = f"Test accuracy and mean ‖f‖ of {len(done):,} finished runs by method: {each(told)}."
    x = "mean ‖f‖ of the student on the test split"
    return framed(figure, x=x, y="test accuracy, last epoch", says=says, height=340)


def _is_geometric(values: Sequence[float] | np.ndarray | pd.Series) -> bool:
    """Whether the values are spread by factors rather than by steps, so that a logarithmic axis suits them."""
    ordered = np.unique(np.asarray(values, float))
    if len(ordered) < 3 or ordered[0] <= 0:
        return bool(ordered[0] > 0)
    steps, factors = np.diff(ordered), np.diff(np.log(ordered))
    return float(factors.std() / factors.mean()) < float(steps.std() / steps.mean())


def _usual(values: pd.Series) -> tuple[float, float]:
    """Ends of the values without those that lie three interquartile ranges beyond the middle half."""
    first, third = values.quantile([0.25, 0.75])
    reach = 3 * (third - first) + 1e-9
    inside = values[values.between(first - reach, third + reach)]
    return float(inside.min()), float(inside.max())


def _edges(centres: np.ndarray) -> np.ndarray:
    """Where cells around these centres begin and end, one more than there are."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])
