"""What lists say of each run, without reading the files of thousands of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from fnkd_core.checkpoints.several import names_of
from fnkd_core.identity import digest
from fnkd_core.index import Index
from fnkd_core.jobs.reading import Reading, read
from fnkd_core.jobs.run import ALIVE, Run, State, students
from fnkd_core.paths import runs_dir


class Summary(TypedDict):
    """A run in a list. Of a broken one all but name, state and problem may be None.

    comparison: whose run it is. identity: what it trains. but_seed: the same for runs that differ in nothing but seed
    and name. taught_by: the identity of its teacher, see `Run.teacher`. accuracy, best: on the test split. seconds: of
    its finished epochs, which epochs_done counts.
    """

    name: str
    state: State
    method: str | None
    student: str | None
    dataset: str | None
    teacher: str | None
    comparison: str | None
    identity: str | None
    but_seed: str
    taught_by: str | None
    parameters: dict[str, Any]
    epochs: int | None
    epochs_done: int
    accuracy: float | None
    best: float | None
    seconds: float
    problem: str | None


def _summary(folder: Path) -> Summary:
    run = Run(folder)
    one = read(run)
    config, reached = one.config, one.results
    return {
        "name": one.name,
        "state": one.state,
        "method": config.get("method"),
        "student": config.get("student"),
        "dataset": config.get("dataset"),
        "teacher": config.get("teacher"),
        "comparison": one.comparison,
        "identity": run.identity,
        "but_seed": digest({name: value for name, value in config.items() if name not in ("seed", "name")}),
        "taught_by": run.teacher,
        "parameters": dict(one.parameters),
        "epochs": config.get("epochs"),
        "epochs_done": len(one.metrics),
        "accuracy": (reached.get("last") or {}).get("accuracy"),
        "best": (reached.get("best") or {}).get("accuracy"),
        "seconds": sum(line["seconds"] for line in one.metrics),
        "problem": one.problem,
    }


_index = Index("runs", Summary, _summary)


def summaries() -> dict[str, Summary]:
    """Id of each run -> what lists say of it, newest first."""
    return _index.rows()


def living(runs: Mapping[str, Summary]) -> dict[str, Summary]:
    """Those of the runs that are under way or wait, in their order."""
    return {name: one for name, one in runs.items() if one["state"] in ALIVE}


def outline(name: str, summary: Summary) -> Reading:
    """The run as its summary has it: name, state and problem, for those that need no more of it."""
    return Reading(Run(runs_dir() / name), summary["name"], summary["state"], problem=summary["problem"])


def taught_by(run: Run) -> list[Run]:
    """The runs of whose teachers one is a student of the run."""
    own = {entry.identity for entry in students(run)}
    where = runs_dir()
    return [Run(where / name) for name, one in summaries().items() if own.intersection(names_of(one["taught_by"]))]
