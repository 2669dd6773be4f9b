"""Starting, cancelling and resuming runs from outside their process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnkd_core.checkpoints.several import names_of
from fnkd_core.errors import UserError, require
from fnkd_core.files import write_json
from fnkd_core.jobs import queue
from fnkd_core.jobs.run import ALIVE, Run, create_run
from fnkd_core.jobs.slots import slots
from fnkd_core.jobs.summary import living, outline, summaries
from fnkd_core.locks import is_locked, locked, locked_for_child
from fnkd_core.paths import environment, home
from fnkd_core.stores.upkeep import delete_teacher_outputs, prune
from fnkd_core.training.recorded import recorded
from fnkd_core.wording import counted

_children: list[subprocess.Popen[bytes]] = []


def submit(config: Mapping[str, Any], command: Sequence[str] = ()) -> Run:
    """Make a run and hand it to the queue: it begins when a slot is free, behind those submitted before."""
    run = create_run(config)
    start(run, command)
    return run


def start(run: Run, command: Sequence[str] = ()) -> None:
    """Hand the run to the queue, and see to it that somebody serves that. Returns at once.

    command: what a dispatcher that is started now runs instead of the worker, followed by the run's folder.
    `UserError` where the run waits already, or a process owns it.
    """
    require(not is_locked(run.lock), f"{run.id} is owned by another process; wait for it.")
    slots()  # what is wrong with their number is said before anything waits for them
    with queue.unchanged():
        queue.hand_in(run)
        _have_dispatcher(command)
    queue.wake()


def tend(runs: Iterable[Run]) -> None:
    """Start the queue's dispatcher where one of these runs waits and none lives, as after the machine was started anew.

    For those that look at runs: what waits goes on as soon as somebody does.
    """
    if any(run.waits for run in runs) and not is_locked(queue.lock()):
        slots()
        with queue.unchanged():
            _have_dispatcher()


def _have_dispatcher(command: Sequence[str] = ()) -> None:
    if not is_locked(queue.lock()):
        detached(queue.folder(), queue.lock(), (sys.executable, "-m", "fnkd_core.jobs.dispatcher", *command))


def detached(folder: Path, lock: Path, command: Sequence[str]) -> None:
    """Start a process on a folder, detached: it outlives this one, and owns the lock before it has run a line.

    Its output goes to `log.txt` there.
    """
    for child in [c for c in _children if c.poll() is not None]:
        _children.remove(child)
    busy = f"{folder.name} is owned by another process; wait for it."
    with locked_for_child(lock, busy) as (descriptor, owning):
        child = spawn(folder, command, owning, (descriptor,))
    _children.append(child)  # kept, so that it is reaped when it ends


def spawn(folder: Path, command: Sequence[str], told: dict[str, str], owned: Sequence[int]) -> subprocess.Popen[bytes]:
    """A process on a folder, in a session of its own. told: variables for it. owned: descriptors of its locks.

    Its output goes to `log.txt` there and not to a pipe: a pipe that nobody empties stops the writer.
    """
    home().mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment() | told | {"PYTHONUNBUFFERED": "1"},
            pass_fds=owned,
            cwd=home(),
        )


def cancel(run: Run) -> None:
    """Ask a run to stop; it does so between two steps and keeps its last finished epoch.

    A run that nobody owns is cancelled here and now. `UserError` where it has ended.
    """
    _require_alive(run)
    try:
        (run.path / "cancel").touch()
    except FileNotFoundError:
        raise UserError(f"Run {run.id} is gone; it was deleted.") from None
    try:
        with locked(run.lock, wait=False):
            # It may have ended while nobody looked: how it ended stands.
            if run.end is None:
                end_run(run, "cancelled")
    except UserError:
        return  # its owner sees the mark


def _require_alive(run: Run) -> None:
    state = run.state
    require(
        state in (*ALIVE, "interrupted"), f"Run {run.id} is {state}; only a run that has not ended can be cancelled."
    )


def end_run(
    run: Run, status: str, error: str | None = None, traceback: str | None = None, kind: str | None = None
) -> None:
    """Write how a run ended; for its owner alone. kind: name of the error's class."""
    write_end(run.path, status, error, traceback, kind)


def write_end(
    folder: Path, status: str, error: str | None = None, traceback: str | None = None, kind: str | None = None
) -> None:
    """Write how the job in this folder ended; for its owner alone. kind: name of the error's class."""
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    end = {"status": status, "error": error, "traceback": traceback, "ended": ended}
    write_json(folder / "end.json", end | ({"kind": kind} if kind else {}))


def reopen(run: Run) -> None:
    """Make a run that was interrupted, cancelled or failed ready to go on from its last finished epoch.

    `UserError` where it is in another state, or owned by a process.
    """
    state = run.state
    require(
        state in ("interrupted", "cancelled", "failed"),
        f"Run {run.id} is {state}; only an interrupted, cancelled or failed run can be resumed.",
    )
    with locked(run.lock, wait=False, busy=f"Run {run.id} is owned by another process; wait for it."):
        for name in ("cancel", "end.json", "started.json", "progress.json", "submitted", "slot.json"):
            (run.path / name).unlink(missing_ok=True)


def resume(run: Run, command: Sequence[str] = ()) -> None:
    """Reopen a run and hand it to the queue."""
    reopen(run)
    start(run, command)


def wait(run: Run, timeout_s: float) -> str:
    """The run's state once its process has ended. `UserError` after the time."""
    end = time.monotonic() + timeout_s
    while run.state in ALIVE:
        tend([run])
        if time.monotonic() > end:
            raise UserError(f"Run {run.id} is still {run.state} after {timeout_s:g} s.")
        time.sleep(0.05)
    return run.state


def prune_stores() -> int:
    """Remove what is left over in the stores, but for what living runs read. The bytes that are free now."""
    return prune(teachers_of_living())


def teachers_of_living() -> set[str]:
    """Identities of the teachers of runs that are under way, also of those that are in no library: one that was given
    by its path, or deleted since."""
    read: set[str] = set()
    for name, one in living(summaries()).items():
        with contextlib.suppress(UserError, OSError):
            resolved = recorded(outline(name, one).run.path) or {}
            read |= set(names_of(resolved.get("identities", {}).get("teacher")))
    return read


def forget_teacher_outputs() -> int:
    """Remove what teachers have said of training images, which is asked again where a run wants it; the bytes that are
    free now. `UserError` while a run is under way or waits, which may read it."""
    alive = list(living(summaries()))
    require(
        not alive,
        f"{counted(len(alive), 'run')} under way or waiting may read what teachers have said "
        f"({', '.join(alive[:3])}); end them first, or let them end.",
    )
    return delete_teacher_outputs()
