"""A run or a comparison as a page reads it: whole, or broken with one line that says why and a way to delete it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from fnkd_core.errors import UserError, require
from fnkd_core.experiments.comparison import Comparison, delete_comparison
from fnkd_core.experiments.plan import Cell
from fnkd_core.experiments.status import CellStatus
from fnkd_core.identity import digest
from fnkd_core.jobs.run import ALIVE, Run, State, delete_run, stores_of_run, taught_by
from fnkd_core.ui import guard

SETTINGS = {"method": str, "student": str, "dataset": str, "epochs": int, "parameters": dict}
"""What a page reads of every run's configuration, and of which kind it is."""
NUMBERS = ("epoch", "loss", "hard", "soft", "accuracy", "seconds")
"""What a page reads of every line of a run's metrics."""
PLACE = ("epoch", "epochs", "step", "steps", "eta_s", "samples_per_s")
"""What a page reads of a run's progress."""
MOST_NAMES = 8


@dataclass(frozen=True)
class Reading:
    """A run's files, read once. problem: why they cannot be shown; the state is then "broken", the rest empty."""

    run: Run
    name: str
    state: State
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    problem: str | None = None

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


def read(run: Run) -> Reading:
    """The run, whatever state its folder is in. Never raises: one broken folder must not hide the others."""
    try:
        remedy = "delete the run."
        require((run.path / "spec.json").is_file(), f"{run.path / 'spec.json'} is missing; {remedy}")
        spec, state = run.spec, run.state
        config, metrics = dict(spec["config"]), run.metrics()
        wrong = [name for name, kind in SETTINGS.items() if not isinstance(config.get(name), kind)]
        require(not wrong, f"{run.path / 'spec.json'} does not say which {', '.join(wrong)} it has; {remedy}")
        require(state != "broken", f"{run.path / 'end.json'} does not say how the run ended; {remedy}")
        whole = all(numbers(line, NUMBERS) for line in metrics) and not _unread(run, state, metrics)
        require(whole, f"{run.path / 'metrics.jsonl'} does not hold a run's epochs; {remedy}")
    except UnicodeDecodeError:
        return Reading(run, run.id, "broken", {}, [], "One of its files is not text; delete the run.")
    except (UserError, OSError) as error:
        # The run is named beside it, so that its folder would only make the line long.
        problem = guard.sentence(error).replace(f"{run.path}/", "")
        return Reading(run, run.id, "broken", {}, [], problem)
    return Reading(run, str(spec.get("name") or run.id), state, config, metrics)


def _unread(run: Run, state: State, metrics: Sequence[object]) -> bool:
    """Whether an ended run's epochs are there and none of them can be read."""
    path = run.path / "metrics.jsonl"
    return state not in ALIVE and not metrics and path.exists() and path.stat().st_size > 0


def state_of(run: Run) -> State:
    """Its state alone, of which there are many to ask each second. Never raises."""
    try:
        return run.state
    except (UserError, OSError):
        return "broken"


def numbers(line: object, names: Sequence[str]) -> bool:
    """Whether these all are numbers in the line."""
    return isinstance(line, Mapping) and all(isinstance(line.get(name), int | float) for name in names)


def place(run: Run) -> dict[str, Any] | None:
    """Where a run is now (see `Run.progress`), or None where it has not said so in full."""
    now = run.progress
    return now if numbers(now, PLACE) else None


def delete_all(runs: Sequence[Run]) -> None:
    """Those that are gone already are what was wished for."""
    for run in runs:
        if run.path.exists():
            delete_run(run)


def remove(readings: Sequence[Reading]) -> None:
    """Delete, after it has been confirmed: the runs that the confirmation names, whatever has happened since."""
    # What was said of some is never taken to be of others.
    key = digest([one.run.id for one in readings])
    disabled = any(one.alive for one in readings)
    with st.popover("Delete", icon=":material/delete:", disabled=disabled, key=f"delete {key}"):
        if len(readings) == 1:
            also = along(readings[0].run)
            st.markdown(f"Delete **{readings[0].name}** with all weights and logs? {also}This cannot be undone.")
        else:
            st.markdown(f"Delete these {len(readings)} runs with all weights and logs? This cannot be undone.")
            names = [f"- {one.name}" for one in readings[:MOST_NAMES]]
            more = len(readings) - MOST_NAMES
            st.markdown("\n".join(names + ([f"- and {more} more"] if more > 0 else [])))
        gone = guard.callback(delete_all, [one.run for one in readings], at=f"delete {key}", anew=True)
        st.button("Delete for good", type="primary", key=f"delete for good {key}", on_click=gone)
    guard.problem(f"delete {key}")


def along(run: Run) -> str:
    """What goes with the run, and whom it leaves behind."""
    stores, pupils = len(stores_of_run(run)), len(taught_by(run))
    text = (
        f"What was extracted from its students goes along ({stores} store{'s' if stores > 1 else ''}). "
        if stores
        else ""
    )
    return text + (f"It taught {pupils} other run{'s' if pupils > 1 else ''}, which stay. " if pupils else "")


def broken(reading: Reading, name: str | None = None) -> None:
    """One line for a run that cannot be shown, and the way to be rid of it."""
    st.error(f"**{name or reading.name}** is broken. {reading.problem}", icon=":material/broken_image:")
    remove([reading])


def cells_of(comparison: Comparison) -> list[Cell]:
    """Its list of runs to have. `UserError` where that is broken, however it is."""
    try:
        cells = comparison.cells
    except (LookupError, TypeError, AttributeError):
        cells = []
    require(bool(cells), f"{comparison.path / 'spec.json'} holds no runs to have; delete the comparison.")
    return cells


def without_broken(found: Sequence[CellStatus]) -> tuple[list[CellStatus], list[tuple[CellStatus, Reading]]]:
    """Where each cell stands, those without their run whose run is broken; and these, as they were read."""
    sound: list[CellStatus] = []
    torn = []
    for status in found:
        reading = read(status.run) if status.run is not None else None
        if reading is not None and reading.problem:
            torn.append((status, reading))
            sound.append(CellStatus(status.cell, None, "broken"))
        else:
            sound.append(status)
    return sound, torn


def remove_comparison(comparison: Comparison) -> None:
    """Delete the list, after it has been confirmed."""
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(f"Delete the comparison **{comparison.id}**? Its runs and their students stay.")
        gone = guard.callback(delete_comparison, comparison, at="comparison", anew=True)
        key = f"delete comparison {comparison.id}"
        st.button("Delete for good", type="primary", key=key, on_click=gone)
