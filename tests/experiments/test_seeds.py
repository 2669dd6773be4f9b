"""Means, intervals and the probability that one row beats another, against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.experiments.seeds import (
    at_best,
    axes,
    beats,
    interval,
    markdown,
    probability_of_more,
    readable,
    summary,
    sweep,
    table,
)

accuracies = st.lists(st.floats(0, 1), min_size=3, max_size=8)


def runs(**rows: list[float]) -> pd.DataFrame:
    found = []
    for row, values in rows.items():
        for seed, value in enumerate(values):
            state = "finished" if not math.isnan(value) else "missing"
            found.append({"row": row, "method": row, "seed": seed, "state": state, "accuracy": value})
    return table(found)


def test_the_interval_is_that_of_a_t_table() -> None:
    # n = 5: t at 97.5 % with 4 degrees of freedom is 2.776.
    values = pd.Series([0.90, 0.91, 0.93, 0.92, 0.94])
    half = 2.776445 * values.std(ddof=1) / math.sqrt(5)
    assert interval(values) == pytest.approx((0.92 - half, 0.92 + half), rel=1e-6)
    assert all(math.isnan(end) for end in interval(pd.Series([0.9])))


def test_the_interval_covers_the_true_mean_in_95_of_100_experiments() -> None:
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        low, high = interval(pd.Series(draw.normal(0.8, 0.02, 5)))
        covered += low <= 0.8 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_the_probability_is_the_posterior_mass_above_zero() -> None:
    a, b = pd.Series([0.92, 0.95, 0.93, 0.94]), pd.Series([0.91, 0.93, 0.935, 0.92])
    gaps = (a - b).to_numpy()
    draw = np.random.default_rng(0)
    # Normal gaps under the prior 1/variance: variance ~ (n-1) s^2 / chi^2, mean ~ N(gap, variance / n).
    variance = 3 * gaps.var(ddof=1) / draw.chisquare(3, 400_000)
    means = draw.normal(gaps.mean(), np.sqrt(variance / 4))
    assert probability_of_more(a, b) == pytest.approx((means > 0).mean(), abs=0.003)


@given(accuracies, accuracies)
def test_the_two_probabilities_of_a_pair_sum_to_one(x: list[float], y: list[float]) -> None:
    n = min(len(x), len(y))
    a, b = pd.Series(x[:n]), pd.Series(y[:n])
    forth, back = probability_of_more(a, b), probability_of_more(b, a)
    assert 0 <= forth <= 1
    assert forth + back == pytest.approx(1)


def test_two_seeds_give_no_probability() -> None:
    assert math.isnan(probability_of_more(pd.Series([0.9, 0.8]), pd.Series([0.7, 0.6])))
    assert beats(runs(a=[0.9, 0.8], b=[0.7, 0.6])).isna().all().all()


def test_no_interval_leaves_what_an_accuracy_can_be() -> None:
    lines = summary(runs(a=[0.99, 1.0, 0.90], b=[0.0, 0.3, 0.0], c=[0.5, 0.5, 0.5]))
    assert (lines["low"] >= 0).all() and (lines["high"] <= 1).all()
    assert lines["high"][0] == 1 and lines["low"][1] == 0
    for ends in readable(lines)["95 % interval"]:
        low, high = map(float, ends.split(" to "))
        assert 0 <= low <= high <= 1


def test_failed_runs_are_counted_beside_the_means_of_the_others() -> None:
    frame = runs(a=[0.9, 0.8, math.nan], b=[0.7, 0.6, 0.5])
    frame.loc[2, "state"] = "failed"
    shown = readable(summary(frame))
    assert list(shown["seeds"]) == ["2 of 3, 1 failed", "3"]


def test_equal_gaps_are_certain_and_no_gap_is_a_toss() -> None:
    a = pd.Series([0.5, 0.6, 0.7])
    assert probability_of_more(a, a - 0.1) == 1
    assert probability_of_more(a - 0.1, a) == 0
    assert probability_of_more(a, a) == 0.5
    assert math.isnan(probability_of_more(a[:1], a[:1]))


def test_rows_are_paired_by_seed_and_only_over_seeds_that_both_have_finished() -> None:
    frame = runs(kd=[0.90, 0.92, math.nan, 0.95], fn=[0.91, 0.95, 0.99, 0.97])
    square = beats(frame)
    assert list(square.columns) == ["kd", "fn"] and list(square.index) == ["kd", "fn"]
    expected = probability_of_more(pd.Series([0.91, 0.95, 0.97]), pd.Series([0.90, 0.92, 0.95]))
    assert square.loc["fn", "kd"] == pytest.approx(expected)
    assert math.isnan(square.loc["fn", "fn"])


def test_the_summary_counts_finished_runs_only_and_keeps_the_order_of_the_rows() -> None:
    lines = summary(runs(lsd=[0.8, 0.9, math.nan], ce=[0.5], fn=[math.nan]))
    assert list(lines["row"]) == ["lsd", "ce", "fn"]
    assert list(lines["num_seeds"]) == [2, 1, 0]
    assert list(lines["num_planned"]) == [3, 1, 1]
    assert lines.loc[0, "accuracy"] == pytest.approx(0.85)
    assert lines.loc[0, "accuracy_sd"] == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert math.isnan(lines.loc[1, "accuracy_sd"]) and math.isnan(lines.loc[2, "accuracy"])


def test_the_readable_table_gives_last_before_best_and_leaves_out_what_is_not_known() -> None:
    frame = runs(ce=[0.5, 0.7], kd=[0.6])
    frame["best"] = frame["accuracy"] + 0.1
    shown = readable(summary(frame))
    columns = ["row", "seeds", "test accuracy, last epoch", "95 % interval", "that of the epoch best on validation"]
    assert list(shown.columns) == columns
    assert list(shown["test accuracy, last epoch"]) == ["0.6000 ± 0.1414", "0.6000"]
    text = markdown(shown).splitlines()
    assert text[0] == f"| {' | '.join(columns)} |"
    assert text[3] == "| kd | 1 | 0.6000 |  | 0.7000 |"


def test_axes_are_the_numbers_that_were_varied_for_a_method() -> None:
    found = table(
        [
            {
                "row": f"{m} {n} {k}",
                "method": m,
                "label_noise": n,
                "noise_kind": k,
                "tau": t,
                "seed": 0,
                "state": "finished",
            }
            for m, t in (("kd", None), ("fn", 1.0), ("fn", 2.0))
            for n, k in ((0.0, None), (0.1, "uniform"), (0.1, "similar"))
        ]
    )
    assert axes(found, "kd") == ["label_noise"] and axes(found, "fn") == ["label_noise", "tau"]


def test_a_run_without_a_setting_counts_for_each_of_its_values() -> None:
    lines = table(
        [
            {
                "row": "kd",
                "method": "kd",
                "label_noise": n,
                "noise_kind": k,
                "seed": 0,
                "state": "finished",
                "accuracy": a,
            }
            for n, k, a in ((0.0, None, 0.9), (0.1, "uniform", 0.8), (0.1, "similar", 0.7))
        ]
    )
    found = sweep(lines, "label_noise", ("method", "noise_kind")).set_index(["noise_kind", "label_noise"])["mean"]
    assert found["uniform", 0.0] == found["similar", 0.0] == 0.9
    assert (found["uniform", 0.1], found["similar", 0.1]) == (0.8, 0.7) and len(found) == 4


def test_a_sweep_counts_finished_runs_only_and_keeps_what_is_planned() -> None:
    lines = table(
        [
            {"row": f"fn {t}", "method": "fn", "tau": t, "seed": s, "state": state, "accuracy": 0.5 + s / 10}
            for t, state in ((1.0, "finished"), (2.0, "running"))
            for s in (0, 1)
        ]
    )
    found = sweep(lines, "tau").set_index("tau")
    assert found.loc[1.0, "mean"] == pytest.approx(0.55) and found.loc[1.0, "num_seeds"] == 2
    assert math.isnan(found.loc[2.0, "mean"]) and found.loc[2.0, "num_seeds"] == 0


def test_the_numbers_of_a_diverged_run_stay_short() -> None:
    lines = [{"row": "fn", "method": "fn", "seed": s, "state": "finished", "nll": 4e20 * (s + 1)} for s in (0, 1)]
    assert readable(summary(table(lines)))["NLL"][0] == "6e+20 ± 2.83e+20"


def rates(*rows: tuple[str, float, list[float]]) -> pd.DataFrame:
    """Runs of method, rate and accuracies on validation by seed; on the test split they are in the other order."""
    found = [
        {"row": f"{m} lr={lr}", "method": m, "lr": lr, "seed": seed, "state": "finished"}
        | {"accuracy": 1 - v, "validation": v}
        for m, lr, values in rows
        for seed, v in enumerate(values)
    ]
    return table(found)


def ended(*rows: tuple[str, dict, list[tuple[str, float | None]]]) -> pd.DataFrame:
    """Runs of method, what is varied, and state and accuracy on validation by seed."""
    found = [
        {"row": " ".join([m, *(f"{k}={v}" for k, v in varied.items())]), "method": m, **varied, "seed": seed}
        | {"state": state, "validation": reached}
        for m, varied, seeds in rows
        for seed, (state, reached) in enumerate(seeds)
    ]
    return table(found)


def test_each_row_is_shown_at_the_rate_that_is_best_on_validation_over_its_seeds_whatever_the_test_split_says() -> None:
    tried = rates(
        ("kd", 0.1, [0.5, 0.9]), ("kd", 0.2, [0.8, 0.8]), ("fn", 0.1, [0.6, 0.6]), ("fn", 0.2, [0.01, 0.01])
    )  # fmt: skip
    assert list(dict.fromkeys(at_best(tried, ["lr"])["row"])) == ["kd lr=0.2", "fn lr=0.1"]
    equal = rates(("kd", 0.1, [0.5]), ("kd", 0.2, [0.5]))
    assert list(at_best(equal, ["lr"])["row"]) == ["kd lr=0.1"]


def test_only_what_is_named_is_chosen_and_a_row_without_it_stays() -> None:
    done = "finished"
    runs = ended(
        ("kd", {"T": 2, "lr": 0.1}, [(done, 0.4)]), ("kd", {"T": 2, "lr": 0.2}, [(done, 0.5)]),
        ("kd", {"T": 4, "lr": 0.1}, [(done, 0.7)]), ("kd", {"T": 4, "lr": 0.2}, [(done, 0.6)]),
        ("ce", {}, [(done, 0.1)]), ("teacher A", {}, [(done, 0.2)]),
    )  # fmt: skip
    assert list(at_best(runs, ["lr"])["row"]) == ["kd T=2 lr=0.2", "kd T=4 lr=0.1", "ce", "teacher A"]
    assert list(at_best(runs, ["lr", "T"])["row"]) == ["kd T=4 lr=0.1", "ce", "teacher A"]
    assert at_best(runs, []).equals(runs)


def test_a_rate_at_which_a_run_has_failed_does_not_win_by_those_that_survived() -> None:
    runs = ended(
        ("fn", {"lr": 0.1}, [("finished", 0.6), ("finished", 0.6)]),
        ("fn", {"lr": 0.4}, [("finished", 0.9), ("failed", None)]),
    )
    assert set(at_best(runs, ["lr"])["row"]) == {"fn lr=0.1"}


@pytest.mark.parametrize("state", ["missing", "waiting", "queued", "running", "cancelled", "interrupted"])
def test_nothing_is_chosen_among_rows_of_which_more_is_to_come(state: str) -> None:
    runs = ended(("kd", {"lr": 0.1}, [("finished", 0.6)]), ("kd", {"lr": 0.2}, [(state, None)]))
    assert at_best(runs, ["lr"]).equals(runs)


def test_where_nothing_is_held_out_nothing_is_chosen() -> None:
    runs = rates(("kd", 0.1, [0.5]), ("kd", 0.2, [0.6])).assign(validation=math.nan)
    assert at_best(runs, ["lr"]).equals(runs)
