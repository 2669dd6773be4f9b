"""Text of others is text in every figure: Plotly makes no element of it, and shows it as it is."""

from __future__ import annotations

import html
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core import plots
from fnkd_core.analysis.dynamics import NormCounts, common_edges
from fnkd_core.analysis.tables import norms_by_class
from fnkd_core.errors import one_line
from fnkd_core.experiments.seeds import summary, table
from fnkd_core.paths import project_dir
from fnkd_core.plots import (
    augmentations,
    dynamics,
    geometry,
    maps,
    models,
    norms,
    samples,
    seeds,
    targets,
    training,
    verdicts,
)
from fnkd_core.plots import classes as class_counts
from fnkd_core.plots import norms_by_class as classes
from fnkd_core.plots.style import literal, standalone, summary_of

HOSTILE = '<a href="http://evil.example">%{x}</a><b>&lt;</b>$x$ '
A, B, C = (f"{HOSTILE}{letter}" for letter in "abc")
CLASSES = [A, B, C]
NORMS = np.array([1.0, 2.0, 4.0])
SAMPLES = pd.DataFrame(
    {"id": range(6), "label": [0, 1, 2] * 2, "prediction": [0, 1, 1] * 2, "norm": np.arange(6) + 1.0, "nll": 0.5}
).assign(correct=lambda rows: rows["label"] == rows["prediction"], confidence=0.5)
BY_CLASS = pd.DataFrame({"label": range(3), "class": CLASSES, "accuracy": [0.2, 0.5, 0.9], "num_samples": 2})
BOTH = pd.DataFrame(
    {"id": range(4), "label": [0, 1, 2, 0], "norm_a": 1.0, "norm_b": 2.0, "outcome": range(4), "decile": 1}
).assign(correct_a=True, correct_b=False)
BINS = pd.DataFrame({"confidence": [0.5], "accuracy": [0.5], "num_samples": [3], "low": [0.1], "high": [0.9]})
DECILES = pd.DataFrame({"decile": [1], "accuracy": 0.5, "confidence": 0.5, "norm_low": 1, "norm_high": 2}).assign(
    num_samples=3
)
EPOCHS = [{"epoch": 1, "loss": 1.0, "hard": 1.0, "soft": 0.5, A: 0.5}]
STEPS = [{"epoch": 1, "step": n, "lr": 0.1, "samples_per_s": 9.0, "memory": 9} | EPOCHS[0] for n in (1, 2)]
HISTOGRAMS = [{"epoch": n, "split": A, "low": 1.0, "high": 1.0 + n, "counts": [1, 2]} for n in (1, 2)]
RUNS = table(
    [
        {
            "row": f"{A} {x} {y}",
            "method": A,
            B: x,
            C: y,
            "seed": 0,
            "state": "finished",
            "accuracy": 0.5 + x / 9 - y / 99,
        }
        | {"norm": 2.0, "best": 0.5}
        for x in (1.0, 2.0)
        for y in (1.0, 3.0)
    ]
)
COUNTS = [NormCounts(n, NORMS, np.array([n, 1, 0]), np.array([0, 1, 2])) for n in (1, 2)]
DYNAMICS = pd.DataFrame(
    {"label": [0, 1, 2], "p_mean": 0.5, "p_sd": 0.1, "correctness": 0.5, "forgotten": [0, 1, 2], "norm_last": NORMS}
).assign(learnt=[0, 1, 2])
SWEPT = pd.DataFrame({B: [1.0, 2.0], C: [1.0, 2.0], "method": A, "mean": 0.5, "sd": 0.1, "num_seeds": 2})
SPREAD: dict[str, Any] = {"spread": 0.1, "ratio": 0.9, "low": 0.8, "high": 1.1, "entropy": 0.2, "norm": 3.0}
FIGURES: dict[str, Callable[[], go.Figure]] = {
    "accuracy_by_class": lambda: models.accuracy_by_class(BY_CLASS, BY_CLASS, (A, B)),
    "accuracy_on_deciles": lambda: models.accuracy_on_deciles(BOTH, (A, B)),
    "reliability": lambda: models.reliability((BINS, BINS), (A, B)),
    "costs_from": lambda: class_counts.costs_from({A: np.arange(3.0)}, CLASSES, [1, 2]),
    "run_curves": lambda: models.run_curves({A: EPOCHS, B: EPOCHS}, A, C),
    "loss_terms_curves": lambda: models.loss_terms_curves(EPOCHS),
    "loss_by_step": lambda: training.loss_by_step(STEPS),
    "throughput": lambda: training.throughput(STEPS),
    "step_learning_rate": lambda: training.step_learning_rate(STEPS),
    "memory": lambda: training.memory(STEPS),
    "gradient_norms": lambda: training.gradient_norms([EPOCHS[0] | {"gradient_hard": 1.0, "gradient_soft": 2.0}]),
    "norms_over_epochs": lambda: training.norms_over_epochs(HISTOGRAMS),
    "norms_at_epochs": lambda: dynamics.norms_at_epochs(COUNTS, common_edges(COUNTS)),
    "norm_quantiles": lambda: dynamics.norm_quantiles(COUNTS),
    "data_map": lambda: dynamics.data_map(DYNAMICS, "forgotten", A, CLASSES),
    "forgetting": lambda: dynamics.forgetting(DYNAMICS),
    "feature_map": lambda: maps.feature_map(SAMPLES, np.ones((6, 2)), "class", CLASSES, (A, B), coloured=CLASSES),
    "norm_distribution": lambda: norms.norm_distribution({A: NORMS, B: NORMS}),
    "norm_by_outcome": lambda: norms.norm_by_outcome(SAMPLES),
    "with_range": lambda: norms.with_range(norms.norm_distribution({A: NORMS, B: NORMS}), (1.0, 2.0)),
    "norm_by_class": lambda: classes.norm_by_class(norms_by_class(SAMPLES), CLASSES, A, "#000001"),
    "auroc_intervals": lambda: verdicts.auroc_intervals({A: (0.8, 0.7, 0.9)}, "#000001", A),
    "class_angles": lambda: geometry.class_angles(np.full((3, 3), 90.0), CLASSES, 95.0),
    "accuracy_by_decile": lambda: norms.accuracy_by_decile({A: DECILES, B: DECILES}),
    "norm_against": lambda: norms.norm_against(SAMPLES, "nll", A, CLASSES),
    "norm_against_norm": lambda: norms.norm_against_norm(BOTH, (A, B), CLASSES),
    "given_back": lambda: samples.given_back(NORMS / 7, NORMS / 7, CLASSES, 0, [1]),
    "class_target": lambda: targets.class_target({A: NORMS / 7}, CLASSES, 0, "teacher", [A]),
    "class_map": lambda: targets.class_map(np.outer(NORMS, NORMS), CLASSES, [0, 1, 2], "difference", difference=True),
    "head_norms": lambda: targets.head_norms(NORMS, CLASSES),
    "cosine_distributions": lambda: targets.cosine_distributions(NORMS / 7, NORMS / 9),
    "intervals": lambda: seeds.intervals(RUNS, summary(RUNS)),
    "sweep_lines": lambda: seeds.sweep_lines(SWEPT, B, ("method", C), {A: 0.5}),
    "sweep_map": lambda: seeds.sweep_map(SWEPT, B, C),
    "samples_by_class": lambda: class_counts.samples_by_class({A: np.array([1, 2, 3])}, CLASSES),
    "spreads": lambda: augmentations.spreads([SPREAD | {"name": A}, SPREAD | {"name": B, "ratio": 1.0}]),
    "norm_against_accuracy": lambda: seeds.norm_against_accuracy(RUNS),
}
OF_OURS = (
    "loss_terms_curves", "norm_by_outcome", "loss_by_step", "throughput", "step_learning_rate", "memory",
    "gradient_norms", "cosine_distributions", "norms_at_epochs", "norm_quantiles", "forgetting",
)  # fmt: skip
"""Figures whose words are all ours."""
OURS = re.compile(r"</?[bi]>|<br>|<extra></extra>|%\{[\w\[\]]+(:[^{}]*)?\}")


def texts(value: Any) -> Iterator[str]:
    """Every text in a figure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list | tuple | np.ndarray):
        for part in value:
            yield from texts(part)


def test_every_function_that_draws_is_here() -> None:
    rooms = [importlib.import_module(f"fnkd_core.plots.{room.name}") for room in pkgutil.iter_modules(plots.__path__)]
    drawing = {
        name
        for room in rooms
        for name, function in inspect.getmembers(room, inspect.isfunction)
        if inspect.signature(function).return_annotation == "go.Figure" and name != "framed" and name[0] != "_"
    }
    assert drawing == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_has_markup_of_others(name: str) -> None:
    every = list(texts(FIGURES[name]().to_dict()))
    assert not [text for text in every if re.search(r"[<>$]|%\{", OURS.sub("", text))]
    assert not [text for text in every if HOSTILE[:8] in text]
    if name not in OF_OURS:
        assert any(HOSTILE.strip() in html.unescape(text) for text in every)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_in_a_sentence_what_it_shows(name: str) -> None:
    says = summary_of(FIGURES[name]())
    ours = says.replace(HOSTILE.strip(), "")
    assert says.endswith(".") and re.search(r"\d", ours), says
    assert not re.search(r"\bnan|\binf\b|[<>&$]|%\{|no value|nothing", ours), says
    if name not in OF_OURS:
        assert HOSTILE.strip() in says, says


@pytest.mark.parametrize("name", FIGURES)
def test_names_along_an_axis_are_never_read_as_numbers_or_dates(name: str) -> None:
    """Classes named 9 and 10 would else be drawn by their value, and not in the order that the figure says."""
    figure = FIGURES[name]()
    for trace in figure.data:
        for letter in "xy":
            values = getattr(trace, letter, None)
            if values is not None and any(isinstance(value, str) for value in values):
                number = (getattr(trace, f"{letter}axis", None) or letter).removeprefix(letter)
                assert figure.layout[f"{letter}axis{number}"].type in ("category", "multicategory")


@pytest.mark.parametrize("name", FIGURES)
def test_an_axis_of_shares_has_no_room_beyond_none_and_all(name: str) -> None:
    figure = FIGURES[name]()
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        if (axis.tickformat or "").endswith("%"):
            low, high = (axis.minallowed, axis.maxallowed) if axis.range is None else axis.range
            assert low > -0.2 and high < 1.2, axis


def test_no_page_shows_a_figure_without_its_sentence() -> None:
    rooms = [project_dir() / "fnkd_core" / "ui", project_dir() / "pages", project_dir() / "app.py"]
    files = [path for room in rooms for path in (room.rglob("*.py") if room.is_dir() else [room])]
    shows = re.compile(
        r"plotly_chart|\bst\.(line|bar|area|scatter|altair|vega_lite|pydeck|graphviz)_chart\b|\.pyplot\("
    )
    assert len(files) > 20
    assert [path.name for path in files if shows.search(path.read_text())] == ["charts.py"]


def test_a_figure_without_data_says_so() -> None:
    assert "nothing" in summary_of(verdicts.auroc_intervals({}, "#000001", A))
    assert "no value" in summary_of(norms.norm_distribution({A: np.zeros(0)}))
    assert "has no value" in summary_of(models.run_curves({A: [{"epoch": 1}]}, "loss", B))


def test_a_figure_that_leaves_as_a_page_has_no_markup_of_others() -> None:
    page = standalone(FIGURES["intervals"]())
    assert "evil.example" in page
    assert 'href="http://evil.example' not in page


@given(st.text())
def test_what_plotly_decodes_is_the_text_in_one_line(text: str) -> None:
    assert html.unescape(literal(text)) == html.unescape(html.escape(one_line(text)))
    assert not set("<>$%") & set(literal(text))
