"""A comparison is a folder with a list of runs to have; what is done of it follows from the runs there are.

spec.json   name, created, and the cells (see `fnkd_core.experiments.plan`)
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict

from fnkd_core.data import look_again
from fnkd_core.errors import UserError, require
from fnkd_core.experiments.plan import Cell, CellRecord
from fnkd_core.experiments.status import CellStatus, statuses_of, with_teacher
from fnkd_core.files import check_name, discard, write_json
from fnkd_core.identity import digest
from fnkd_core.jobs import worker
from fnkd_core.jobs.control import cancel, detached, reopen
from fnkd_core.jobs.run import ALIVE, Run, create_run
from fnkd_core.jobs.turn import POLL_S, hand_in
from fnkd_core.locks import is_locked, locked
from fnkd_core.paths import comparisons_dir
from fnkd_core.records import read_json
from fnkd_core.training.config import RunConfig
from fnkd_core.training.resolve import Memo, look_up

State = Literal["running", "stopping", "finished", "stopped", "broken"]
Trainer = Callable[[RunConfig, Path], Iterator[Any]]


class Spec(TypedDict):
    """`spec.json`: the cells, and what the comparison is called."""

    cells: list[CellRecord]
    name: str
    created: str


@dataclass(frozen=True)
class Comparison:
    """A handle on a comparison's folder."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def cells(self) -> list[Cell]:
        """The runs to have. `UserError` where their list is missing or damaged."""
        path, remedy = self.path / "spec.json", "delete the comparison"
        records = read_json(path, Spec, remedy)["cells"]
        require(bool(records), f"{path} holds no runs to have; {remedy}.")
        try:
            cells = [Cell.from_dict(record) for record in records]
            for i, cell in enumerate(cells):
                before = cell.taught_by is None or cell.taught_by < i
                require(before, f"cell {i} is taught by cell {cell.taught_by}, which does not come before it.")
        except UserError as error:
            raise UserError(f"{path} is damaged ({str(error).rstrip('.')}); {remedy}.") from None
        return cells

    @property
    def working(self) -> bool:
        """Whether a process works on it."""
        return is_locked(self.path / "lock")

    def log_tail(self, num_lines: int = 200) -> str:
        return Run(self.path).log_tail(num_lines)


def create_comparison(cells: Sequence[Cell], name: str) -> Comparison:
    """The comparison with these cells: the one there is, else a new folder. name: the beginning of its id.

    `UserError` where a cell names what there is not.
    """
    require(bool(cells), "A comparison needs at least one run.")
    memo = Memo()
    for cell in cells:
        if not str(cell.config.teacher).startswith("@"):  # that one is still to be trained
            look_up(cell.config, memo)
    plain = [cell.to_dict() for cell in cells]
    path = comparisons_dir() / f"{check_name('comparison', name)}-{digest(plain)[:8]}"
    if not (path / "spec.json").exists():
        created = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(path / "spec.json", {"name": name, "created": created, "cells": plain})
    return Comparison(path)


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
    """Ask it to stop: its run in progress is cancelled with its last finished epoch kept, no other is begun.

    A run that somebody else has started goes on, also where it counts for a cell.
    """
    require(comparison.working, f"Comparison {comparison.id} is not being worked on.")
    (comparison.path / "cancel").touch()
    for status in statuses_of(comparison.cells):
        run = status.run if status.state in ("running", "queued") else None
        if run is not None and run.spec.get("comparison") == comparison.id:
            with contextlib.suppress(UserError):  # it has ended meanwhile
                cancel(run)


def work(
    path: str | Path,
    *,
    trainer: Trainer | None = None,
    on_event: Callable[[CellStatus, Any], None] | None = None,
) -> int:
    """Have every run of the comparison in this folder, one after another; returns a process exit code.

    What is finished is skipped, what was stopped or failed goes on, and other jobs are let through between two
    runs. on_event: sees each event of the training. 0 done or stopped, 1 where a run failed, 130 interrupted.
    """
    comparison = Comparison(Path(path).resolve())
    busy = f"Comparison {comparison.id} is being worked on by another process; wait, or stop it."
    with locked(comparison.path / "lock", wait=False, busy=busy):
        return _work(comparison, trainer, on_event)


def _work(comparison: Comparison, trainer: Trainer | None, on_event: Callable[[CellStatus, Any], None] | None) -> int:
    cells, tried = comparison.cells, set[int]()
    while not (comparison.path / "cancel").exists():
        look_again()
        found = statuses_of(cells)
        i = next((i for i, s in enumerate(found) if i not in tried and s.state not in ("finished", "waiting")), None)
        if i is None:
            break
        status = found[i]
        if status.state in ALIVE:  # somebody else's; it counts when it is done
            time.sleep(POLL_S)
            continue
        tried.add(i)
        config = with_teacher(cells[i], found)
        assert config is not None
        run = _ready(status, config, comparison)
        now = CellStatus(cells[i], run, "running")
        code = worker.work(run.path, trainer=trainer, on_event=functools.partial(on_event, now) if on_event else None)
        if code == 130:
            return 130
    failed = [s for s in statuses_of(cells) if s.state == "failed"]
    for s in failed:
        print(f"{s.cell.row}, seed {s.cell.seed}: {s.result()['error']}")
    return 1 if failed else 0


def _ready(status: CellStatus, config: RunConfig, comparison: Comparison) -> Run:
    """The run to work on for a cell: the one that was stopped or failed, else a new one; in the queue."""
    run = status.run
    if run is None or status.state == "broken":
        run = create_run(config.to_dict(), comparison=comparison.id)
    else:
        reopen(run)
    hand_in(run)
    return run


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
    try:
        sys.exit(work(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
