"""Figures show the numbers they are given, with the theme's colours alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fnkd_core.analysis.comparison import summary, table
from fnkd_core.analysis.curves import softmax
from fnkd_core.analysis.store import Store
from fnkd_core.analysis.tables import by_class, by_confidence, by_decile, side_by_side
from fnkd_core.plots import models, norms, samples
from fnkd_core.plots.comparison import intervals
from fnkd_core.plots.style import SLOTS, standalone


def test_a_distribution_s_bars_are_shares_that_add_up_to_one(teacher_store: Store, fn_store: Store) -> None:
    groups = {"t": teacher_store.samples["norm"].to_numpy(), "s": fn_store.samples["norm"].to_numpy()}
    figure = norms.norm_distribution(groups)
    assert [sum(bar.y) for bar in figure.data] == pytest.approx([1.0, 1.0])
    assert list(figure.data[0].x) == list(figure.data[1].x)


def test_groups_that_are_empty_or_constant_are_drawn() -> None:
    figure = norms.norm_distribution({"a": np.full(5, 2.0), "b": np.array([])})
    assert sum(figure.data[0].y) == pytest.approx(1)
    frame = pd.DataFrame({"norm": [1.0, 2.0], "correct": [True, True]})
    assert len(norms.norm_by_outcome(frame).data) == 1


def test_a_scatter_carries_the_ids_of_its_samples(teacher_store: Store) -> None:
    figure = norms.norm_against(teacher_store.samples, "confidence", "confidence", teacher_store.classes)
    ids = sorted(int(i) for trace in figure.data for i in trace.customdata)
    assert ids == list(range(360))


def test_a_scatter_of_many_is_thinned_and_keeps_both_ends() -> None:
    many = pd.DataFrame({"norm": np.random.default_rng(0).random(30_000)})
    thin = norms.thinned(many)
    assert len(thin) == norms.MOST_POINTS
    assert (thin["norm"].min(), thin["norm"].max()) == (many["norm"].min(), many["norm"].max())


def test_figures_have_the_theme_s_colours_alone(teacher_store: Store, fn_store: Store) -> None:
    both = side_by_side(teacher_store, fn_store)
    tables = [by_class(s.samples, s.classes) for s in (teacher_store, fn_store)]
    runs = table([{"row": "kd", "seed": i, "state": "finished", "accuracy": 0.9 + i / 50} for i in range(3)])
    run = [{"epoch": 1, "loss": 2.0, "hard": 1.0, "soft": 1.0, "test_accuracy": 0.5}]
    figures = [
        norms.norm_distribution({"a": teacher_store.samples["norm"].to_numpy()}, selected=(8, 9)),
        norms.norm_by_class(teacher_store.samples, teacher_store.classes, "t", SLOTS[0]),
        norms.accuracy_by_decile({"a": by_decile(teacher_store.samples)}),
        norms.norm_against_norm(both, ("a", "b"), teacher_store.classes),
        models.accuracy_by_class(tables[0], tables[1], ("a", "b")),
        models.accuracy_on_deciles(both.assign(decile=both["decile_a"]), ("a", "b")),
        models.reliability((by_confidence(teacher_store.samples), by_confidence(fn_store.samples)), ("a", "b")),
        intervals(runs, summary(runs)),
        models.run_curves({"r": run}, "test_accuracy", "accuracy", percent=True),
        models.loss_terms_curves(run),
        samples.class_bars({"T = 1": softmax(teacher_store.logits[0])}, teacher_store.classes, 3, "teacher"),
    ]
    for figure in figures:
        text = json.dumps(figure.to_plotly_json()["data"], default=str)
        colours = {text[i : i + 7] for i in range(len(text)) if text[i] == "#" and text[i + 1 : i + 7].isalnum()}
        assert {c for c in colours if c[1:].isdigit() or len(c) == 7} - set(SLOTS) == set()


def test_the_bars_of_a_sample_always_hold_its_label() -> None:
    p = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.04, 0.01])
    figure = samples.class_bars({"T = 1": p}, list("abcdefg"), 6, "student")
    assert list(figure.data[0].y) == ["a", "b", "c", "d", "<b>g</b> (label)"]
    assert list(figure.data[0].x) == [0.5, 0.2, 0.1, 0.1, 0.01]


def test_intervals_show_every_finished_seed_and_only_rows_that_have_one() -> None:
    runs = table(
        [{"row": "kd", "seed": i, "state": "finished", "accuracy": 0.9 + i / 50, "best": 0.97} for i in range(3)]
        + [{"row": "fn", "seed": 0, "state": "running", "accuracy": 0.1}]
    )
    lines = summary(runs)
    seeds, means, best = intervals(runs, lines).data
    assert list(seeds.x) == pytest.approx([0.9, 0.92, 0.94]) and list(best.x) == pytest.approx([0.97])
    assert list(means.y) == ["kd"]
    assert means.x[0] + means.error_x.array[0] == pytest.approx(lines["high"][0])
    page = standalone(intervals(runs, lines))
    assert not any(f'"{slot}"' in page for slot in SLOTS)
