"""A comparison's cells on a cluster that trains several of them at a time, wherever there is room."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from fnkd_core.data import look_again
from fnkd_core.errors import UserError
from fnkd_core.experiments.plan import Cell
from fnkd_core.experiments.status import CellStatus, statuses_of, with_teacher
from fnkd_core.jobs.control import cancel, reopen
from fnkd_core.jobs.run import ALIVE, Run, new_id
from fnkd_core.jobs.words import share_of
from fnkd_core.paths import runs_dir
from fnkd_core.training.config import RunConfig

LOOK_S = 1.0
"""So long one waits for a training to end before looking whether the comparison is to stop."""
OTHERS_S = 5.0
"""So often one looks how runs fare that somebody else has started."""


class Cluster(Protocol):
    """What trains runs somewhere."""

    def start(self, path: Path, config: RunConfig, comparison: Path) -> None:
        """Have a run trained in the folder `path`, which is made there where it is missing. Returns at once."""

    def ended(self, timeout_s: float) -> list[tuple[Path, str | None]]:
        """The folders whose training has ended since the last time, each with what went wrong around it, or None.

        Waits for at most so long for one.
        """

    def drop(self, path: Path) -> None:
        """Do not begin with this folder if that has not been done yet."""


def spread(
    comparison: Path, cells: Sequence[Cell], cluster: Cluster, on_look: Callable[[float], None] | None = None
) -> list[str]:
    """Have every run of the comparison in this folder, each as soon as its teacher has been trained.

    What is finished is skipped, what was stopped or failed goes on. on_look: sees how many runs are done, parts of one
    among them, each time one looks. Returns a line for each run that was lost on the way. For the comparison's owner.
    """
    asked: dict[Path, int] = {}
    tried: set[int] = set()
    lost: list[str] = []
    found, looked = _statuses(cells), time.monotonic()
    while True:
        stopping = (comparison / "cancel").exists()
        if stopping:
            _stop(asked, cluster)
        for i, config in [] if stopping else _to_begin(found, tried):
            tried.add(i)
            try:
                path = _folder(found[i], config)
            except UserError as error:  # somebody took it meanwhile
                lost.append(_line(cells[i], str(error)))
                continue
            asked[path] = i
            cluster.start(path, config, comparison)
        others = not stopping and any(s.state in ALIVE and i not in tried for i, s in enumerate(found))
        if not asked and not others:
            return lost
        ended = _ended(cluster, asked)
        lost += [_line(cells[i], problem) for i, problem in ended if problem is not None]
        if ended or (others and time.monotonic() - looked > OTHERS_S):
            found, looked = _statuses(cells), time.monotonic()
        if on_look:
            on_look(sum(s.state == "finished" for s in found) + sum(map(_share, asked)))


def _statuses(cells: Sequence[Cell]) -> list[CellStatus]:
    look_again()
    return statuses_of(cells)


def _to_begin(found: Sequence[CellStatus], tried: set[int]) -> Iterable[tuple[int, RunConfig]]:
    """The cells that can be begun now, each with what is to be trained."""
    for i, status in enumerate(found):
        config = with_teacher(status.cell, found)
        if config is not None and i not in tried and status.state not in ("finished", *ALIVE):
            yield i, config


def _folder(status: CellStatus, config: RunConfig) -> Path:
    """Where the cell's run is, ready to be worked on: that of the run that was stopped or failed, else a new one."""
    if status.run is None or status.state == "broken":
        return runs_dir() / new_id(config.method)
    reopen(status.run)
    return status.run.path


def _ended(cluster: Cluster, asked: dict[Path, int]) -> list[tuple[int, str | None]]:
    """The cells whose run has ended, taken from `asked`."""
    if not asked:
        time.sleep(LOOK_S)
        return []
    return [(asked.pop(path), problem) for path, problem in cluster.ended(LOOK_S)]


def _stop(asked: Iterable[Path], cluster: Cluster) -> None:
    """Ask the runs that are worked on to stop after their step, and have no other begun."""
    for run in map(Run, asked):
        try:
            if run.state in ALIVE:
                cancel(run)
            else:
                cluster.drop(run.path)
        except UserError:
            continue  # it has ended meanwhile


def _share(path: Path) -> float:
    """The share of its epochs that a run has done."""
    at = Run(path).progress
    return share_of(at) if at else 0.0


def _line(cell: Cell, problem: str) -> str:
    return f"{cell.row}, seed {cell.seed}: {problem}"
