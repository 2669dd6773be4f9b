"""The process that owns one run: trains, writes how it ended."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from fnkd_core.errors import UserError, require, sentence
from fnkd_core.files import write_json
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.following import OnEvent, Trainer, follow
from fnkd_core.jobs.run import Run, resuming
from fnkd_core.jobs.slots import slots_if_free
from fnkd_core.locks import locked
from fnkd_core.machine import collect_seldom
from fnkd_core.training.config import RunConfig
from fnkd_core.wording import counted

if TYPE_CHECKING:
    from fnkd_core.jobs.launch.torchrun import Nodes

Together = Callable[[Run, RunConfig], None]


class Interrupted(BaseException):
    """The process was told to end; the run stays as it is and can be resumed."""


def _on_sigterm(_signal: int, _frame: FrameType | None) -> None:
    raise Interrupted


def work(
    path: str | Path,
    *,
    queue: bool = True,
    trainer: Trainer | None = None,
    on_event: OnEvent | None = None,
    nodes: Nodes | None = None,
    engine: Together | None = None,
) -> int:
    """Own the run in this folder until it ends; returns a process exit code.

    queue: the dispatcher has started it, in a slot; else it takes one that is free. on_event: sees each event of a
    training in this process. nodes: the machines that share it. engine: trains it elsewhere, and returns when that has
    ended. 0 finished or cancelled, 1 failed, 2 wrong input, 130 interrupted. `UserError` where another process owns the
    run, it has ended, or it is gone.
    """
    run = Run(Path(path).resolve())
    try:
        with locked(run.lock, wait=False, busy=f"Run {run.id} is owned by another process; wait for it, or cancel it."):
            end = run.end
            require(end is None, f"Run {run.id} has ended: {end and end['status']}; resume it to go on.")
            together = functools.partial(_torchrun, nodes) if nodes else engine
            return _own(run, queue, trainer, on_event, together)
    except FileNotFoundError:
        if run.path.exists():
            raise
        raise UserError(f"Run {run.id} is gone; it was deleted.") from None


def _own(run: Run, queue: bool, trainer: Trainer | None, on_event: OnEvent | None, together: Together | None) -> int:
    with told_to_end():
        try:
            config = RunConfig.from_dict(run.config)
            if (run.path / "cancel").exists():
                end_run(run, "cancelled")
                return 0
            with contextlib.nullcontext() if queue else slots_if_free(config.devices, config.device):
                return _train(run, config, trainer, on_event, together)
        except (Interrupted, KeyboardInterrupt):
            print(f"Interrupted; the last finished epoch is kept: {resuming(run.path)} goes on from it.")
            return 130
        except Exception as error:
            said, text = sentence(error), traceback.format_exc()
            if said is None:
                end_run(run, "failed", f"{type(error).__name__}: {error}", text, type(error).__name__)
                print(text)
                return 1
            end_run(run, "failed", error=said, kind=type(error).__name__)
            if queue:  # else it is said to who waits for it
                print(said)
            return 2


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """SIGTERM ends the block by `Interrupted`. Only a process's main thread can be told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _train(
    run: Run, config: RunConfig, trainer: Trainer | None, on_event: OnEvent | None, together: Together | None
) -> int:
    # The number is for people; the lock is the sign of life.
    started = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(run.path / "started.json", {"started": started, "pid": os.getpid()})
    print(f"{run.id}: {config.method} of {config.student} on {config.dataset}, {counted(config.epochs, 'epoch')}")
    if trainer is None and (config.devices > 1 or together is not None):
        (together or functools.partial(_torchrun, None))(run, config)
        finished = run.results != {}
    else:
        finished = follow(run, config, trainer, on_event)
    end_run(run, "finished" if finished else "cancelled")
    print("Finished." if finished else "Cancelled.")
    return 0


def _torchrun(nodes: Nodes | None, run: Run, config: RunConfig) -> None:
    from fnkd_core.jobs.launch.torchrun import Nodes, train_together

    train_together(run, config.devices, nodes or Nodes())


if __name__ == "__main__":
    collect_seldom()
    try:
        sys.exit(work(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
