"""A run as pages and commands read it: whole, or broken with one line that says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fnkd_core.errors import UserError, require
from fnkd_core.jobs.run import ALIVE, REMEDY, Run, State
from fnkd_core.training.recorded import recorded


@dataclass(frozen=True)
class Reading:
    """A run's files, read once. problem: why they cannot be shown; the state is then "broken", the rest empty.

    comparison: whose run it is, or None.
    """

    run: Run
    name: str
    state: State
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    results: Mapping[str, Any] = field(default_factory=dict)
    end: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    comparison: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it is queued or worked on."""
        return self.state in ALIVE


def read(run: Run) -> Reading:
    """The run, whatever state its folder is in. Never raises: one broken folder must not hide the others.

    A `UserError` or `OSError` is the reading's `problem`.
    """
    try:
        spec, state, end = run.spec, run.state, run.end or {}
        recorded(run.path)
        metrics, results, sessions = run.metrics(), run.results, run.sessions()
        path = run.path / "metrics.jsonl"
        require(bool(metrics) or state != "finished" or not path.exists(), f"{path} holds no epoch; {REMEDY}.")
    except (UserError, OSError) as error:
        # The run is named beside it, so that its folder would only make the line long.
        return Reading(run, run.id, "broken", problem=str(error).replace(f"{run.path}/", ""))
    name, of = str(spec.get("name") or run.id), spec.get("comparison")
    return Reading(run, name, state, spec["config"], run.parameters, metrics, sessions, results, end, None, of)
