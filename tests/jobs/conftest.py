"""Fixtures of the tests of jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# A worker with another trainer than the real one, so that a test decides what happens. It goes on when it is told to.
SCRIPT = """
import sys, time, dataclasses, pathlib
from fnkd_core.jobs.worker import work

@dataclasses.dataclass
class Line:
    epoch: int
    evaluated_on: str = "validation"
    accuracy: float = 0.5

def told(path):
    for _ in range(20000):  # a test that forgets it is ended by its own patience
        if path.exists():
            return
        time.sleep(0.01)

def trainer(config, folder):
    {body}

sys.exit(work(sys.argv[1], trainer=trainer))
"""


@pytest.fixture
def worker(tmp_path: Path) -> Callable[[str], list[str]]:
    def make(body: str) -> list[str]:
        path = tmp_path / f"worker{len(list(tmp_path.glob('worker*')))}.py"
        path.write_text(SCRIPT.format(body=body))
        return [sys.executable, str(path)]

    return make
