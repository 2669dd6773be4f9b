"""A comparison's table as text, the same for the command line and the page. No torch."""

from __future__ import annotations

import math

import pandas as pd

from fnkd_core.experiments import seeds


def as_text(square: pd.DataFrame) -> pd.DataFrame:
    """The probabilities of `seeds.beats` with two digits; nothing where one is not known."""
    return square.map(lambda p: "" if math.isnan(p) else f"{p:.2f}")


def report(runs: pd.DataFrame, square: pd.DataFrame, settings: str, notes: str = "", chosen: str = "") -> str:
    """Markdown of the accuracies, of what all runs share, and of which row beats which.

    runs: of `seeds.table`. square: `as_text` of which beats which. chosen: how rows were, if any (`seeds.chosen_line`).
    """
    shown = seeds.markdown(seeds.readable(seeds.summary(runs)))
    which = seeds.markdown(square.reset_index())
    return (
        f"{shown}\n\n{chosen + ' ' if chosen else ''}All runs: {settings}.{' ' + notes if notes else ''}\n\n"
        "The accuracy is that of the last epoch on the test split; the best one is of the epoch that was best on "
        "validation.\n\nProbability that the row's last-epoch accuracy is higher than the column's, "
        f"paired over seeds; not given below {seeds.FEWEST} pairs:\n\n{which}\n"
    )
