"""Which checkpoints the pickers offer: not the thousands of students that comparisons leave behind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import streamlit as st

from fnkd_core.checkpoints.library import Entry, RunRow, in_folders, named, students_of
from fnkd_core.paths import runs_dir

SINGLE = "single runs"
MOST = 200
"""Runs whose students are offered, the newest ones; any other is found by its name."""
PICKERS = ("teacher", "student", "a", "b")
"""Keys of the widgets, and in the URL, by which a checkpoint is chosen."""


@dataclass(frozen=True)
class Offer:
    """entries: what can be chosen. num_runs, num_shown: how many runs of that group have students."""

    entries: list[Entry]
    num_runs: int
    num_shown: int


def groups(rows: dict[str, RunRow]) -> list[str]:
    """Whose students can be offered: those of single runs, and of each comparison that has some, newest first."""
    comparisons = dict.fromkeys(row["comparison"] for row in rows.values() if row["comparison"])
    return [SINGLE, *(name for name in comparisons if name)]


def offer(rows: dict[str, RunRow], group: str) -> Offer:
    """The user's own checkpoints, the shipped ones, the students of this group, and what is chosen by name already."""
    of_group = [run for run, row in rows.items() if (row["comparison"] or SINGLE) == group]
    entries = {entry.name: entry for entry in in_folders()}
    where = runs_dir()
    for run in of_group[:MOST]:
        for entry in students_of(where / run):
            entries.setdefault(entry.name, entry)
    for name in chosen():
        if name not in entries and (also := named(name)) is not None:
            entries[name] = also
    # Files of others that were not imported come last.
    ordered = sorted(entries.values(), key=lambda entry: entry.card is None)
    return Offer(ordered, len(of_group), min(len(of_group), MOST))


def chosen() -> Iterable[str]:
    """The checkpoints that the page's state names."""
    for key in PICKERS:
        if isinstance(name := st.session_state.get(key), str):
            yield name
