"""What the tests of several pages share."""

from __future__ import annotations

import pytest

from fnkd_core.experiments.engines import Here
from fnkd_core.training.loop import train


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has comparisons train here, one run after another, instead of in a process each."""
    monkeypatch.setattr("fnkd_core.experiments.comparison.InQueue", lambda on_event: Here(train, on_event))
