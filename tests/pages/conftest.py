"""Fixtures of the tests of pages."""

from __future__ import annotations

import pytest

from fnkd_core.jobs import tasking, tasks
from tests.pages.tools import nothing_extracted, opened

__all__ = ["nothing_extracted", "opened"]


@pytest.fixture(autouse=True)
def tasks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extractions and imports are done in this process and before the page goes on; see `real_tasks`."""

    def done(folder: object, lock: object, command: object) -> None:
        tasking.work(str(folder))

    monkeypatch.setattr(tasks, "detached", done)
