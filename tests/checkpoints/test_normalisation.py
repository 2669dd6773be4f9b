"""Which of several networks and normalisations a file's weights are taken for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnkd_core.checkpoints.importing.normalisation import (
    SURELY,
    _clear,
    _in_question,
    _ranked,
    _surely_more,
    _Trial,
)
from fnkd_core.models.architecture import Architecture
from fnkd_core.models.recognition.compare import Candidate


def trial(name: str, right: np.ndarray, nll: np.ndarray) -> _Trial:
    candidate = Candidate(Architecture("cifar_resnet8", 10, 3), {}, None, "plain")
    return _Trial(candidate, name, (0.0,), (1.0,), np.empty((len(right), 10)), float(right.mean()), nll, right)


def of(name: str, num_right: int, nll: float, out_of: int = 270) -> _Trial:
    """The first so many right; the likelihood of each image differs a little."""
    return trial(name, np.arange(out_of) < num_right, nll + np.linspace(-0.1, 0.1, out_of))


def test_who_gets_surely_more_right_is_first_however_sure_it_is_of_a_few_mistakes() -> None:
    sure = of("plain", 150, 1.0)
    sure.nll[-5:] = 9000.0
    vague = of("blurred", 110, 90.0)
    assert sure.nll.mean() > vague.nll.mean()
    assert [one.normalisation for one in _ranked([vague, sure])] == ["plain", "blurred"] and _clear([vague, sure])


def test_where_accuracy_does_not_tell_likelihood_does() -> None:
    likely, other = of("likely", 150, 1.0), of("other", 153, 1.2)
    assert [one.normalisation for one in _ranked([other, likely])] == ["likely", "other"]
    assert _clear([other, likely])
    assert not _clear([likely, trial("hardly", likely.right, likely.nll + np.cos(np.arange(270)))])


@pytest.mark.parametrize("lead", [0, 3, 8, 10, 30])
def test_more_right_is_surely_so_from_three_standard_errors_on(lead: int) -> None:
    assert _surely_more(of("a", 100 + lead, 1.0), of("b", 100, 1.0)) is (lead > SURELY * lead**0.5)


TRIALS = st.lists(st.tuples(st.integers(0, 2**60 - 1), st.floats(0.01, 50), st.floats(0, 5)), min_size=1, max_size=6)


@given(drawn=TRIALS)
def test_the_first_is_never_out_of_question_nor_is_who_gets_more_right(drawn: list[tuple[int, float, float]]) -> None:
    images = np.arange(60)
    found = [
        trial(str(i), (bits >> images) % 2 == 1, nll + spread * np.cos(images + i))
        for i, (bits, nll, spread) in enumerate(drawn)
    ]
    first, left = _ranked(found)[0], _in_question(found)
    assert first in left and all(one in left for one in found if one.accuracy > first.accuracy)
    assert not any(_surely_more(one, first) for one in found)
