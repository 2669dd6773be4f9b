"""Figures show the numbers they are given, with the theme's colours alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from fnkd_core.analysis.confusion import alsd_target
from fnkd_core.analysis.tables import by_class, by_confidence, by_decile, norms_by_class, side_by_side
from fnkd_core.experiments.seeds import summary, sweep, table, teacher_norm
from fnkd_core.plots import models, norms, samples, targets, training
from fnkd_core.plots.geometry import class_angles
from fnkd_core.plots.norms_by_class import norm_by_class
from fnkd_core.plots.seeds import intervals, norm_against_accuracy, sweep_lines, sweep_map
from fnkd_core.plots.style import PERCENT, SLOTS, standalone, summary_of
from fnkd_core.plots.verdicts import auroc_intervals
from fnkd_core.stores.store import Store

SWEPT = table(
    [
        {
            "row": f"fn tau={tau} lambda={lam}", "method": "fn", "tau": tau, "lambda": lam, "seed": seed,
            "state": "finished" if (tau, lam) != (8.0, 4.0) else "missing",
            "accuracy": 0.9 - abs(np.log2(tau * lam / 8.0)) / 50 + seed / 1000, "temperature": 8.0 / tau, "norm": 5.0,
        }
        for tau in (1.0, 2.0, 4.0, 8.0)
        for lam in (1.0, 2.0, 4.0)
        for seed in (0, 1)
    ]
)  # fmt: skip
"""Runs of a teacher whose mean norm is 8 and whose accuracy falls with the distance from the paper's rule."""


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
    runs = table(
        [{"row": "kd", "method": "kd", "seed": i, "state": "finished", "accuracy": 0.9 + i / 50} for i in range(3)]
    )
    run = [{"epoch": 1, "loss": 2.0, "hard": 1.0, "soft": 1.0, "accuracy": 0.5}]
    figures = [
        norms.with_range(norms.norm_distribution({"a": teacher_store.samples["norm"].to_numpy()}), (8, 9)),
        norms.norm_distribution({"a": np.arange(4.0), "b": np.ones(3)}, cumulative=True),
        norms.norm_distribution({"a": np.arange(4.0), "b": np.ones(3)}, outlined=True),
        norm_by_class(norms_by_class(teacher_store.samples), teacher_store.classes, "t", SLOTS[0]),
        auroc_intervals({"a": (0.8, 0.7, 0.9)}, SLOTS[0], "a"),
        class_angles(np.full((3, 3), 90.0), ["a", "b", "c"], 95.0),
        norms.accuracy_by_decile({"a": by_decile(teacher_store.samples)}),
        norms.norm_against_norm(both, ("a", "b"), teacher_store.classes),
        models.accuracy_by_class(tables[0], tables[1], ("a", "b")),
        models.accuracy_on_deciles(both.assign(decile=both["decile_a"]), ("a", "b")),
        models.reliability((by_confidence(teacher_store.samples), by_confidence(fn_store.samples)), ("a", "b")),
        intervals(runs, summary(runs)),
        norm_against_accuracy(runs),
        sweep_lines(sweep(SWEPT, "tau"), "tau", ("method",), {"ce": 0.9}),
        models.run_curves({"r": run}, "accuracy", "accuracy", percent=True),
        models.loss_terms_curves(run),
    ]
    for figure in figures:
        text = json.dumps(figure.to_plotly_json()["data"], default=str)
        colours = {text[i : i + 7] for i in range(len(text)) if text[i] == "#" and text[i + 1 : i + 7].isalnum()}
        assert {c for c in colours if c[1:].isdigit() or len(c) == 7} - set(SLOTS) == set()


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


def test_a_sweep_map_shows_each_mean_frames_the_best_and_draws_the_rule_where_tau_times_lambda_is_the_norm() -> None:
    norm = teacher_norm(SWEPT)
    assert norm == pytest.approx(8.0)
    cells, best, rule = sweep_map(sweep(SWEPT, "tau", ("method", "lambda")), "tau", "lambda", norm).data
    assert list(cells.x) == [0, 1, 2, 3] and list(cells.y) == [0, 1, 2]
    assert cells.z[0][0] == pytest.approx(0.9 - 3 / 50 + 0.0005)
    assert np.isnan(cells.z[2][3]), "what is planned and not finished is an empty cell"
    assert list(cells.customdata[1][3][:2]) == [8.0, 2.0]
    assert 2 ** (rule.x[0] + rule.y[0]) == pytest.approx(8.0) == 2 ** (rule.x[-1] + rule.y[-1])
    # tau * lambda = 8 in three cells; the first of them is framed.
    assert (min(best.x) + max(best.x)) / 2 + (min(best.y) + max(best.y)) / 2 == pytest.approx(3)


def test_the_rule_is_drawn_over_few_values_and_over_steps_and_not_over_other_settings() -> None:
    few = SWEPT[SWEPT["tau"].isin([2.0, 4.0]) & SWEPT["lambda"].isin([2.0, 4.0])]
    rule = sweep_map(sweep(few, "tau", ("method", "lambda")), "tau", "lambda", 8.0).data[2]
    assert rule.x[0] + rule.y[0] == pytest.approx(3)
    steps = SWEPT.assign(tau=SWEPT["tau"].map({1.0: 1.0, 2.0: 2.0, 4.0: 3.0, 8.0: 4.0}))
    rule = sweep_map(sweep(steps, "tau", ("method", "lambda")), "tau", "lambda", 8.0).data[2]
    assert rule.x[-1] * 2 ** rule.y[-1] == pytest.approx(8)
    linear = SWEPT.rename(columns={"lambda": "label_noise"})
    assert len(sweep_map(sweep(linear, "tau", ("method", "label_noise")), "tau", "label_noise", 8.0).data) == 2


def test_lines_have_a_logarithmic_axis_where_values_are_factors_and_a_linear_one_where_they_are_steps() -> None:
    assert sweep_lines(sweep(SWEPT, "tau"), "tau", ("method",)).layout.xaxis.type == "log"
    steps = SWEPT.assign(tau=SWEPT["tau"].map({1.0: 0.1, 2.0: 0.2, 4.0: 0.3, 8.0: 0.4}))
    assert sweep_lines(sweep(steps, "tau"), "tau", ("method",)).layout.xaxis.type is None


def test_a_diverged_row_is_told_at_the_edge_and_does_not_press_the_others_together() -> None:
    values = {f"fn tau={i}": 0.94 + i / 1000 for i in range(8)} | {"fn tau=9": 0.21}
    runs = table(
        [
            {
                "row": row,
                "method": "fn",
                "seed": s,
                "state": "finished",
                "accuracy": a + s / 1000,
                "best": a,
                "norm": 9 - a,
            }
            for row, a in values.items()
            for s in (0, 1)
        ]
    )
    runs.loc[runs["row"] == "fn tau=9", "norm"] = 1e12
    figure = intervals(runs, summary(runs))
    assert figure.layout.xaxis.range[0] > 0.9
    assert [(a.y, a.text) for a in figure.layout.annotations] == [("fn tau=9", "◂ 21.1%")]
    cloud = norm_against_accuracy(runs)
    assert cloud.layout.xaxis.range[1] < 9 and "2 of 18 runs lie outside" in cloud.layout.annotations[0].text


def test_what_a_label_gives_back_is_drawn_for_its_similar_classes_and_once_for_the_others() -> None:
    classes = [f"c{k}" for k in range(20)]
    alsd, lsd = alsd_target(0, (1, 2), 20, 0.1, 0.2), alsd_target(0, (), 20, 0.1, 0.2)
    figure = samples.given_back(alsd, lsd, classes, 0, (1, 2))
    assert list(figure.data[0].y) == ["c1", "c2", "17 others, each"]
    assert list(figure.data[0].x) == pytest.approx([0.105, 0.105, 0.005])
    assert list(figure.data[1].x) == pytest.approx([0.015] * 3)
    many = samples.given_back(alsd, lsd, classes, 0, tuple(range(1, 20)))
    assert many.data[0].y[-1] == "c8 and 11 more" and len(many.data[0].y) == samples.MOST_SIMILAR


def many_samples(n: int = 30_000) -> pd.DataFrame:
    """More samples than a scatter draws, two thirds of them right."""
    generator = np.random.default_rng(0)
    columns = {name: generator.random(n) for name in ("norm", "confidence", "norm_a", "norm_b")}
    right = np.arange(n) % 3 > 0
    return pd.DataFrame(
        {**columns, "id": range(n), "label": 0, "prediction": 0, "correct": right, "outcome": np.arange(n) % 4}
    )


def test_legends_count_all_samples_where_a_chart_draws_fewer() -> None:
    many = many_samples()
    one = norms.norm_against(many, "confidence", "confidence", ["c"])
    assert [trace.name for trace in one.data] == ["right (20,000)", "wrong (10,000)"]
    assert sum(len(trace.x) for trace in one.data) == norms.MOST_POINTS
    two = norms.norm_against_norm(many, ("a", "b"), ["c"])
    assert {trace.name for trace in two.data} == {
        "both right (7,500)", "only a right (7,500)", "only b right (7,500)", "both wrong (7,500)",
    }  # fmt: skip
    assert sum(len(trace.x) for trace in two.data) == norms.MOST_POINTS


def test_words_tell_ends_and_medians_of_all_and_of_what_is_drawn_where_it_is_a_part() -> None:
    many = many_samples()
    many["confidence"] = (many["norm"] - 0.5).abs()  # the drawn are even over the norms, not over this
    low, middle, high = (f"{x:.3g}" for x in many["confidence"].quantile([0, 0.5, 1]))
    said = summary_of(norms.norm_against(many, "confidence", "confidence", ["c"]))
    assert f"confidence median {middle}, {low} to {high}, rank correlation of the two of the 10,000 that are" in said
    assert "of the 10,000 that are drawn" in summary_of(norms.norm_against_norm(many, ("a", "b"), ["c"]))
    few = many[:500]
    assert "drawn" not in summary_of(norms.norm_against(few, "confidence", "confidence", ["c"]))
    assert "drawn" not in summary_of(norms.norm_against_norm(few, ("a", "b"), ["c"]))


def test_an_interval_is_promised_only_where_there_is_one_and_shares_have_the_decimals_they_need() -> None:
    def drawn(*seeds: int) -> go.Figure:
        cells = [
            {"row": row, "seed": s, "state": "finished", "accuracy": 0.98 + s / 1000} for row in "ab" for s in seeds
        ]
        runs = table(cells)
        return intervals(runs, summary(runs))

    one, several = drawn(0), drawn(0, 1, 2)
    assert [trace.name for trace in one.data][1] == "mean"
    assert [trace.name for trace in several.data][1] == "mean and 95 % interval"
    assert one.layout.xaxis.tickformat == PERCENT == ".3~%"


def test_a_chart_of_a_part_says_how_many_it_draws() -> None:
    assert norms.drawn(30_000) == "Drawn: 10,000 of 30,000."
    assert norms.drawn(10_000) == ""
    assert norms.drawn(30_000, 2_000) == "Drawn: 2,000 of 30,000."


def test_histograms_of_other_bins_are_shares_over_common_ones_whose_means_stay() -> None:
    rng, means, lines = np.random.default_rng(0), [], []
    for epoch in range(1, 5):
        drawn = rng.gamma(9.0, epoch / 3, 4000)
        counts, edges = np.histogram(drawn, 40)
        means.append(drawn.mean())
        lines.append({"epoch": epoch, "split": "test", "low": edges[0], "high": edges[-1], "counts": counts.tolist()})
    heat, low, middle, high = training.norms_over_epochs(lines).data
    assert np.asarray(heat.z).sum(0) == pytest.approx(np.ones(4))
    assert (np.asarray(heat.y)[1:] + heat.y[:-1]) / 2 @ np.asarray(heat.z) == pytest.approx(means, abs=0.15)
    assert all(a < b < c for a, b, c in zip(low.y, middle.y, high.y, strict=True))


def test_of_epochs_whose_norms_lie_far_apart_each_is_seen_in_many_rows_and_no_sample_is_left_out() -> None:
    rng, lines = np.random.default_rng(0), []
    for epoch, scale in ((1, 100.0), (2, 3.0), (3, 2.0)):
        drawn = np.append(scale * rng.gamma(9.0, 1 / 9, 4000), 0.0)  # and one dead feature
        counts, edges = np.histogram(drawn, 40)
        lines.append({"epoch": epoch, "split": "test", "low": edges[0], "high": edges[-1], "counts": counts.tolist()})
    figure = training.norms_over_epochs(lines)
    shares = np.asarray(figure.data[0].z)
    assert shares.sum(0) == pytest.approx(np.ones(3))
    assert figure.layout.yaxis.type == "log" and all((shares > 0.01).sum(0) >= 8)
    assert training.norms_over_epochs(lines[1:]).layout.yaxis.type != "log"


def test_steps_stand_within_their_epochs_and_a_loss_of_one_term_is_one_line() -> None:
    line = {"loss": 1.0, "hard": 1.0, "soft": 0.0, "lr": 0.1, "samples_per_s": 9.0}
    steps = [line | {"epoch": epoch, "step": step} for epoch in (1, 2) for step in (2, 4)]
    (loss,) = training.loss_by_step(steps).data
    assert list(loss.x) == [0.5, 1.0, 1.5, 2.0]
    assert len(training.loss_by_step([one | {"soft": 0.5} for one in steps]).data) == 3
    assert training.memory([one | {"memory": None} for one in steps]).data == ()
    assert [trace.name for trace in training.memory([one | {"memory": 2e9} for one in steps]).data] == ["process"]


def test_a_class_s_target_is_drawn_without_its_label_and_with_the_rest_together() -> None:
    classes = [f"c{k}" for k in range(40)]
    soft = np.linspace(0, 1, 40) / np.linspace(0, 1, 40).sum()
    hard = np.eye(40)[39]
    figure = targets.class_target({"one-hot": hard, "T": soft}, classes, 39, "teacher", ["T"])
    assert [trace.name for trace in figure.data] == ["one-hot (label 1.000)", f"T (label {soft[39]:.3f})"]
    assert list(figure.data[1].y[:2]) == ["c38", "c37"] and figure.data[1].y[-1] == "<i>27 others together</i>"
    assert sum(figure.data[1].x) + soft[39] == pytest.approx(1)
    few = targets.class_target({"T": np.array([0.7, 0.2, 0.1])}, ["a", "b", "c"], 0, "student", ["T"])
    assert list(few.data[0].y) == ["b", "c"]


def test_a_map_of_differences_has_zero_in_the_middle_and_no_diagonal() -> None:
    matrix = np.array([[5.0, 0.1, -0.2], [0.0, 5.0, 0.05], [0.0, 0.0, 5.0]])
    heat = targets.class_map(matrix, ["a", "b", "c"], [2, 0, 1], "d", difference=True).data[0]
    assert heat.zmin == -heat.zmax < 0 and list(heat.x) == ["c", "a", "b"]
    assert np.isnan(np.diag(np.asarray(heat.z))).all() and np.asarray(heat.z)[1][0] == -0.2
    assert targets.class_map(matrix, ["a", "b", "c"], [0, 1, 2], "d", difference=False).data[0].zmin == 0
    assert heat.hoverongaps is False, "the diagonal says nothing"
    assert targets.class_map(np.zeros((2, 2)), ["a", "b"], [0, 1], "d", difference=True).data[0].zmax > 0


def test_norms_of_the_head_are_sorted_and_cosines_are_shares() -> None:
    few = targets.head_norms(np.array([2.0, 1.0, 3.0]), ["a", "b", "<c>"])
    assert list(few.layout.xaxis.ticktext) == ["b", "a", "&#60;c&#62;"]
    assert targets.head_norms(np.arange(50.0), [f"class {k}" for k in range(50)]).layout.xaxis.showticklabels is False
    bars = few.data[0]
    assert list(bars.y) == [1, 2, 3] and list(bars.customdata) == ["b", "a", "&#60;c&#62;"]
    shares = targets.cosine_distributions(np.array([0.5, 0.6]), np.array([0.1, -0.2])).data
    assert [sum(trace.y) for trace in shares] == pytest.approx([1, 1])
