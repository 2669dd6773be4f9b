"""The table of runs: filtered, a page at a time, the runs of a comparison as one row."""

from __future__ import annotations

import functools
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import streamlit as st

from fnkd_core.experiments.status import READ
from fnkd_core.files import stamp
from fnkd_core.identity import digest
from fnkd_core.jobs.reading import Reading, read
from fnkd_core.jobs.run import Run, State
from fnkd_core.jobs.summary import Summary, outline
from fnkd_core.jobs.words import parameters_line
from fnkd_core.kd.objective import of_many_meanings
from fnkd_core.paths import runs_dir
from fnkd_core.ui import address, guard, inputs, links, tables
from fnkd_core.ui.markdown import literal
from fnkd_core.ui.settings import DEFAULTS, GROUPS, MACHINE
from fnkd_core.wording import counted

PER_PAGE = 50
MOST_OWN = 6
ALL = "all"
FILTERS = {"state": "State", "method": "Method", "dataset": "Data set", "student": "Student"}
Runs = Mapping[str, Summary]


@dataclass(frozen=True)
class Group:
    """The runs of one comparison, or such as differ in their seeds alone, as a row of the table.

    title: what it is called where that is not its name.
    """

    name: str
    runs: dict[str, Summary]
    title: str = ""

    @property
    def of_seeds(self) -> bool:
        return bool(self.title)


SETTINGS = (
    *(name for title, names in GROUPS.items() if title != MACHINE for name in names),
    "batch_size",
    "image_size",
)
"""What a row says of a run's settings where they are not the usual ones, besides those that have columns."""
MAY_LACK = ("sd", "parameters", "test, best epoch", "over epochs")
"""Columns that are left out where no row has anything in them, as of comparisons."""
_USUAL = DEFAULTS.to_dict()
Row = str | Group
"""A run by its id, or several."""


def filtered(runs: Runs) -> dict[str, Summary]:
    """The runs that pass the filters, which stand in the URL. No filters are drawn where there is little to filter."""
    if len(runs) <= 1:
        return dict(runs)
    columns = st.columns([1.6, 1, 1, 1, 1])
    text = inputs.on(columns[0]).text_input(
        "Find", key=address.key("find"), placeholder="a name, id, teacher or parameter"
    )
    found = dict(runs)
    for column, (key, label) in zip(columns[1:], FILTERS.items(), strict=True):
        there = {str(one[key]) for one in runs.values() if one[key]}  # type: ignore[literal-required]
        chosen = st.session_state.get(f"of {key}", ALL)
        if key == "state" and chosen in get_args(State):
            there.add(chosen)  # of which there may be none just now: the filter is not given up for that
        options = [ALL, *sorted(there - {ALL})]
        wanted = inputs.on(column).selectbox(literal(label), options, key=address.key(f"of {key}", options))
        if wanted != ALL:
            found = {name: one for name, one in found.items() if one[key] == wanted}  # type: ignore[literal-required]
    words = (text or "").lower().split()
    return {name: one for name, one in found.items() if not words or _has(name, one, words)}


def _has(name: str, one: Summary, words: Sequence[str]) -> bool:
    of = (one["name"], name, one["teacher"], one["comparison"], parameters_line(one["parameters"]))
    text = " ".join(filter(None, of)).lower()
    return all(word in text for word in words)


def grouped(runs: Runs, by_seeds: bool = False) -> list[Row]:
    """Newest first: single runs, and each comparison at the place of its newest run.

    by_seeds: single runs that differ in nothing but their seed are one row as well.
    """
    groups: dict[str, Group] = {}
    rows: list[Row] = []
    alike = Counter(one["but_seed"] for one in runs.values() if one["comparison"] is None) if by_seeds else Counter()
    for name, one in runs.items():
        key = one["comparison"] or (one["but_seed"] if alike[one["but_seed"]] > 1 else None)
        if key is None:
            rows.append(name)
        elif key in groups:
            groups[key].runs[name] = one
        else:
            title = "" if one["comparison"] else f"{one['method']} over {alike[key]:,} seeds"
            groups[key] = Group(key, {name: one}, title)
            rows.append(groups[key])
    return rows


def paged(rows: Sequence[Row], key: str, num_runs: int, num_all: int) -> Sequence[Row]:
    """The rows of the page that is chosen, and a line that says how many there are."""
    pages = max(1, -(-len(rows) // PER_PAGE))
    words, picker = st.columns([3, 2], vertical_alignment="center")
    if st.session_state.get(key, 1) > pages:
        st.session_state[key] = pages
    with picker.container(horizontal=True, horizontal_alignment="right"):
        page = (
            inputs.on().pagination(pages, key=address.key(key) if key in links.PARAMETERS else key) if pages > 1 else 1
        )
    shown = rows[(page - 1) * PER_PAGE : page * PER_PAGE]
    if len(shown) < len(rows) or num_runs < num_all or len(rows) < num_runs:
        text = f"Showing {len(shown):,} of {len(rows):,} rows, newest first: {num_runs:,}"
        text += f" of {num_all:,} runs." if num_runs < num_all else " runs."
        words.caption(text + (" Several runs in one row: select it to open it." if len(rows) < num_runs else ""))
    return shown


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """What the rows say, in their order."""
    found = [_of_group(row) if isinstance(row, Group) else _of_run(row) for row in rows]
    other = of_many_meanings(str(one["method"]) for one in found if one["parameters"])
    for one in found:
        values = one["parameters"].items()
        one["parameters"] = {f"{one['method']} {k}" if k in other else k: value for k, value in values}
    told = {name for one in found for name, value in one["settings"].items() if value != _USUAL[name]}
    for one in found:
        settings = one.pop("settings")
        if told:
            one["settings"] = {name: value for name, value in settings.items() if name in told}
    own = {part: _own_columns([one.get(part, {}) for one in found]) for part in ("parameters", "settings")}
    whole = pd.DataFrame([_in_columns(one, own) for one in found])
    return whole.drop(columns=[name for name in MAY_LACK if name in whole and not any(map(_says, whole[name]))])


def _says(value: Any) -> bool:
    """Whether there is something in a cell; a 0 is."""
    return value is not None and value != "" and value != [] and value == value  # a NaN is not itself


def _own_columns(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those that have a column of their own: those in which the rows differ."""
    met: dict[str, set[str]] = {}
    for one in values:
        for name, value in one.items():
            met.setdefault(name, set()).add(str(value))
    return [name for name, found in met.items() if len(found) > 1][:MOST_OWN]


def _in_columns(row: dict[str, Any], own: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The row with its parameters and settings, each in its column or together in one text."""
    columns: dict[str, Any] = {}
    for key, value in row.items():
        if key in own:
            # A setting and a parameter can have the same name.
            columns |= {f"{name} " if name in row or name in columns else name: value.get(name) for name in own[key]}
            besides = {name: x for name, x in value.items() if name not in own[key]}
            columns[key] = parameters_line({name.removeprefix(f"{row['method']} "): x for name, x in besides.items()})
        else:
            columns[key] = value
    return columns


def _of_run(name: str) -> dict[str, Any]:
    # Its own files and not the index: what is shown is what is there. Of a run that has ended they stay as they are,
    # and the table is drawn anew every two seconds while any other is under way.
    path = runs_dir() / name
    changed = tuple(stamp(path / file) for file in READ)
    return dict(_of_ended(path, changed) if (path / "end.json").exists() else _row(path))


@functools.lru_cache(maxsize=4 * PER_PAGE)
def _of_ended(path: Path, _changed: object) -> dict[str, Any]:
    return _row(path)


def _row(path: Path) -> dict[str, Any]:
    one, name = read(Run(path)), path.name
    config, metrics, reached = one.config, one.metrics, one.results
    return {
        "name": one.name,
        "state": one.state,
        "test, last epoch": (reached.get("last") or {}).get("accuracy"),
        "method": config.get("method"),
        "parameters": one.parameters,
        "lr": config.get("lr"),
        "test, best epoch": (reached.get("best") or {}).get("accuracy"),
        "over epochs": [m["accuracy"] for m in metrics],
        "seed": config.get("seed"),
        "epochs": f"{len(metrics)} / {config.get('epochs', '?')}",
        "student": config.get("student"),
        "teacher": config.get("teacher") or "",
        "data": config.get("dataset"),
        "seconds": sum(m["seconds"] for m in metrics),
        "settings": {name: config.get(name, _USUAL[name]) for name in SETTINGS},
        "id": name,
    }


def _of_group(group: Group) -> dict[str, Any]:
    runs = list(group.runs.values())
    states = Counter(str(one["state"]) for one in runs)
    reached = [accuracy for one in runs if group.of_seeds and (accuracy := one["accuracy"]) is not None]
    return {
        "name": group.title or f"{group.name}: {counted(len(runs), 'run')}",
        "state": next(iter(states)) if len(states) == 1 else ", ".join(f"{n:,} {s}" for s, n in states.most_common()),
        "test, last epoch": statistics.mean(reached) if reached else None,
        "sd": statistics.stdev(reached) if len(reached) > 1 else None,
        "method": _alike(one["method"] for one in runs),
        "parameters": runs[0]["parameters"] if group.of_seeds else {},
        "over epochs": [],
        "epochs": f"{sum(one['epochs_done'] for one in runs):,} / {sum(one['epochs'] or 0 for one in runs):,}",
        "student": _alike(one["student"] for one in runs),
        "teacher": _alike(one["teacher"] for one in runs),
        "data": _alike(one["dataset"] for one in runs),
        "seconds": sum(one["seconds"] for one in runs),
        "settings": {},
        "id": group.name,
    }


def _alike(values: Any) -> str:
    found = sorted({str(value) for value in values if value})
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def selected(rows: Sequence[Row], among: Sequence[Row], key: str) -> list[Row]:
    """Draw the table of a page; the rows that are selected on it and on the others.

    They stay so when other rows come or the page is turned. among: the rows of all pages. key: where the session keeps
    which they are.
    """
    ids, kept = [_name(row) for row in rows], st.session_state.get(key) or []
    event = tables.show(
        table(rows),
        # The browser knows rows by their number alone, so a table of other runs is another table, which begins with
        # what was selected in the one before it.
        key=f"{key} {digest(ids)}",
        selection_default={"selection": {"rows": [ids.index(name) for name in kept if name in ids]}},
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "name": st.column_config.Column(width="medium", pinned=True),
            "test, last epoch": st.column_config.NumberColumn(
                format="%.4f", help="Accuracy on the test split, of the last epoch."
            ),
            "test, best epoch": st.column_config.NumberColumn(
                format="%.4f",
                help="Accuracy on the test split, of the epoch that was best on validation.",
            ),
            "sd": st.column_config.NumberColumn(format="%.4f", help="Of the last epoch's, over the seeds."),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
            "over epochs": st.column_config.LineChartColumn(
                y_min=0.0, y_max=1.0, width="small", help="Accuracy on validation, or on test where none is held out."
            ),
        },
    )
    here = [ids[i] for i in sorted(event.selection["rows"]) if i < len(rows)]
    elsewhere_now = {_name(row) for row in among} - set(ids)
    st.session_state[key] = [name for name in kept if name in elsewhere_now] + here
    wanted = set(st.session_state[key])
    chosen = [row for row in among if _name(row) in wanted]
    if elsewhere := len(chosen) - len(here):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Selected: {len(chosen):,}, of which {elsewhere:,} on other pages.", width="content")
            leave = guard.callback(st.session_state.__setitem__, key, here, writes=False)
            st.button("Deselect those", type="tertiary", key=f"{key} elsewhere", on_click=leave)
    return chosen


def _name(row: Row) -> str:
    return row.name if isinstance(row, Group) else row


def outlines(runs: Runs) -> list[Reading]:
    """The runs by name and state alone."""
    return [outline(name, one) for name, one in runs.items()]
