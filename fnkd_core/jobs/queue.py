"""The runs that wait for a slot, in the order in which they were handed in. Waiting costs no process.

A run waits where its folder says so: it has a place, and no process has been given to it. The folder of the queue in
the cache holds what can be lost at any time:

lock   owned by the dispatcher, which starts the runs
turn   owned by whoever hands in or ends the dispatcher, so that no run is handed to one that is leaving
last   the last place that was given
wake   a pipe on which the dispatcher sleeps
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from fnkd_core.errors import require
from fnkd_core.files import write_text
from fnkd_core.jobs.run import Run, list_runs
from fnkd_core.locks import locked
from fnkd_core.paths import cache_dir


def folder() -> Path:
    """The queue's own folder, made where it is missing."""
    path = cache_dir() / "queue"
    path.mkdir(parents=True, exist_ok=True)
    return path


def lock() -> Path:
    """What the dispatcher owns."""
    return folder() / "lock"


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Nothing is handed in, and no dispatcher comes or leaves, for as long as the block runs."""
    with locked(folder() / "turn"):
        yield


def hand_in(run: Run) -> None:
    """Give the run its place in the queue, behind all that were handed in before, whatever the clock has done since.

    Within `unchanged`. `UserError` where it waits already, `FileNotFoundError` where it has been deleted.
    """
    require(not run.waits, f"Run {run.id} waits in the queue already.")
    last = folder() / "last"
    try:
        before = int(last.read_text())
    except (OSError, ValueError):
        before = max((other.place[0] for other in list_runs()), default=0)
    # Written as it is: what makes folders where there are none would bring a deleted run back.
    (run.path / "submitted").write_text(str(before + 1))
    write_text(last, str(before + 1))


def waiting() -> list[Run]:
    """Those that wait, the first one first."""
    return sorted((run for run in list_runs() if run.waits), key=lambda run: run.place)


def wake() -> None:
    """Have the dispatcher look now; it does so by itself a little later."""
    with contextlib.suppress(OSError):  # it has left, or has no pipe
        pipe = os.open(folder() / "wake", os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(pipe, b".")
        finally:
            os.close(pipe)
