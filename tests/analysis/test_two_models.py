"""Which of two models is better is said by a test, and how well an accuracy is known by an interval."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.analysis.tables import mcnemar, wilson
from fnkd_core.ui.two_models import who_is_better


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_share_of_fair_coins_that_fall_at_least_so_unevenly(first: int, second: int) -> None:
    n, apart = first + second, abs(first - second)
    uneven = sum(Fraction(math.comb(n, k), 2**n) for k in range(n + 1) if abs(2 * k - n) >= apart)
    assert mcnemar(first, second) == pytest.approx(float(uneven), rel=1e-9)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_ends_of_wilson_s_interval_are_the_shares_from_which_what_was_seen_is_1_96_deviations_away(
    seen: tuple[int, int],
) -> None:
    k, n = seen
    low, high = wilson(k / n, n)
    for end in (low, high):
        assert abs(k / n - end) == pytest.approx(1.959964 * math.sqrt(max(end * (1 - end), 0) / n), abs=1e-7)
    assert -1e-12 <= low <= k / n + 1e-12 and k / n - 1e-12 <= high <= 1 + 1e-12
    assert np.ndim(low) == 0


def test_it_is_said_which_model_is_better_only_where_chance_would_seldom_make_it_so() -> None:
    names = ("digits-teacher", "digits-fn")
    assert who_is_better(names, 0, 0) == "Both get the same samples right."
    said = who_is_better(names, 5, 1)
    assert "Of 6 samples that one alone gets right, digits-teacher has 5" in said and "22 % of cases" in said
    assert said.endswith("so neither can be called better.")
    said = who_is_better(names, 1, 12)
    assert "digits-fn has 12" in said and "less than 1 % of cases" in said and said.endswith("the better one here.")
    assert who_is_better(names, 3, 3).endswith("so neither can be called better.")
