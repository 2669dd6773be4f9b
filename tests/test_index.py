"""An index of runs is a cache that can be deleted, and what has changed behind it is seen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fnkd_core import index
from fnkd_core.checkpoints import library
from fnkd_core.checkpoints.library import find_checkpoint, identities, named, student_rows
from fnkd_core.errors import UserError
from fnkd_core.files import discard, write_json
from fnkd_core.index import folders, looked_once
from fnkd_core.jobs import summary
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import Run, create_run, delete_run
from fnkd_core.jobs.summary import summaries
from fnkd_core.paths import project_dir
from fnkd_core.records import recall
from fnkd_core.training.config import RunConfig

OLD_NS = 10**18


@pytest.fixture
def finished(home: Path) -> Callable[..., Run]:
    """Makes a finished run, all of whose files are old."""

    def make(name: str, comparison: str | None = None, **settings: Any) -> Run:
        config = RunConfig(**({"epochs": 1, "name": name} | settings))  # type: ignore[arg-type]
        run = create_run(config.to_dict(), comparison=comparison)
        for suffix in (".safetensors", ".json"):
            shutil.copy(project_dir() / "checkpoints" / f"digits-ce{suffix}", run.path / f"model{suffix}")
        card = json.loads((run.path / "model.json").read_text())
        write_json(run.path / "model.json", card | {"name": name})
        end_run(run, "finished")
        aged(run)
        return run

    return make


def aged(run: Run, by: int = 0) -> None:
    for path in (*run.path.iterdir(), run.path):
        os.utime(path, ns=(OLD_NS + by,) * 2)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were really looked at."""
    seen: list[str] = []
    for one in (summary._index, library._index):

        def look(folder: Path, own: Callable[[Path], Any] = one.look, name: str = one.name) -> Any:
            seen.append(f"{name} {folder.name}")
            return own(folder)

        monkeypatch.setattr(one, "look", look)
    return seen


def test_a_finished_run_is_looked_at_once_and_one_that_has_not_ended_each_time(
    finished: Callable[..., Run], looks: list[str]
) -> None:
    run, waits = finished("mine"), create_run(RunConfig(epochs=1).to_dict())
    for _ in range(3):
        assert {name: one["state"] for name, one in summaries().items()} == {
            run.id: "finished",
            waits.id: "interrupted",
        }
        assert [row["students"][0]["name"] for row in student_rows().values()] == [f"mine-{run.id[-8:]}"]
    assert looks.count(f"runs {run.id}") == 1 == looks.count(f"students {run.id}")
    assert looks.count(f"runs {waits.id}") == 3


def renamed(run: Run) -> None:
    write_json(run.path / "spec.json", run.spec | {"name": "another"})


def failed(run: Run) -> None:
    end_run(run, "failed", "It was spoilt.")


def failed_in_place(run: Run) -> None:
    (run.path / "end.json").write_text('{"status": "failed"}')


def without_spec(run: Run) -> None:
    (run.path / "spec.json").unlink()


CHANGES: dict[str, tuple[Callable[[Run], object], dict[str, str]]] = {
    "another name": (renamed, {"name": "another"}),
    "another end": (failed, {"state": "failed"}),
    "another end in place": (failed_in_place, {"state": "failed"}),
    "a file that is gone": (without_spec, {"state": "broken"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_behind_the_index_is_seen(name: str, finished: Callable[..., Run]) -> None:
    run, other = finished("mine"), finished("other")
    change, expected = CHANGES[name]
    assert summaries()[run.id]["state"] == "finished"
    change(run)
    found = summaries()
    assert {key: found[run.id][key] for key in expected} == expected  # type: ignore[literal-required]
    assert found[other.id]["name"] == "other"
    delete_run(run)
    assert list(summaries()) == [other.id]


def test_students_change_with_their_runs(finished: Callable[..., Run]) -> None:
    run = finished("mine")
    name = f"mine-{run.id[-8:]}"
    entry = named(name)
    assert entry is not None and entry.identity in identities()
    card = json.loads((run.path / "model.json").read_text())
    write_json(run.path / "model.json", card | {"name": "renamed"})
    assert named(name) is None
    assert find_checkpoint(f"renamed-{run.id[-8:]}").path == run.path / "model.safetensors"
    # Overwritten in place a long while ago, which the folder does not tell: found all the same, by the file itself.
    aged(run)
    student_rows()
    (run.path / "model.json").write_text(json.dumps(card | {"name": "once-more"}))
    os.utime(run.path / "model.json", ns=(OLD_NS + 1,) * 2)
    assert student_rows()[run.id]["students"][0]["name"] == f"renamed-{run.id[-8:]}"
    assert find_checkpoint(f"once-more-{run.id[-8:]}").path == run.path / "model.safetensors"
    with pytest.raises(UserError, match="Unknown checkpoint 'renamed-"):
        find_checkpoint(f"renamed-{run.id[-8:]}")
    discard(run.path)
    assert student_rows() == {} and named(f"once-more-{run.id[-8:]}") is None


def test_the_index_is_kept_for_other_processes_and_can_be_deleted_or_damaged(
    finished: Callable[..., Run], looks: list[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(index, "UNSAVED", 2)
    runs = [finished(f"run{i}") for i in range(3)]
    first = summaries()
    path = summary._index.path
    assert set(recall(path)) == {run.id for run in runs} and path.is_relative_to(home / "cache")

    def anew() -> int:
        """How many runs a process that begins now looks at; it finds the same."""
        looks.clear()
        monkeypatch.setattr(summary._index, "_rows", {})
        assert summaries() == first
        return len(looks)

    assert anew() == 0
    for damage in (b"{", b"[]", b"\xff", b'{"x": 3}', json.dumps({runs[0].id: [1, 2, 3, {"name": 4}]}).encode()):
        path.write_bytes(damage)
        assert anew() == 3
    shutil.rmtree(home / "cache")
    assert anew() == 3 and anew() == 0


def test_a_damaged_row_of_the_index_is_no_row(finished: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished("mine")
    (name,) = folders()
    for row in ([*folders()[name], {"name": 3}], [1], "text", [*folders()[name], None]):
        write_json(summary._index.path, {run.id: row})
        monkeypatch.setattr(summary._index, "_rows", {})
        assert summaries()[run.id]["name"] == "mine"


def test_within_a_page_the_folder_is_looked_at_once(
    finished: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished("mine")
    looked: list[object] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (looked.append(path), scandir(path))[1])
    with looked_once():
        for _ in range(3):
            assert len(summaries()) == 1 == len(student_rows())
        finished("another")
        assert len(summaries()) == 1
    assert looked.count(looked[0]) == 1
    assert len(summaries()) == 2
