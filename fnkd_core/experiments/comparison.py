"""A comparison is a folder with a list of runs to have; what is done of it follows from the runs there are.

spec.json   name, created, at_best, and the cells (see `fnkd_core.experiments.plan`)
lock        owned by the process that works on it
cancel      somebody asked it to stop
log.txt     what that process printed

A run counts for a cell where its identity is the one that the cell would have if it began now: the same settings, the
same teacher, the same images, the same groups. What it was made for and what things are called does not matter.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from fnkd_core.data import look_again
from fnkd_core.errors import UserError, require
from fnkd_core.experiments.engines import POLL_S, Engine, Here, InQueue, OnEvent, Trainer
from fnkd_core.experiments.plan import Cell, CellRecord, holds_out, settings_to_choose
from fnkd_core.experiments.spread import Cluster, spread
from fnkd_core.experiments.status import CellStatus, statuses_of, with_teacher
from fnkd_core.files import check_name, discard, stamp, write_json
from fnkd_core.identity import digest
from fnkd_core.jobs import worker
from fnkd_core.jobs.control import cancel, detached, reopen
from fnkd_core.jobs.run import ALIVE, Run, create_run
from fnkd_core.locks import is_locked, locked
from fnkd_core.machine import collect_seldom
from fnkd_core.paths import comparisons_dir
from fnkd_core.records import read_json
from fnkd_core.training.resolve import Memo, look_up

State = Literal["running", "stopping", "finished", "stopped", "broken"]
SETTLED = ("finished", "waiting")
"""States of cells for which there is nothing to do now."""


class Spec(TypedDict):
    """`spec.json`: the cells, and what the comparison is called."""

    cells: list[CellRecord]
    name: str
    created: str
    at_best: NotRequired[list[str]]


@dataclass(frozen=True)
class Comparison:
    """A handle on a comparison's folder."""

    path: Path

    @property
    def id(self) -> str:
        """Its folder's name."""
        return self.path.name

    @property
    def cells(self) -> list[Cell]:
        """The runs to have. `UserError` where their list is missing or damaged."""
        path = self.path / "spec.json"
        return list(_spec(path, stamp(path))[0])

    @property
    def at_best(self) -> tuple[str, ...]:
        """Settings of which each row is first shown at the value that is best on validation. `UserError` as `cells`."""
        path = self.path / "spec.json"
        return _spec(path, stamp(path))[1]

    @property
    def working(self) -> bool:
        """Whether a process works on it."""
        return is_locked(self.path / "lock")

    def log_tail(self, num_lines: int = 200) -> str:
        """The last lines its process printed."""
        return Run(self.path).log_tail(num_lines)


@functools.lru_cache(maxsize=64)
def _spec(path: Path, _changed: object) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """The cells in this file and its `at_best`, read once for as long as it stays what it is."""
    remedy = "delete the comparison"
    spec = read_json(path, Spec, remedy)
    records = spec["cells"]
    require(bool(records), f"{path} holds no runs to have; {remedy}.")
    try:
        cells = tuple(Cell.from_dict(record) for record in records)
        for i, cell in enumerate(cells):
            before = cell.taught_by is None or cell.taught_by < i
            require(before, f"cell {i} is taught by cell {cell.taught_by}, which does not come before it.")
    except UserError as error:
        raise UserError(f"{path} is damaged ({str(error).rstrip('.')}); {remedy}.") from None
    return cells, tuple(spec.get("at_best", ()))


def comparison_of(cells: Sequence[Cell], name: str, at_best: Sequence[str] = ()) -> Comparison:
    """Where the comparison with these cells is, or would be. name: the beginning of its id. at_best: see `Comparison`.

    `UserError` where a cell names what there is not, or rows cannot be chosen by what is held out.
    """
    require(bool(cells), "A comparison needs at least one run.")
    there = settings_to_choose(cells)
    for setting in at_best:
        varied = ", ".join(there) or "nothing"
        require(
            setting in there, f"Rows cannot be chosen by {setting!r}: the grid varies {varied}; add it to the grid."
        )
    what = " and ".join(at_best)
    remedy = "give --validation 0.1"
    require(not at_best or holds_out(cells), f"Nothing is held out to choose {what} by but the test split; {remedy}.")
    memo = Memo()
    for cell in cells:
        if cell.taught_by is None:  # else its teacher is still to be trained
            look_up(cell.config, memo)
    whole = digest([cell.to_dict() for cell in cells])
    return Comparison(comparisons_dir() / f"{check_name('comparison', name)}-{whole[:8]}")


def create_comparison(cells: Sequence[Cell], name: str, at_best: Sequence[str] = ()) -> Comparison:
    """The comparison with these cells: the one there is, else a new folder; as `comparison_of`.

    at_best: what a new one has as `Comparison.at_best`.
    """
    comparison = comparison_of(cells, name, at_best)
    if not (comparison.path / "spec.json").exists():
        created = datetime.now(UTC).isoformat(timespec="seconds")
        plain = [cell.to_dict() for cell in cells]
        write_json(
            comparison.path / "spec.json", {"name": name, "created": created, "cells": plain, "at_best": list(at_best)}
        )
    return comparison


def list_comparisons() -> list[Comparison]:
    """All of them, newest first."""
    if not comparisons_dir().is_dir():
        return []
    found = [p for p in comparisons_dir().iterdir() if p.is_dir() and not p.name.startswith(".")]
    return [Comparison(p) for p in sorted(found, key=_changed, reverse=True)]


def _changed(folder: Path) -> float:
    """When its list was written; of a folder that lacks it, when that was last changed."""
    path = folder / "spec.json"
    return (path if path.exists() else folder).stat().st_mtime


def delete_comparison(comparison: Comparison) -> None:
    """Remove the list; its runs stay. `UserError` while a process works on it."""
    busy = f"Comparison {comparison.id} is being worked on; stop it before deleting it."
    with locked(comparison.path / "lock", wait=False, busy=busy):
        discard(comparison.path)


def state_of(comparison: Comparison, found: Sequence[CellStatus]) -> State:
    """Whether it is being worked on, finished, or stopped before that."""
    if comparison.working:
        return "stopping" if (comparison.path / "cancel").exists() else "running"
    return "finished" if all(s.state == "finished" for s in found) else "stopped"


def start(comparison: Comparison, command: Sequence[str] | None = None) -> None:
    """Start the process that works through the cells, detached. `UserError` where one does already."""
    require(not comparison.working, f"Comparison {comparison.id} is being worked on already.")
    (comparison.path / "cancel").unlink(missing_ok=True)
    lock = comparison.path / "lock"
    detached(comparison.path, lock, command or (sys.executable, "-m", "fnkd_core.experiments.comparison"))


def stop(comparison: Comparison) -> None:
    """Ask it to stop: its runs in progress are cancelled with their last finished epoch kept, no other is begun.

    A run that somebody else has started goes on, also where it counts for a cell.
    `UserError` where nobody works on it.
    """
    require(comparison.working, f"Comparison {comparison.id} is not being worked on.")
    (comparison.path / "cancel").touch()
    _cancel(comparison, [s for s in statuses_of(comparison.cells) if s.state in ("running", "queued")])


def work(
    path: str | Path,
    *,
    trainer: Trainer | None = None,
    on_event: OnEvent | None = None,
    cluster: Cluster | None = None,
    on_look: Callable[[float], None] | None = None,
) -> int:
    """Have every run of the comparison in this folder, in all slots of this machine; returns a process exit code.

    What is finished is skipped, what was stopped or failed goes on, and other jobs are let through between two
    runs. trainer: what trains instead, in this process, one run after another. on_event: sees where each run is, as
    `Progress` says it, and a status of another state once it has ended. cluster, on_look: what trains them on other
    machines, see `fnkd_core.experiments.spread`. 0 done or stopped, 1 where a run failed, 130 interrupted.
    """
    comparison = Comparison(Path(path).resolve())
    busy = f"Comparison {comparison.id} is being worked on by another process; wait, or stop it."
    with locked(comparison.path / "lock", wait=False, busy=busy):
        if cluster is not None:
            lost = spread(comparison.path, comparison.cells, cluster, on_look)
            for line in lost:
                print(line, file=sys.stderr)
            return 1 if _failed(statuses_of(comparison.cells), set()) or lost else 0
        return _work(comparison, InQueue(on_event) if trainer is None else Here(trainer, on_event))


def _work(comparison: Comparison, engine: Engine) -> int:
    cells, tried, alive = comparison.cells, set[int](), list[CellStatus]()
    cancelled = (comparison.path / "cancel").exists
    try:
        with worker.told_to_end():
            while not cancelled():
                look_again()
                found = statuses_of(cells)
                alive = [s for s in found if s.state in ALIVE]  # somebody else's count too when they are done
                todo = [i for i, s in enumerate(found) if i not in tried and s.state not in (*ALIVE, *SETTLED)]
                if not todo and not alive:
                    break
                for i in todo[: max(0, engine.room() - len(alive))]:
                    tried.add(i)
                    alive.append(_begin(cells[i], found, comparison, engine))
                _follow(engine, alive, cancelled)
            _see_off(comparison, alive)
    except (worker.Interrupted, KeyboardInterrupt):
        _cancel(comparison, alive)
        return 130
    return 1 if _failed(statuses_of(cells), tried) else 0


def _failed(found: Sequence[CellStatus], tried: Container[int]) -> bool:
    """Whether a run has failed, or one of those that were tried has ended without a word; prints why."""
    failed = [s for i, s in enumerate(found) if s.state == "failed" or (s.state == "interrupted" and i in tried)]
    for s in failed:
        print(f"{s.cell.row}, seed {s.cell.seed}: {s.result().get('error') or 'its process ended without a word.'}")
    return bool(failed)


def _begin(cell: Cell, found: Sequence[CellStatus], comparison: Comparison, engine: Engine) -> CellStatus:
    """Have the run for a cell made: the one that was stopped or failed, else a new one."""
    status, config = found[[s.cell for s in found].index(cell)], with_teacher(cell, found)
    assert config is not None
    run = status.run
    if run is None or status.state == "broken":
        run = create_run(config.to_dict(), comparison=comparison.id)
    else:
        reopen(run)
    now = CellStatus(cell, run, "running")
    engine.begin(now)
    return now


def _follow(engine: Engine, alive: Sequence[CellStatus], cancelled: Callable[[], bool]) -> None:
    """Return once one of these has ended, or somebody stops the comparison."""
    while not cancelled() and all(status.run is not None and status.run.state in ALIVE for status in alive):
        engine.follow(alive)


def _see_off(comparison: Comparison, alive: Sequence[CellStatus]) -> None:
    """Once it is stopped, or done: return when its own runs have ended."""
    for run in _cancel(comparison, alive):
        while run.state in ALIVE:
            time.sleep(POLL_S)


def _cancel(comparison: Comparison, alive: Sequence[CellStatus]) -> list[Run]:
    """Ask the runs of this comparison to stop, which are returned; those of somebody else go on."""
    own = [s.run for s in alive if s.run is not None and s.run.state in ALIVE]
    own = [run for run in own if run.spec.get("comparison") == comparison.id]
    for run in own:
        with contextlib.suppress(UserError):  # it has ended meanwhile
            cancel(run)
    return own


def find_comparison(ref: str) -> Comparison:
    """The comparison of this id, or unique beginning of one. `UserError` otherwise."""
    matches = [c for c in list_comparisons() if c.id.startswith(ref)]
    exact = [c for c in matches if c.id == ref]
    if exact or len(matches) == 1:
        return (exact or matches)[0]
    if matches:
        raise UserError(
            f"{ref!r} begins {len(matches)} comparisons ({', '.join(c.id for c in matches[:4])}); give more."
        )
    raise UserError(f"No comparison {ref!r}; `fnkd compare` makes one.")


if __name__ == "__main__":
    collect_seldom()
    try:
        sys.exit(work(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
