"""What a run has to say of its soft term is what its numbers say."""

from __future__ import annotations

from typing import Any

import pytest

from fnkd_core.jobs.words import soft_term_line


def line(epoch: int, hard: float | None, soft: float | None, cosine: float | None = 0.5) -> dict[str, Any]:
    whole = (hard or 0) + (soft or 0)
    share = None if soft is None or not whole else soft / whole
    return {
        "epoch": epoch,
        "gradient_hard": hard,
        "gradient_soft": soft,
        "gradient_cosine": cosine,
        "soft_share": share,
    }


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([line(1, 1.0, 3.0), line(2, None, None), line(3, 1.0, 1.0)], ["Yes: in epoch 3", "50.0%", "75.0% in epoch 1"]),
        ([line(1, 1.0, 1.0, 0.9)], ["the two pull the same way (cosine 0.90)."]),
        ([line(1, 1.0, 1.0, -0.9)], ["the two pull against each other (cosine -0.90)."]),
        ([line(1, 1.0, 1.0, 0.1)], ["in unrelated directions"]),
        ([line(1, 1.0, 0.005)], ["Hardly: in epoch 1", "0.5%", "A larger weight"]),
        ([line(1, 1.0, 0.0, None)], ["No: in epoch 1 its gradient was 0."]),
        ([line(1, 0.0, 0.0, None)], ["Neither term had a gradient in epoch 1."]),
        ([line(1, 1.0, None)], ["This method has no soft term"]),
        ([{"epoch": 1}], ["not measured"]),
        ([], ["not measured"]),
    ],
)
def test_whether_the_soft_term_does_anything_is_answered_in_numbers(
    lines: list[dict[str, Any]], said: list[str]
) -> None:
    text = soft_term_line(lines)
    assert all(part in text for part in said), text
