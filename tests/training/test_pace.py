"""What is said to be left of a run is what is left of it, on a clock of our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.training.pace import Pace


@dataclass(frozen=True)
class Times:
    """Seconds of the parts of a run whose epochs are read at every `every`-th step."""

    steps: int
    every: int
    step: float
    wait: float
    evaluation: float
    save: float
    closing: float
    first: float = 0.0
    epochs: int = 6


def guesses(times: Times, first_epoch: int = 0) -> Iterator[tuple[int, int, float, float]]:
    """Epoch (from 1) and step, what the pace says is left there, and what is."""
    now = 0.0
    pace = Pace(times.epochs - first_epoch, times.steps, closing=times.closing, clock=lambda: now)
    said = []
    for epoch in range(first_epoch, times.epochs):
        pace.begin_epoch()
        now += times.wait
        pace.begin_steps()
        for step in range(1, times.steps + 1):
            begins = epoch == first_epoch and step == 1
            now += times.step + (times.first if begins else 0)
            if begins or step % times.every == 0 or step == times.steps:
                pace.stepped(step)
                said.append((epoch + 1, step, pace.left, now))
        now += times.evaluation
        pace.evaluated()
        now += times.save
        pace.end_epoch()
        said.append((epoch + 2, 0, pace.left, now))
    now += times.closing * times.evaluation + times.save
    for epoch, step, left, moment in said:
        yield epoch, step, left, now - moment


RUNS = st.builds(
    Times,
    steps=st.integers(1, 90),
    every=st.sampled_from([1, 20]),
    step=st.floats(1e-3, 2.0),
    wait=st.floats(0, 20.0),
    evaluation=st.floats(0, 60.0),
    save=st.floats(0, 20.0),
    closing=st.floats(0, 3.0),
)


@given(RUNS, st.sampled_from([0, 3]))
def test_after_one_epoch_of_a_session_what_is_said_to_be_left_is_left(times: Times, first: int) -> None:
    """Whatever share waiting, evaluation and saving have, in a run that begins and in one that goes on."""
    for epoch, step, left, real in guesses(times, first):
        if epoch > first + 1:
            assert left == pytest.approx(real, rel=1e-6, abs=1e-6), (epoch, step)


@given(RUNS, st.floats(0.0, 200.0))
def test_a_first_step_that_compiles_for_minutes_is_not_taken_for_the_pace(times: Times, first: float) -> None:
    if times.steps == 1:
        return  # there is no other step to tell by
    slow = Times(**{**vars(times), "first": first})
    for epoch, _, left, real in guesses(slow):
        if epoch > 1:
            assert left == pytest.approx(real, rel=0.1, abs=1e-6)


def test_a_pace_that_changes_is_followed_within_an_epoch() -> None:
    now = 0.0
    pace = Pace(10, 100, clock=lambda: now)
    for epoch in range(3):
        pace.begin_epoch()
        pace.begin_steps()
        for step in range(1, 101):
            now += 1.0 if epoch < 2 else 3.0
            pace.stepped(step)
        pace.evaluated()
        pace.end_epoch()
    assert pace.left == pytest.approx(7 * 300)


def test_before_an_evaluation_was_timed_it_is_reckoned_in_steps() -> None:
    now = 0.0
    pace = Pace(2, 10, evaluation_steps=5.0, closing=2.0, clock=lambda: now)
    pace.begin_epoch()
    pace.begin_steps()
    assert pace.left == 0.0
    for step in (1, 2):
        now += 1.0
        pace.stepped(step)
    assert pace.left == pytest.approx(18 + 4 * 5)
    assert pace.elapsed == 2.0
