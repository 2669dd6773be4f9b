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
import dataclasses
import functools
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fnkd_core.data import look_again
from fnkd_core.errors import UserError, require
from fnkd_core.experiments.plan import Cell
from fnkd_core.files import check_name, is_locked, locked, read_json, write_json
from fnkd_core.identity import digest
from fnkd_core.jobs import worker
from fnkd_core.jobs.control import cancel, detached, hand_in, reopen
from fnkd_core.jobs.run import ALIVE, Run, create_run, list_runs
from fnkd_core.jobs.turn import POLL_S
from fnkd_core.paths import comparisons_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.training.resolve import Memo, identity_of

State = Literal["running", "stopping", "finished", "stopped", "broken"]
Trainer = Callable[[RunConfig, Path], Iterator[Any]]
ALWAYS = ("dataset", "teacher", "student", "validation", "epochs", "batch_size", "optimizer", "lr", "schedule")


@dataclass(frozen=True)
class Comparison:
    """A handle on a comparison's folder."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def spec(self) -> dict[str, Any]:
        """name, created and cells. `UserError` where the file is missing or broken."""
        spec = read_json(self.path / "spec.json")
        require(
            isinstance(spec, dict) and isinstance(spec.get("cells"), list),
            f"{self.path / 'spec.json'} holds no cells; delete the comparison.",
        )
        return dict(spec)

    @property
    def cells(self) -> list[Cell]:
        return [Cell.from_dict(cell) for cell in self.spec["cells"]]

    @property
    def working(self) -> bool:
        """Whether a process works on it."""
        return is_locked(self.path / "lock")

    def log_tail(self, num_lines: int = 200) -> str:
        return Run(self.path).log_tail(num_lines)


@dataclass(frozen=True)
class CellStatus:
    """Where a cell stands. run: the one that counts for it, or None while there is none."""

    cell: Cell
    run: Run | None
    state: str

    def result(self) -> dict[str, Any]:
        """One flat row: what the cell is, and what its student reached on the test split once it is finished.

        accuracy, nll, ece, agreement, norm: of the last epoch; best: accuracy of the epoch chosen on validation.
        validation: accuracy of the last epoch there, as far as it has come.
        """
        found: dict[str, Any] = {"row": self.cell.row, **self.cell.varied, "seed": self.cell.seed, "state": self.state}
        found |= {"run": self.run.id if self.run else None, "epochs_done": 0}
        metrics = self.run.metrics() if self.run else []
        if metrics:
            found |= {"epochs_done": len(metrics), "temperature": metrics[-1].get("temperature")}
            found["seconds"] = sum(line["seconds"] for line in metrics)
            if metrics[-1]["evaluated_on"] == "validation":
                found["validation"] = metrics[-1]["accuracy"]
        results = self.run.results if self.run else {}
        if results:
            last = results["last"]
            found |= {key: last[key] for key in ("accuracy", "nll", "ece", "agreement", "norm")}
            found["best"] = (results["best"] or {}).get("accuracy")
        if self.run is not None and self.state == "failed":
            found["error"] = (self.run.end or {}).get("error")
        return found


def create_comparison(cells: Sequence[Cell], name: str) -> Comparison:
    """The comparison with these cells: the one there is, else a new folder. name: the beginning of its id."""
    require(bool(cells), "A comparison needs at least one run.")
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
    found = [p for p in comparisons_dir().iterdir() if (p / "spec.json").exists() and not p.name.startswith(".")]
    return [Comparison(p) for p in sorted(found, key=lambda p: (p / "spec.json").stat().st_mtime, reverse=True)]


def delete_comparison(comparison: Comparison) -> None:
    """Remove the list; its runs stay. `UserError` while a process works on it."""
    require(not comparison.working, f"Comparison {comparison.id} is being worked on; stop it before deleting it.")
    busy = f"Comparison {comparison.id} is being worked on; stop it before deleting it."
    with locked(comparison.path / "lock", wait=False, busy=busy):
        gone = comparison.path.with_name(f".{comparison.path.name}.deleted-{secrets.token_hex(2)}")
        os.replace(comparison.path, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _runs_by_identity() -> dict[str, Run]:
    """What was trained -> the run that counts for it: a finished one, else a living one, else the newest."""
    rank = {"finished": 3, "running": 2, "queued": 2, "cancelling": 1}
    best: dict[str, tuple[int, Run]] = {}
    for run in list_runs():  # newest first
        identity = run.identity
        if identity is not None:
            state = rank.get(run.state, 0)
            if identity not in best or state > best[identity][0]:
                best[identity] = (state, run)
    return {identity: run for identity, (_, run) in best.items()}


def statuses_of(cells: Sequence[Cell]) -> list[CellStatus]:
    """Where each cell stands: its run's state, `waiting` for its teacher, or `missing`."""
    runs, memo = _runs_by_identity(), Memo()
    found: list[CellStatus] = []
    for cell in cells:
        config = with_teacher(cell, found)
        identity = identity_of(config, memo) if config else None
        run = runs.get(identity) if identity else None
        found.append(CellStatus(cell, run, run.state if run else "missing" if config else "waiting"))
    return found


def with_teacher(cell: Cell, before: Sequence[CellStatus]) -> RunConfig | None:
    """The cell's configuration with its teacher's run in place of "@3", or None while that has not finished."""
    teacher = cell.config.teacher
    if teacher is None or not teacher.startswith("@"):
        return cell.config
    source = before[int(teacher[1:])]
    if source.run is None or source.state != "finished":
        return None
    return dataclasses.replace(cell.config, teacher=source.run.id)


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
        assert s.run is not None
        print(f"{s.cell.row}, seed {s.cell.seed}: {(s.run.end or {}).get('error')}")
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


def shared_settings(cells: Sequence[Cell]) -> dict[str, Any]:
    """The settings that all cells have alike, teachers of their own left out."""
    configs = [{k: v for k, v in cell.config.to_dict().items() if k != "name"} for cell in cells]
    alike = {k: v for k, v in configs[0].items() if all(config[k] == v for config in configs[1:])}
    return {k: v for k, v in alike.items() if k != "parameters" and v is not None}


def settings_line(cells: Sequence[Cell]) -> str:
    """The shared settings in words: those that a number is always read by, and what else is not as usual."""
    usual = RunConfig().to_dict()
    shown = {k: v for k, v in shared_settings(cells).items() if k in ALWAYS or v != usual[k]}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def mixed(found: Sequence[CellStatus]) -> str:
    """In which ways that decide bits the finished runs were computed, where there are several; else empty."""
    ways = set()
    for status in found:
        if status.run is not None and status.state == "finished":
            ways |= {(s.get("device"), s.get("precision"), s.get("threads")) for s in status.run.sessions()}
    if len(ways) < 2:
        return ""
    named = sorted(f"{device} {precision} with {threads} thread(s)" for device, precision, threads in ways)
    return f"Its runs were computed in {len(ways)} ways, whose bits differ: {'; '.join(named)}."


def results(found: Sequence[CellStatus]) -> list[Mapping[str, Any]]:
    """A flat row for each cell (see `CellStatus.result`)."""
    return [status.result() for status in found]


if __name__ == "__main__":
    try:
        sys.exit(work(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
