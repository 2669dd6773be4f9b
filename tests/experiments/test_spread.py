"""Cells on an engine that trains several runs at a time."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import create_comparison, state_of, work
from fnkd_core.experiments.plan import plan
from fnkd_core.experiments.status import statuses_of
from fnkd_core.jobs import control
from fnkd_core.jobs.cluster.tasks import train_run
from fnkd_core.jobs.control import end_run, submit
from fnkd_core.jobs.run import ALIVE, Run, create_run, list_runs
from fnkd_core.locks import locked
from fnkd_core.paths import runs_dir
from fnkd_core.training.config import RunConfig

BASE: dict[str, Any] = {"dataset": "digits", "teacher": "digits-teacher", "epochs": 1, "per_class": 4, "threads": 1}


class Here:
    """An engine that trains in this process, when it is asked what has ended: the last that was given first.

    lose: methods whose runs are lost once, after they were begun.
    """

    def __init__(self, lose: tuple[str, ...] = ()) -> None:
        self.given: list[tuple[Path, RunConfig, Path]] = []
        self.dropped: list[Path] = []
        self.lose, self.started, self.most = lose, list[RunConfig](), 0
        self.held = contextlib.ExitStack()

    def start(self, path: Path, config: RunConfig, comparison: Path) -> None:
        self.given.append((path, config, comparison))
        self.most = max(self.most, len(self.given))

    def ended(self, timeout_s: float) -> list[tuple[Path, str | None]]:
        path, config, comparison = self.given.pop()
        self.started.append(config)
        if config.method in self.lose:
            create_run(config.to_dict(), path, comparison.name)
            return [(path, "its node is gone")]
        try:
            train_run(str(path), config.to_dict(), str(comparison))
        except UserError as error:
            return [(path, str(error))]
        return [(path, None)]

    def drop(self, path: Path) -> None:
        self.dropped += [given for given, *_ in self.given if given == path]
        self.given = [one for one in self.given if one[0] != path]


def test_all_that_can_be_begun_is_given_at_once_and_ends_in_the_comparison_s_runs() -> None:
    comparison, engine = create_comparison(plan(BASE, ["ce", "kd"], [0, 1]), "demo"), Here()
    seen: list[float] = []
    assert work(comparison.path, cluster=engine, on_look=seen.append) == 0
    assert engine.most == 4 and seen[-1] == 4
    found = statuses_of(comparison.cells)
    assert state_of(comparison, found) == "finished"
    assert {s.run and s.run.spec["comparison"] for s in found} == {comparison.id}
    assert all("Finished." in run.log_tail() for run in list_runs())
    again = Here()
    assert work(comparison.path, cluster=again) == 0
    assert again.started == [] and len(list_runs()) == 4


def test_a_student_is_given_only_when_its_teacher_has_been_trained() -> None:
    comparison, engine = create_comparison(plan(BASE, ["kd"], [0], generations=3), "born-again"), Here()
    assert work(comparison.path, cluster=engine) == 0
    assert engine.most == 1
    runs = sorted(list_runs(), key=lambda run: run.spec["created"])
    teachers = [config.teacher for config in engine.started]
    assert teachers[0] is None and {*teachers[1:]} <= {run.id for run in runs}
    assert [s.state for s in statuses_of(comparison.cells)] == ["finished"] * 3


def test_a_run_that_was_lost_for_good_is_said_and_goes_on_next_time(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = create_comparison(plan(BASE, ["ce", "kd"], [0]), "demo")
    assert work(comparison.path, cluster=Here(lose=("kd",))) == 1
    assert "kd, seed 0: its node is gone" in capsys.readouterr().err
    assert [s.state for s in statuses_of(comparison.cells)] == ["finished", "interrupted"]
    before = {run.id for run in list_runs()}
    engine = Here()
    assert work(comparison.path, cluster=engine) == 0
    assert [config.method for config in engine.started] == ["kd"]
    assert {run.id for run in list_runs()} == before


def test_a_failed_run_makes_the_command_fail_and_not_the_others() -> None:
    cells = plan(BASE | {"device": "cuda"}, ["ce"], [0]) + plan(BASE, ["kd"], [0])
    comparison = create_comparison(cells, "demo")
    assert work(comparison.path, cluster=Here()) == 1
    assert [s.state for s in statuses_of(cells)] == ["failed", "finished"]


class Stopped(Here):
    """The comparison is stopped when the first of its runs has begun."""

    running: Run | None = None

    def ended(self, timeout_s: float) -> list[tuple[Path, str | None]]:
        if self.running is None:
            path, config, comparison = self.given.pop()
            self.running = create_run(config.to_dict(), path, comparison.name)
            self.held.enter_context(locked(self.running.lock))
            (path / "started.json").write_text("{}")
            (comparison / "cancel").touch()
            return []
        if self.dropped:
            return [(self.dropped.pop(), None)]
        assert self.running.state == "cancelling"
        end_run(self.running, "cancelled")
        self.held.close()
        return [(self.running.path, None)]


def test_a_stop_cancels_what_is_trained_and_begins_nothing_else() -> None:
    comparison, engine = create_comparison(plan(BASE, ["ce", "kd"], [0, 1]), "demo"), Stopped()
    assert work(comparison.path, cluster=engine) == 0
    assert engine.started == [] and engine.given == []
    found = statuses_of(comparison.cells)
    assert sorted(s.state for s in found) == ["cancelled", "missing", "missing", "missing"]
    assert state_of(comparison, found) == "stopped"
    assert work(comparison.path, cluster=Here()) == 0
    assert {s.state for s in statuses_of(comparison.cells)} == {"cancelled", "missing"}, (
        "its mark is for a start to take"
    )
    (comparison.path / "cancel").unlink()
    assert work(comparison.path, cluster=Here()) == 0
    assert {s.state for s in statuses_of(comparison.cells)} == {"finished"} and len(list_runs()) == 4


def test_a_task_that_begins_after_a_stop_makes_no_run() -> None:
    comparison = create_comparison(plan(BASE, ["ce"], [0]), "demo")
    (comparison.path / "cancel").touch()
    train_run(str(runs_dir() / "r"), comparison.cells[0].config.to_dict(), str(comparison.path))
    assert list_runs() == []


def test_a_task_that_was_lost_after_its_run_had_ended_leaves_it_as_it_is() -> None:
    comparison = create_comparison(plan(BASE, ["ce"], [0]), "demo")
    config, path = comparison.cells[0].config.to_dict(), runs_dir() / "r"
    for _ in range(2):
        train_run(str(path), config, str(comparison.path))
    assert Run(path).state == "finished" and len(Run(path).sessions()) == 1


def test_a_node_that_does_not_see_the_comparison_says_what_must_be_shared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"spec.json is not there on node .+ must lie on storage that all nodes share"):
        train_run(str(runs_dir() / "r"), RunConfig().to_dict(), str(tmp_path / "elsewhere"))
    assert list_runs() == []


def test_a_run_that_somebody_else_trains_is_waited_for_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnkd_core.experiments.spread.LOOK_S", 0.01)
    monkeypatch.setattr("fnkd_core.experiments.spread.OTHERS_S", 0.02)
    comparison, engine = create_comparison(plan(BASE, ["ce"], [0]), "demo"), Here()
    run = submit(comparison.cells[0].config.to_dict())
    assert run.state in ALIVE
    assert work(comparison.path, cluster=engine) == 0
    assert run.state == "finished" and engine.started == [] and len(list_runs()) == 1
    for child in control._children:
        child.wait(240)
