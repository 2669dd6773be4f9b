"""A run has an owner from the moment it is submitted, however slowly its process comes up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fnkd_core.errors import UserError
from fnkd_core.files import is_locked
from fnkd_core.jobs import control
from fnkd_core.jobs.control import cancel, start, wait
from fnkd_core.jobs.run import create_run, delete_run, list_runs
from fnkd_core.jobs.worker import work
from fnkd_core.training.config import RunConfig
from tests.waiting import until


def config(**changes: object) -> dict[str, object]:
    return RunConfig(**({"epochs": 2, "threads": 1} | changes)).to_dict()  # type: ignore[arg-type]


@pytest.fixture
def slow(worker: Callable[[str], list[str]], tmp_path: Path) -> tuple[list[str], Path]:
    """A process that reaches its folder only when it is told to, and what tells it."""
    go, command = tmp_path / "go", worker("yield Line(1)")
    path = Path(command[1])
    path.write_text(path.read_text().replace("sys.exit(work", f"told(pathlib.Path({str(go)!r}))\nsys.exit(work"))
    return command, go


def test_a_run_is_owned_from_the_moment_it_is_submitted_however_slowly_its_process_starts(
    slow: tuple[list[str], Path],
) -> None:
    command, go = slow
    run = create_run(config())
    start(run, command)
    assert is_locked(run.lock) and run.state == "queued"
    with pytest.raises(UserError, match="cancel it before deleting"):
        delete_run(run)
    with pytest.raises(UserError, match="owned by another process"):
        start(run, command)
    go.touch()
    assert wait(run, 180) == "finished"


def test_a_run_that_is_cancelled_while_it_starts_does_not_begin_and_once_deleted_leaves_nothing(
    slow: tuple[list[str], Path],
) -> None:
    command, go = slow
    run = create_run(config())
    start(run, command)
    cancel(run)
    go.touch()
    assert wait(run, 180) == "cancelled" and not (run.path / "started.json").exists()
    delete_run(run)
    for child in control._children:
        child.wait(180)
    assert list_runs() == [] and list(run.path.parent.iterdir()) == []


def test_a_run_whose_process_dies_before_it_begins_is_interrupted(worker: Callable[[str], list[str]]) -> None:
    run = create_run(config())
    start(run, [sys.executable, "-c", "pass"])
    until(lambda: run.state == "interrupted")
    delete_run(run)
    with pytest.raises(UserError, match="is gone; it was deleted"):
        work(run.path)
    assert not run.path.exists()
