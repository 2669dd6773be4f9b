"""A page that needs a store has it made by a job, shows how far that is, and goes on by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from fnkd_core.checkpoints.io import read_state
from fnkd_core.checkpoints.library import Entry, find_checkpoint
from fnkd_core.data import DatasetInfo, dataset_info
from fnkd_core.jobs import control, tasks
from fnkd_core.jobs.tasks import Task, extraction_of, list_imports
from fnkd_core.stores.extract import extract
from fnkd_core.stores.store import open_store
from tests.pages.tools import labelled, press, sentences
from tests.tools import copy_checkpoint
from tests.waiting import until

Wanted = tuple[Entry, DatasetInfo, str]
CHOSEN = {"teacher": "digits-teacher", "student": "none"}


@pytest.fixture
def wanted(nothing_extracted: None, tasks_at_once: None, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """What the page will want; tasks are real processes again."""
    monkeypatch.setattr(tasks, "detached", control.detached)
    return find_checkpoint("digits-teacher"), dataset_info("digits"), "test"


def over(task: Task) -> bool:
    return task.state not in ("running", "cancelling")


def buttons(app: AppTest) -> set[str]:
    return {button.label for button in app.main.button}


def test_a_page_shows_the_job_can_stop_it_and_goes_on_when_the_store_is_there(
    opened: Callable[..., AppTest], wanted: Wanted
) -> None:
    mine = extract(*wanted)  # which has the only piece, so that the job waits for it
    next(mine)
    app = opened("norms", **CHOSEN)
    task = extraction_of(*wanted)
    assert task.state == "running" and not app.exception
    assert "It goes on when you leave this page." in sentences(app)
    assert "Distribution of" not in sentences(app) and "Cancel" in buttons(app)
    app.switch_page("pages/runs.py").run()
    assert task.state == "running"
    app.switch_page("pages/norms.py").run()
    until((task.path / "room").exists)
    press(app, "Cancel")
    until(lambda: over(task))
    app.run()
    assert "Cancelled." in sentences(app) and "Go on" in buttons(app) and open_store(*wanted) is None
    press(app, "Go on")
    assert task.state == "running"
    mine.close()
    until(lambda: over(task))
    app.run()
    assert not app.exception and not app.error
    assert "Distribution of" in sentences(app)


def test_models_of_the_same_weights_wait_for_one_job_with_one_button(
    opened: Callable[..., AppTest], wanted: Wanted, home: Path
) -> None:
    copy_checkpoint(home, "digits-teacher", "twin")
    mine = extract(*wanted)
    next(mine)
    app = opened("norms", teacher="digits-teacher", student="twin")
    assert not app.exception and [button.label for button in app.main.button].count("Cancel") == 1
    press(app, "Cancel")
    until(lambda: over(extraction_of(*wanted)))
    mine.close()


def test_a_job_that_was_killed_is_said_with_a_way_on(opened: Callable[..., AppTest], wanted: Wanted) -> None:
    mine = extract(*wanted)
    next(mine)
    app = opened("norms", **CHOSEN)
    control._children[-1].kill()
    control._children[-1].wait()
    app.run()
    assert "ended without a word; free some memory and disk, and try again." in sentences(app)
    assert "0 of 360 images" in sentences(app)
    mine.close()
    press(app, "Try again")
    task = extraction_of(*wanted)
    until(lambda: over(task))
    app.run()
    assert "Distribution of" in sentences(app) and not app.exception


def test_a_job_that_failed_says_its_sentence_until_it_is_tried_again(
    opened: Callable[..., AppTest], wanted: Wanted, home: Path
) -> None:
    tasks.start_extraction(*wanted)
    control._children[-1].kill()
    control._children[-1].wait()
    task = extraction_of(*wanted)
    tasks.end_task(task, "failed", "The disk is full: it has no room; free some space there, then try again.")
    app = opened("overview", **CHOSEN)
    assert [error.value for error in app.error] == [
        "The disk is full: it has no room; free some space there, then try again."
    ]
    assert "Import a checkpoint" in sentences(app), "the rest of the page is there"
    press(app, "Try again")
    until(lambda: over(task))
    app.run()
    assert not app.error and not app.exception and open_store(*wanted) is not None


def test_an_import_goes_on_without_the_page_and_is_shown_to_who_comes_later(
    opened: Callable[..., AppTest], wanted: Wanted, tmp_path: Path
) -> None:
    torch.save(read_state(find_checkpoint("digits-ce").path), tmp_path / "theirs.pth")
    app = opened("overview", **CHOSEN)
    labelled(app.text_input, "Path of the file").set_value(str(tmp_path / "theirs.pth"))  # type: ignore[attr-defined]
    press(app, "Import")
    (task,) = list_imports()
    assert not app.exception and "Cancel" in buttons(app)
    until(lambda: over(task))
    assert task.state == "finished", task.end
    until(lambda: open_store(*wanted))
    other = opened("overview", **CHOSEN)
    assert "**theirs** is in the library." in sentences(other) and not other.exception
    press(other, "Dismiss")
    assert list_imports() == [] and "is in the library" not in sentences(other)
