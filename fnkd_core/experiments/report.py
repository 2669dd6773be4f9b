"""A comparison's table as text, the same for the command line and the page. No torch."""

from __future__ import annotations

import math

import pandas as pd

from fnkd_core.experiments import seeds


def beaten(runs: pd.DataFrame) -> pd.DataFrame:
    """A row and a column for each row of the comparison: the probability that the first is better, as text."""
    return seeds.beats(runs).map(lambda p: "" if math.isnan(p) else f"{p:.2f}")


def report(runs: pd.DataFrame, settings: str, notes: str = "", chosen: str = "") -> str:
    """Markdown of the accuracies, of what all runs share, and of which row beats which.

    runs: of `seeds.table`. chosen: how rows were, if they were (`seeds.chosen_line`).
    """
    shown = seeds.markdown(seeds.readable(seeds.summary(runs)))
    square = seeds.markdown(beaten(runs).reset_index())
    return (
        f"{shown}\n\n{chosen + ' ' if chosen else ''}All runs: {settings}.{' ' + notes if notes else ''}\n\n"
        "The accuracy is that of the last epoch on the test split; the best one is of the epoch that was best on "
        "validation.\n\nProbability that the row's last-epoch accuracy is higher than the column's, "
        f"paired over seeds; not given below {seeds.FEWEST} pairs:\n\n{square}\n"
    )
