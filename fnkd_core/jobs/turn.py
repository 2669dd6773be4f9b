"""Whose turn it is on the device of this machine: one run at a time, in the order they were submitted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fnkd_core.jobs.run import Run, list_runs
from fnkd_core.locks import locked, locked_if_free
from fnkd_core.paths import cache_dir

POLL_S = 0.3


def _lock() -> Path:
    cache_dir().mkdir(parents=True, exist_ok=True)
    return cache_dir() / "turn.lock"


def hand_in(run: Run) -> None:
    """Give the run its place in the queue, behind all that were handed in before, whatever the clock has done since.

    `FileNotFoundError` where the run has been deleted.
    """
    with locked(_lock().with_name("queue.lock")):
        last = max((other.place[0] for other in list_runs()), default=0)
        # Written as it is: what makes folders where there are none would bring a deleted run back.
        (run.path / "submitted").write_text(str(last + 1))


def _first(run: Run) -> bool:
    """Whether no run that was submitted earlier waits for its turn."""
    mine = run.place
    waiting = (r for r in list_runs() if r.id != run.id and not (r.path / "end.json").exists() and r.place < mine)
    return not any(other.state == "queued" for other in waiting)


@contextlib.contextmanager
def turn(run: Run, given_up: Callable[[], bool]) -> Iterator[bool]:
    """Hold the device for as long as the block runs; False, without it, once `given_up` says so.

    The lock decides; the order of those that wait follows from when they were submitted.
    """
    while not given_up():
        if _first(run):
            with locked_if_free(_lock()) as mine:
                if mine:
                    yield True
                    return
        time.sleep(POLL_S)
    yield False


def turn_if_free() -> contextlib.AbstractContextManager[bool]:
    """Hold the device if nobody does, so that what is submitted later waits; go on without it otherwise."""
    return locked_if_free(_lock())
