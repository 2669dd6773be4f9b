"""A comparison skips what is done, goes on after a stop, lets others through, and shares runs with its like."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fnkd_core.checkpoints.library import list_checkpoints
from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import (
    create_comparison,
    delete_comparison,
    find_comparison,
    list_comparisons,
    start,
    state_of,
    statuses_of,
    stop,
    work,
)
from fnkd_core.experiments.plan import plan
from fnkd_core.files import write_json
from fnkd_core.jobs import control, locks
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import create_run, delete_run, list_runs
from fnkd_core.training.config import RunConfig

BASE: dict[str, Any] = {"dataset": "digits", "teacher": "digits-teacher", "epochs": 1, "per_class": 4, "threads": 1}


@dataclasses.dataclass
class Line:
    epoch: int
    test_accuracy: float
    test_nll: float = 1.0
    test_ece: float = 0.1
    test_norm: float = 2.0
    test_agreement: float = 0.5
    seconds: float = 1.0


class Quick:
    """In place of training: notes what it was asked for, and writes a metrics line."""

    def __init__(self, fail: tuple[str, ...] = ()) -> None:
        self.asked: list[RunConfig] = []
        self.fail = fail

    def __call__(self, config: RunConfig, folder: Path) -> Iterator[Any]:
        self.asked.append(config)
        if config.method in self.fail:
            raise UserError("It did not please.")
        line = Line(1, 0.5 + config.seed / 10)
        (folder / "metrics.jsonl").write_text(json.dumps(dataclasses.asdict(line)) + "\n")
        yield line


def test_it_has_every_run_once_and_a_second_call_has_nothing_to_do() -> None:
    comparison = create_comparison(plan(BASE, ["ce", "kd"], [0, 1]), "demo")
    quick = Quick()
    assert state_of(comparison, statuses_of(comparison.cells)) == "stopped"
    assert work(comparison.path, trainer=quick) == 0
    assert [(c.method, c.seed) for c in quick.asked] == [("ce", 0), ("ce", 1), ("kd", 0), ("kd", 1)]
    found = statuses_of(comparison.cells)
    assert state_of(comparison, found) == "finished"
    assert [s.result()["accuracy"] for s in found] == [0.5, 0.6, 0.5, 0.6]
    assert {run.spec["comparison"] for run in list_runs()} == {comparison.id}
    again = Quick()
    assert work(comparison.path, trainer=again) == 0
    assert again.asked == []


def test_the_same_cells_are_the_same_comparison_and_a_larger_one_shares_its_runs() -> None:
    small, quick = create_comparison(plan(BASE, ["kd"], [0]), "demo"), Quick()
    work(small.path, trainer=quick)
    assert create_comparison(plan(BASE, ["kd"], [0]), "demo") == small
    large = create_comparison(plan(BASE | {"threads": 2}, ["kd", "fn"], [0, 1]), "demo")
    assert large != small
    work(large.path, trainer=quick)
    assert [(c.method, c.seed) for c in quick.asked] == [("kd", 0), ("kd", 1), ("fn", 0), ("fn", 1)]
    assert {c.id for c in list_comparisons()} == {small.id, large.id}
    assert find_comparison(large.id) == large
    with pytest.raises(UserError, match="begins 2 comparisons"):
        find_comparison("demo")


def test_a_run_made_for_something_else_counts_and_one_of_another_teacher_does_not(home: Path) -> None:
    cells = plan(BASE, ["kd"], [0])
    run = create_run(cells[0].config.to_dict() | {"name": "mine", "threads": 7})
    end_run(run, "finished")
    assert statuses_of(cells)[0].run == run
    spec = run.spec
    write_json(run.path / "spec.json", spec | {"teacher_sha256": "0" * 64})
    assert statuses_of(cells)[0].state == "missing"


def test_a_failed_run_does_not_stop_the_others_and_is_tried_again_next_time() -> None:
    comparison = create_comparison(plan(BASE, ["ce", "kd"], [0]), "demo")
    assert work(comparison.path, trainer=Quick(fail=("ce",))) == 1
    assert [s.state for s in statuses_of(comparison.cells)] == ["failed", "finished"]
    quick = Quick()
    assert work(comparison.path, trainer=quick) == 0
    assert [c.method for c in quick.asked] == ["ce"]
    assert len(list_runs()) == 2


def test_students_of_a_generation_wait_for_their_teachers_and_learn_from_their_runs() -> None:
    comparison = create_comparison(plan(BASE, ["kd"], [0], generations=3), "born-again")
    assert [s.state for s in statuses_of(comparison.cells)] == ["missing", "waiting", "waiting"]
    assert work(comparison.path) == 0
    runs = sorted(list_runs(), key=lambda run: run.config["seed"])  # ids of one second have no order
    assert [run.config["teacher"] for run in runs] == [None, runs[0].id, runs[1].id]
    assert [run.state for run in runs] == ["finished"] * 3
    assert (
        len([e for e in list_checkpoints() if e.card and e.card.teacher == runs[0].id and e.path.stem == "model"]) == 1
    )
    # A teacher that goes takes its students' status with it.
    delete_run(runs[0])
    assert [s.state for s in statuses_of(comparison.cells)] == ["missing", "waiting", "waiting"]


@pytest.fixture(autouse=True)
def _reaped() -> Iterator[None]:
    """Every process that a test has started has ended when the test has."""
    yield
    for child in control._children:
        child.wait(30)


def until(what: Any, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_a_real_process_works_through_it_and_stops_and_goes_on(home: Path) -> None:
    comparison = create_comparison(plan(BASE | {"epochs": 400}, ["ce", "lsd"], [0, 1]), "demo")
    start(comparison)
    with pytest.raises(UserError, match="being worked on already"):
        start(comparison)
    with pytest.raises(UserError, match="stop it before deleting"):
        delete_comparison(comparison)
    until(lambda: any(s.run and s.run.metrics() for s in statuses_of(comparison.cells)))
    stop(comparison)
    until(lambda: not comparison.working)
    found = statuses_of(comparison.cells)
    assert state_of(comparison, found) == "stopped"
    assert found[0].state == "cancelled" and found[0].run is not None and len(found[0].run.metrics()) >= 1
    assert [s.state for s in found[1:]] == ["missing"] * 3
    done = len(found[0].run.metrics())
    quick = Quick()
    work(comparison.path, trainer=quick)
    # stop leaves its mark, which only a new start takes away
    assert quick.asked == []
    start(comparison, [sys.executable, "-c", "pass"])
    until(lambda: not (comparison.path / "cancel").exists())
    (comparison.path / "submitted").unlink()
    assert done >= 1
    work(comparison.path, trainer=quick)
    assert [s.state for s in statuses_of(comparison.cells)] == ["finished"] * 4
    delete_comparison(comparison)
    assert list_comparisons() == [] and len(list_runs()) == 4


def test_two_processes_cannot_work_on_one_comparison() -> None:
    comparison = create_comparison(plan(BASE, ["ce"], [0]), "demo")
    start(
        comparison,
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from fnkd_core.jobs import locks;"
            "locks.acquire(Path(sys.argv[1]) / 'lock'); time.sleep(4)",
        ],
    )
    until(lambda: locks.is_held(comparison.path / "lock"))
    with pytest.raises(UserError, match="being worked on by another process"):
        work(comparison.path, trainer=Quick())
    until(lambda: not locks.is_held(comparison.path / "lock"))
