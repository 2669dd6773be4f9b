"""Where each run of a comparison stands, and what its runs have in common."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fnkd_core.experiments.plan import Cell
from fnkd_core.files import stamp
from fnkd_core.jobs.reading import read
from fnkd_core.jobs.run import Run
from fnkd_core.jobs.summary import Summary, summaries
from fnkd_core.paths import runs_dir
from fnkd_core.training.config import RunConfig, unused
from fnkd_core.training.resolve import Memo, identity_of
from fnkd_core.wording import counted

ALWAYS = ("dataset", "teacher", "student", "validation", "epochs", "batch_size", "optimizer", "lr", "schedule")
READ = ("spec.json", "end.json", "resolved.json", "metrics.jsonl", "results.json", "sessions.jsonl")
"""The files of a run that say what it reached."""


@dataclass(frozen=True)
class CellStatus:
    """Where a cell stands.

    run: the one that counts for it, or None while there is none. problem: why that is broken.
    """

    cell: Cell
    run: Run | None
    state: str
    problem: str | None = None

    def result(self) -> dict[str, Any]:
        """One flat row: what the cell is, and what its student reached on the test split once it is finished.

        accuracy, nll, ece, agreement, norm: of the last epoch; best: accuracy of the epoch chosen on validation.
        validation: accuracy of the last epoch there, as far as it has come.
        """
        found: dict[str, Any] = {"row": self.cell.row, **self.cell.varied, "seed": self.cell.seed, "state": self.state}
        found |= {"run": self.run.id if self.run else None, "epochs_done": 0}
        if self.run is None:
            return found
        one = _reading(self.run)
        return found | one.reached | ({"error": one.error} if self.state in ("failed", "broken") else {})


class _Reached(NamedTuple):
    """What a run reached, why it failed or is broken, and whether it is broken."""

    reached: dict[str, Any]
    error: str | None
    broken: bool


def _reading(run: Run) -> _Reached:
    return _reached(run.path, tuple(stamp(run.path / name) for name in READ))


@functools.lru_cache(maxsize=20_000)
def _reached(path: Path, _changed: object) -> _Reached:
    """Read once for as long as the run's files stay what they are."""
    one, found = read(Run(path)), dict[str, Any]()
    if one.metrics:
        found |= {"epochs_done": len(one.metrics), "temperature": one.metrics[-1].get("temperature")}
        found["seconds"] = sum(line["seconds"] for line in one.metrics)
        if one.metrics[-1]["evaluated_on"] == "validation":
            found["validation"] = one.metrics[-1]["accuracy"]
    if one.results:
        last = one.results["last"]
        found |= {key: last[key] for key in ("accuracy", "nll", "ece", "agreement", "norm")}
        found["best"] = (one.results["best"] or {}).get("accuracy")
    return _Reached(found, one.problem or one.end.get("error"), one.problem is not None)


@functools.lru_cache(maxsize=20_000)
def _ways(path: Path, _changed: object) -> frozenset[str]:
    """In which ways that decide bits a run was computed, in words; which of several alike GPUs it was decides none."""
    return frozenset(map(_way, read(Run(path)).sessions))


def _way(session: Mapping[str, Any]) -> str:
    device, name = str(session["device"]).partition(":")[0], session.get("processor")
    kind = f"{device} ({name})" if name else device
    beside = f" in {session['processes']} processes" if session.get("processes", 1) > 1 else ""
    return f"{kind} {session['precision']} with {counted(session['threads'], 'thread')}{beside}"


def _runs_by_identity() -> dict[str, tuple[str, Summary]]:
    """What was trained -> the id of the run that counts for it: a finished one, else a living one, else the newest."""
    rank = {"finished": 3, "running": 2, "queued": 2, "cancelling": 1}
    best: dict[str, tuple[int, str, Summary]] = {}
    for name, one in summaries().items():  # newest first
        identity = one["identity"]
        if identity is not None:
            state = rank.get(one["state"], 0)
            if identity not in best or state > best[identity][0]:
                best[identity] = (state, name, one)
    return {identity: (name, one) for identity, (_, name, one) in best.items()}


def statuses_of(cells: Sequence[Cell]) -> list[CellStatus]:
    """Where each cell stands: its run's state, `waiting` for its teacher, or `missing`."""
    runs, where, memo = _runs_by_identity(), runs_dir(), Memo()
    found: list[CellStatus] = []
    for cell in cells:
        config = with_teacher(cell, found)
        identity = (identity_of(config, memo) if config else None) or ""
        if identity in runs:
            name, one = runs[identity]
            run, state, problem = Run(where / name), one["state"], one["problem"]
            if state == "finished" and (now := _reading(run)).broken:  # damaged since lists took note of it
                state, problem = "broken", now.error
            found.append(CellStatus(cell, run, state, problem))
        else:
            found.append(CellStatus(cell, None, "missing" if config else "waiting"))
    return found


def with_teacher(cell: Cell, before: Sequence[CellStatus]) -> RunConfig | None:
    """The cell's configuration with its teacher's run in place of "@3", or None while that has not finished."""
    if cell.taught_by is None:
        return cell.config
    source = before[cell.taught_by]
    if source.run is None or source.state != "finished":
        return None
    return dataclasses.replace(cell.config, teacher=source.run.id)


def shared_settings(cells: Sequence[Cell]) -> dict[str, Any]:
    """The settings that all cells have alike, teachers of their own left out."""
    configs = [cell.config.to_dict() for cell in cells]
    alike = {k: v for k, v in configs[0].items() if all(config[k] == v for config in configs[1:])}
    return {k: v for k, v in alike.items() if k not in ("name", "parameters") and v is not None}


def settings_line(cells: Sequence[Cell]) -> str:
    """The settings in words: those that a number is always read by, and what else is not as usual.

    Also one that some rows name, where all others have it alike.
    """
    usual = RunConfig().to_dict()
    shown = {k: f"{k} {v}" for k, v in shared_settings(cells).items() if k in ALWAYS or v != usual[k]}
    varied = dict.fromkeys(name for cell in cells for name in cell.varied if name in usual and name not in shown)
    idle = [unused(cell.config) for cell in cells] if varied.keys() > {"method"} else []
    for name in varied:
        without = zip(cells, idle, strict=False)
        others = [getattr(cell.config, name) for cell, no in without if f" {name}=" not in cell.row and name not in no]
        if others and name != "method" and others[0] is not None and all(value == others[0] for value in others):
            shown[name] = f"{name} {others[0]} unless a row says another"
    return ", ".join(shown[name] for name in usual if name in shown)


def computed(found: Sequence[CellStatus]) -> str:
    """On what the finished runs were computed, and whether they differ in what decides bits; of none, empty."""
    ways: set[str] = set()
    for status in found:
        if status.run is not None and status.state == "finished":
            ways |= _ways(status.run.path, stamp(status.run.path / "sessions.jsonl"))
    if len(ways) < 2:
        return f"Computed on {ways.pop()}." if ways else ""
    return f"Its runs were computed in {len(ways)} ways, whose bits differ: {'; '.join(sorted(ways))}."


def results(found: Sequence[CellStatus]) -> list[Mapping[str, Any]]:
    """A flat row for each cell (see `CellStatus.result`)."""
    return [status.result() for status in found]
