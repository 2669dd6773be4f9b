"""A comparison skips what is done, goes on after a stop, lets others through, and shares runs with its like."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fnkd_core.checkpoints.library import find_checkpoint, list_checkpoints
from fnkd_core.data import add_folder, dataset_info, look_again, remove_folder
from fnkd_core.data.similar import save_groups
from fnkd_core.errors import UserError
from fnkd_core.experiments.comparison import (
    create_comparison,
    delete_comparison,
    find_comparison,
    list_comparisons,
    start,
    state_of,
    stop,
    work,
)
from fnkd_core.experiments.plan import plan
from fnkd_core.experiments.status import computed, statuses_of
from fnkd_core.files import append_json, write_json, write_text
from fnkd_core.jobs import control
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import create_run, delete_run, list_runs
from fnkd_core.locks import locked
from fnkd_core.training.config import RunConfig
from fnkd_core.training.recorded import record
from fnkd_core.training.resolve import look_up
from tests.pictures import noise, write_folder
from tests.tools import copy_checkpoint
from tests.waiting import until

BASE: dict[str, Any] = {"dataset": "digits", "teacher": "digits-teacher", "epochs": 1, "per_class": 4, "threads": 1}


@dataclasses.dataclass
class Line:
    epoch: int
    accuracy: float
    evaluated_on: str = "validation"
    loss: float = 1.0
    hard: float = 1.0
    soft: float = 0.0
    seconds: float = 1.0


class Quick:
    """In place of training: notes what it was asked for, and leaves what a training leaves."""

    def __init__(self, fail: tuple[str, ...] = ()) -> None:
        self.asked: list[RunConfig] = []
        self.fail = fail

    def __call__(self, config: RunConfig, folder: Path) -> Iterator[Any]:
        self.asked.append(config)
        record(look_up(config), folder)
        if config.method in self.fail:
            raise UserError("It did not please.")
        line = Line(1, 0.5 + config.seed / 10)
        append_json(folder / "metrics.jsonl", dataclasses.asdict(line))
        reached = {"epoch": 1, "accuracy": line.accuracy, "nll": 1.0, "ece": 0.1, "norm": 2.0, "agreement": 0.5}
        write_json(folder / "results.json", {"last": reached, "best": reached, "best_on_test": None})
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


def test_a_run_made_for_something_else_counts_whatever_it_is_called(home: Path) -> None:
    cells = plan(BASE, ["kd"], [0])
    run = create_run(cells[0].config.to_dict() | {"name": "mine", "threads": 7})
    end_run(run, "finished")
    assert statuses_of(cells)[0].run == run


def test_a_run_of_another_network_behind_the_teacher_s_name_does_not_count(home: Path) -> None:
    copy_checkpoint(home, "digits-teacher", "t")
    cells = plan(BASE | {"teacher": "t"}, ["kd"], [0])
    work(create_comparison(cells, "demo").path, trainer=Quick())
    assert statuses_of(cells)[0].state == "finished"
    for suffix in (".json", ".safetensors"):
        (home / "checkpoints" / f"t{suffix}").unlink()
    copy_checkpoint(home, "digits-ce", "t")
    assert statuses_of(cells)[0].state == "missing"


def test_a_run_counts_only_for_the_images_it_was_made_from(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", size=(12, 12))
    add_folder("mine", str(root))
    cells = plan({"dataset": "mine", "epochs": 1, "threads": 1}, ["ce"], [0])

    def state() -> str:
        look_again()
        return statuses_of(cells)[0].state

    work(create_comparison(cells, "demo").path, trainer=Quick())
    assert state() == "finished"
    extra = root / "train" / "ape" / "new.jpg"
    noise(12, 12, 99).save(extra)
    assert state() == "missing", "an image was added"
    extra.unlink()
    assert state() == "finished"
    first = root / "train" / "ape" / "000.jpg"
    before, stamp = first.read_bytes(), first.stat()
    noise(12, 12, 98).save(first, quality=90)
    assert state() == "missing", "an image was overwritten in place"
    first.write_bytes(before)
    os.utime(first, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert state() == "finished"
    remove_folder("mine")
    add_folder("mine", str(write_folder(tmp_path / "other", size=(12, 12), count=7)))
    assert state() == "missing", "the name stands for another folder"
    remove_folder("mine")
    root.rename(tmp_path / "moved")
    add_folder("mine", str(tmp_path / "moved"))
    assert state() == "finished", "the same images lie elsewhere"


def test_a_run_with_other_similar_classes_does_not_count() -> None:
    info = dataset_info("digits")
    save_groups(info, ("a", "a", *(None,) * 8))
    cells = plan(BASE, ["alsd"], [0])
    work(create_comparison(cells, "demo").path, trainer=Quick())
    assert statuses_of(cells)[0].state == "finished"
    save_groups(info, ("a", None, "a", *(None,) * 7))
    assert statuses_of(cells)[0].state == "missing"


def test_runs_computed_with_other_threads_or_on_another_device_are_said() -> None:
    comparison = create_comparison(plan(BASE, ["ce"], [0, 1]), "demo")
    work(comparison.path, trainer=Quick())
    found = statuses_of(comparison.cells)

    def note(*sessions: dict[str, Any]) -> None:
        for status, session in zip(found, sessions, strict=True):
            assert status.run is not None
            lines = json.dumps({"device": "cpu", "precision": "fp32"} | session) + "\n"
            write_text(status.run.path / "sessions.jsonl", lines)

    note({"threads": 1}, {"threads": 2})
    assert "2 ways, whose bits differ: cpu fp32 with 1 thread; cpu fp32 with 2 threads" in computed(found)
    assert computed(found[:1]) == "Computed on cpu fp32 with 1 thread."
    note({"processor": "One 1", "threads": 1}, {"processor": "Two 2", "threads": 1})
    assert "2 ways, whose bits differ: cpu (One 1) fp32 with 1 thread; cpu (Two 2) fp32" in computed(found)
    assert computed([]) == ""


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
    runs = sorted(list_runs(), key=lambda run: run.place)
    cards = [find_checkpoint(run.path / "model.safetensors").card for run in runs]
    assert [card.generation for card in cards if card] == [0, 1, 2]
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
        child.wait(240)


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
    assert not (comparison.path / "cancel").exists()
    until(lambda: not comparison.working)
    assert done >= 1
    work(comparison.path, trainer=quick)
    assert [s.state for s in statuses_of(comparison.cells)] == ["finished"] * 4
    delete_comparison(comparison)
    assert list_comparisons() == [] and len(list_runs()) == 4


def test_two_processes_cannot_work_on_one_comparison() -> None:
    comparison = create_comparison(plan(BASE, ["ce"], [0]), "demo")
    with locked(comparison.path / "lock"):
        assert comparison.working
        with pytest.raises(UserError, match="being worked on by another process"):
            work(comparison.path, trainer=Quick())
    assert work(comparison.path, trainer=Quick()) == 0


def test_stopping_a_comparison_leaves_a_run_of_the_user_s_own_alone() -> None:
    cells = plan(BASE | {"epochs": 400}, ["ce"], [0])
    comparison = create_comparison(cells, "demo")
    run = create_run(cells[0].config.to_dict())
    with locked(run.lock), locked(comparison.path / "lock"):
        (run.path / "started.json").write_text("{}")
        assert statuses_of(cells)[0].run == run and run.state == "running"
        stop(comparison)
        assert not (run.path / "cancel").exists() and run.state == "running"


def test_a_comparison_uses_all_slots_and_lets_others_through(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNKD_SLOTS", "2")
    comparison = create_comparison(plan(BASE | {"epochs": 400}, ["ce", "lsd"], [0, 1]), "demo")
    start(comparison)
    until(lambda: [s.state for s in statuses_of(comparison.cells)].count("running") == 2)
    other = control.submit(RunConfig(epochs=1, threads=1).to_dict())
    assert [s.state for s in statuses_of(comparison.cells)] == ["running", "running", "missing", "missing"]
    first = statuses_of(comparison.cells)[0].run
    assert first is not None
    end = first.path / "end.json"
    control.cancel(first)  # by hand: the comparison does not begin with it again, and goes on with the next
    assert control.wait(other, 240) == "finished", "it was handed in before the comparison's third"
    until(lambda: statuses_of(comparison.cells)[2].state == "running")
    assert end.exists() and (other.path / "started.json").stat().st_mtime_ns > end.stat().st_mtime_ns
    stop(comparison)
    until(lambda: not comparison.working)
    assert [s.state for s in statuses_of(comparison.cells)] == ["cancelled"] * 3 + ["missing"]


def test_a_killed_comparison_leaves_its_runs_to_the_queue_and_goes_on_with_them(home: Path) -> None:
    comparison = create_comparison(plan(BASE, ["ce", "lsd"], [0]), "demo")
    start(comparison)
    until(lambda: statuses_of(comparison.cells)[0].run is not None)
    process = control._children[-1] if "comparison" in str(control._children[-1].args) else control._children[0]
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    until(lambda: not comparison.working)  # what it was starting at that instant holds the lock until it is a program
    run = statuses_of(comparison.cells)[0].run
    assert run is not None
    assert work(comparison.path) == 0
    found = statuses_of(comparison.cells)
    assert [s.state for s in found] == ["finished"] * 2 and found[0].run == run and len(list_runs()) == 2


def test_who_follows_a_comparison_sees_its_runs_come_and_end(home: Path) -> None:
    seen: list[tuple[str, str]] = []
    comparison = create_comparison(plan(BASE | {"epochs": 20, "per_class": None}, ["ce"], [0]), "demo")
    assert work(comparison.path, on_event=lambda s, event: seen.append((s.state, f"{event.epochs} epochs"))) == 0
    assert ("running", "20 epochs") in seen and {epochs for _, epochs in seen} == {"20 epochs"}
