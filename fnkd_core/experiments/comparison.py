"""A comparison is a folder with a list of runs to have; what is done of it follows from the runs there are.

spec.json   name, created, and the cells (see `fnkd_core.experiments.plan`)
lock        held by the process that works on it
cancel      somebody asked it to stop
log.txt     what that process printed

A run that was made for something else counts, where it trained the same student from the same teacher.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fnkd_core.errors import UserError, require
from fnkd_core.experiments.plan import Cell
from fnkd_core.files import read_json, write_json, write_text
from fnkd_core.jobs import locks
from fnkd_core.jobs.control import cancel, detached, reopen
from fnkd_core.jobs.run import ALIVE, Run, create_run, list_runs, sha256_of
from fnkd_core.paths import comparisons_dir
from fnkd_core.training.config import RunConfig

State = Literal["running", "stopping", "finished", "stopped", "broken"]
Trainer = Callable[[RunConfig, Path], Iterator[Any]]
GRACE_S = 10.0
"""A comparison that was just started counts as running for this long: its process is still starting."""


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
        """Whether a process works on it, or is about to."""
        if locks.is_held(self.path / "lock"):
            return True
        mark = self.path / "submitted"
        return mark.exists() and time.time() - mark.stat().st_mtime < GRACE_S

    def log_tail(self, num_lines: int = 200) -> str:
        return Run(self.path).log_tail(num_lines)


@dataclass(frozen=True)
class CellStatus:
    """Where a cell stands. run: the one that counts for it, or None while there is none."""

    cell: Cell
    run: Run | None
    state: str

    def result(self) -> dict[str, Any]:
        """One flat row: what the cell is, and the numbers of its run as far as it has come."""
        found: dict[str, Any] = {"row": self.cell.row, **self.cell.varied, "seed": self.cell.seed, "state": self.state}
        found |= {"run": self.run.id if self.run else None, "epochs_done": 0}
        metrics = self.run.metrics() if self.run else []
        if metrics:
            last = metrics[-1]
            found |= {
                "epochs_done": len(metrics),
                "accuracy": last["test_accuracy"],
                "best": max(line["test_accuracy"] for line in metrics),
                "nll": last["test_nll"],
                "ece": last["test_ece"],
                "agreement": last.get("test_agreement"),
                "norm": last["test_norm"],
                "temperature": last.get("temperature"),
                "seconds": sum(line["seconds"] for line in metrics),
            }
        return found


def create_comparison(cells: Sequence[Cell], name: str) -> Comparison:
    """The comparison with these cells: the one there is, else a new folder. name: the beginning of its id."""
    require(bool(cells), "A comparison needs at least one run.")
    plain = [cell.to_dict() for cell in cells]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
    path = comparisons_dir() / f"{name}-{digest}"
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
    gone = comparison.path.with_name(f".{comparison.path.name}.deleted")
    os.replace(comparison.path, gone)
    shutil.rmtree(gone, ignore_errors=True)


@functools.lru_cache(maxsize=10_000)
def _trained(path: str, _modified: float) -> str | None:
    """The canonical line of a run's configuration and its teacher's file, or None where it cannot be read."""
    try:
        spec = Run(Path(path)).spec
        return _key(RunConfig.from_dict(spec["config"]), spec.get("teacher_sha256"))
    except (UserError, OSError):
        return None


def _key(config: RunConfig, teacher_sha256: str | None) -> str:
    return f"{config.trained()} {teacher_sha256}"


def _runs_by_key() -> dict[str, Run]:
    """What was trained -> the run that counts for it: a finished one, else a living one, else the newest."""
    rank = {"finished": 3, "running": 2, "queued": 2, "cancelling": 1}
    best: dict[str, tuple[int, Run]] = {}
    for run in list_runs():  # newest first
        try:
            key = _trained(str(run.path), (run.path / "spec.json").stat().st_mtime)
        except OSError:
            continue
        if key is not None:
            status = rank.get(run.state, 0)
            if key not in best or status > best[key][0]:
                best[key] = (status, run)
    return {key: run for key, (_, run) in best.items()}


def statuses_of(cells: Sequence[Cell]) -> list[CellStatus]:
    """Where each cell stands: its run's state, `waiting` for its teacher, or `missing`."""
    runs, fingerprint = _runs_by_key(), functools.cache(sha256_of)
    found: list[CellStatus] = []
    for cell in cells:
        config = resolved(cell, found)
        run = runs.get(_key(config, fingerprint(config.teacher))) if config else None
        found.append(CellStatus(cell, run, run.state if run else "missing" if config else "waiting"))
    return found


def resolved(cell: Cell, before: Sequence[CellStatus]) -> RunConfig | None:
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
    write_text(comparison.path / "submitted", "")
    detached(comparison.path, command or (sys.executable, "-m", "fnkd_core.experiments.comparison"))


def stop(comparison: Comparison) -> None:
    """Ask it to stop: the run in progress is cancelled with its last finished epoch kept, no other is begun."""
    require(comparison.working, f"Comparison {comparison.id} is not being worked on.")
    write_text(comparison.path / "cancel", "")
    (comparison.path / "submitted").unlink(missing_ok=True)
    for status in statuses_of(comparison.cells):
        if status.run is not None and status.state in ("running", "queued"):
            cancel(status.run)


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
    from fnkd_core.jobs import worker

    comparison = Comparison(Path(path).resolve())
    lock = comparison.path / "lock"
    require(locks.acquire(lock), f"Comparison {comparison.id} is being worked on by another process; wait, or stop it.")
    try:
        (comparison.path / "submitted").unlink(missing_ok=True)
        cells = comparison.cells
        tried: set[int] = set()
        while not (comparison.path / "cancel").exists():
            found = statuses_of(cells)
            open_cells = [i for i, s in enumerate(found) if i not in tried and s.state not in ("finished", "waiting")]
            if not open_cells:
                break
            i = open_cells[0]
            status = found[i]
            if status.state in ALIVE:  # somebody else's; it counts when it is done
                time.sleep(worker.POLL_S)
                continue
            tried.add(i)
            config = resolved(cells[i], found)
            assert config is not None
            run = status.run
            if run is None or status.state == "broken":
                run = create_run(config.to_dict(), comparison=comparison.id)
            else:
                reopen(run)
            now = CellStatus(cells[i], run, "running")
            seen = functools.partial(on_event, now) if on_event else None
            code = worker.work(run.path, trainer=trainer, on_event=seen)
            if code == 130:
                return 130
        failed = [s for s in statuses_of(cells) if s.state == "failed"]
        for s in failed:
            assert s.run is not None
            print(f"{s.cell.row}, seed {s.cell.seed}: {(s.run.end or {}).get('error')}")
        return 1 if failed else 0
    finally:
        locks.release(lock)


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


def results(found: Sequence[CellStatus]) -> list[Mapping[str, Any]]:
    """A flat row for each cell (see `CellStatus.result`)."""
    return [status.result() for status in found]


if __name__ == "__main__":
    try:
        sys.exit(work(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
