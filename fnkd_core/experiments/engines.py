"""Where the runs of a comparison are made: through this machine's queue, or here and now."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from fnkd_core.experiments.status import CellStatus
from fnkd_core.jobs import worker
from fnkd_core.jobs.control import start, tend
from fnkd_core.jobs.slots import slots
from fnkd_core.training.config import RunConfig

Trainer = Callable[[RunConfig, Path], Iterator[Any]]
OnEvent = Callable[[CellStatus, Any], None]
POLL_S = 0.3


class Engine(Protocol):
    """What makes runs that are ready to be worked on."""

    def room(self) -> int:
        """How many runs it makes at a time."""

    def begin(self, now: CellStatus) -> None:
        """Have this run made."""

    def follow(self, alive: Sequence[CellStatus]) -> None:
        """Return when something may have changed with these, after a while at the latest."""


class InQueue:
    """Through the queue, as many as there are slots at a time. The runs are followed by their folders."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self.on_event = on_event

    def room(self) -> int:
        """As many as there are slots."""
        return len(slots())

    def begin(self, now: CellStatus) -> None:
        """Hand the run to the queue."""
        assert now.run is not None
        start(now.run)

    def follow(self, alive: Sequence[CellStatus]) -> None:
        """Look at their folders, after a pause."""
        tend([status.run for status in alive if status.run is not None])
        time.sleep(POLL_S)
        for status in alive if self.on_event else ():
            now = status.run.progress if status.run is not None else None
            if status.run is not None and now is not None and self.on_event:
                self.on_event(dataclasses.replace(status, state=status.run.state), SimpleNamespace(**now))


class Here:
    """One after another in this process, by another trainer than the usual one."""

    def __init__(self, trainer: Trainer, on_event: OnEvent | None) -> None:
        self.trainer, self.on_event = trainer, on_event

    def room(self) -> int:
        """One."""
        return 1

    def begin(self, now: CellStatus) -> None:
        """Train it, and return when it has ended."""
        assert now.run is not None
        seen = functools.partial(self.on_event, now) if self.on_event else None
        if worker.work(now.run.path, trainer=self.trainer, on_event=seen) == 130:
            raise worker.Interrupted

    def follow(self, alive: Sequence[CellStatus]) -> None:
        """Wait for runs that others work on."""
        time.sleep(POLL_S)
