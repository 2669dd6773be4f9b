"""Which checkpoints the pickers offer: not the thousands of students that comparisons leave behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from fnkd_core.checkpoints.library import WEIGHTS, Entry, RunRow, in_folders, named, students_of
from fnkd_core.data import dataset_info, list_datasets
from fnkd_core.paths import checkpoint_dirs, runs_dir
from fnkd_core.ui import address, guard, inputs

SINGLE = "single runs"
MOST = 200
"""Runs whose students are offered, the newest ones; any other is found by its name."""
PICKERS = ("teacher", "student", "a", "b")
"""Keys of the widgets, and in the URL, by which a checkpoint is chosen."""
FURTHER, OF_ALL = "further teachers", "further teachers of all"
"""Keys of the widgets that choose teachers beside the sidebar's: of a run, and of a comparison."""


@dataclass(frozen=True)
class Offer:
    """entries: what can be chosen. of_group: names of the students of the group among them, newest first. num_runs,
    num_shown: how many runs of that group have students."""

    entries: list[Entry]
    of_group: list[str]
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
    where, own = runs_dir(), list[str]()
    for run in of_group[:MOST]:
        for entry in students_of(where / run):
            own.append(entry.name)
            entries.setdefault(entry.name, entry)
    for name in chosen():
        if name not in entries and (also := named(name)) is not None:
            entries[name] = also
    # Files of others that were not imported come last.
    ordered = sorted(entries.values(), key=lambda entry: entry.card is None)
    return Offer(ordered, own, len(of_group), min(len(of_group), MOST))


def choose(role: str, entry: Entry) -> None:
    """Have the sidebar's next turn choose this checkpoint as teacher or student: with its data and labels, where these
    are here, since among those of others it would not be found."""
    wanted, card = {role: entry.name}, entry.card
    if card is not None and card.dataset in list_datasets():
        wanted["dataset"] = card.dataset
        if len(dataset_info(card.dataset).label_spaces) > 1:
            wanted["labels"] = card.label_space
    st.session_state["choose"] = wanted


def chosen() -> Iterable[str]:
    """The checkpoints that the page's state names."""
    for key in PICKERS:
        if isinstance(name := st.session_state.get(key), str):
            yield name
    for key in (FURTHER, OF_ALL):
        yield from st.session_state.get(key, [])


def more_teachers(entries: Iterable[Entry], first: str, key: str, where: Any = st) -> list[str]:
    """The further teachers, with whose probabilities the first one's are averaged. entries: those that fit the data."""
    others = [entry.name for entry in entries if entry.name != first]
    if not others:
        return []
    kept = [name for name in st.session_state.get(key, []) if name in others]
    st.session_state[key] = kept  # what does not fit these data, or now is the first, is no choice
    text = "The student learns the mean of their probabilities, each softened at its own temperature."
    chosen: list[str] = inputs.on(where).multiselect(
        "Further teachers", others, help=text, placeholder="none", key=key, persist_state="session"
    )
    return chosen


def checkpoint(
    label: str, key: str, entries: Mapping[str, Entry], default: str, where: Any = st, more: tuple[str, ...] = ()
) -> str | None:
    """A picker of one of these checkpoints, by name; see `address.picker`. more: what else can be chosen.

    The last and the best epoch of a run are one entry, with a switch below it. Shipped and imported ones say so.
    """
    twins = _twins(entries)
    bests = set(twins.values())
    names = [name for name in entries if name not in bests]
    chosen = st.session_state.get(key)
    wanted = default if chosen is None and key not in address.gone() else chosen
    if wanted in bests:
        names = [twins[name] if twins.get(name) == wanted else name for name in names]
    titled = _titles(entries)
    picked = address.picker(label, key, [*names, *more], default, where, titled=lambda name: titled.get(name, name))
    last = next((name for name, best in twins.items() if picked in (name, best)), None)
    if last is not None:
        switch = f"{key} best"
        st.session_state[switch] = picked != last
        inputs.on(where).toggle(
            "Best epoch",
            key=switch,
            help="The weights of its best epoch, chosen on validation, instead of those of its last one.",
            on_change=guard.callback(_change, key, last, twins[last], writes=False),
        )
    return picked


def _twins(entries: Mapping[str, Entry]) -> dict[str, str]:
    """Name of a run's last weights -> name of its best ones, where both are among these."""
    places = {entry.path: name for name, entry in entries.items()}
    last, best = WEIGHTS
    return {
        name: places[path.with_name(best)]
        for path, name in places.items()
        if path.name == last and path.with_name(best) in places
    }


def _change(key: str, last: str, best: str) -> None:
    st.session_state[key] = best if st.session_state[f"{key} best"] else last


def _titles(entries: Mapping[str, Entry]) -> dict[str, str]:
    """Name of each that lies with the checkpoints, and of no run -> how it is called here."""
    folders = checkpoint_dirs()
    return {
        name: f"{name} · {'imported' if entry.card.findings else 'shipped'}"
        for name, entry in entries.items()
        if entry.card is not None and entry.path.parent in folders
    }
