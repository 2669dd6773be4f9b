"""The process that owns one run: waits its turn, trains, writes how it ended."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from fnkd_core.errors import UserError, require
from fnkd_core.files import write_json
from fnkd_core.jobs import locks
from fnkd_core.jobs.control import end_run
from fnkd_core.jobs.run import ALIVE, Run, list_runs
from fnkd_core.training.config import RunConfig

Trainer = Callable[[RunConfig, Path], Iterator[Any]]
POLL_S = 0.3


class Interrupted(BaseException):
    """The process was told to end; the run stays as it is and can be resumed."""


def _on_sigterm(_signal: int, _frame: FrameType | None) -> None:
    raise Interrupted


def work(
    path: str | Path,
    *,
    queue: bool = True,
    trainer: Trainer | None = None,
    on_event: Callable[[Any], None] | None = None,
) -> int:
    """Own the run in this folder until it ends; returns a process exit code.

    queue: wait for older runs first, so that jobs go one after another. on_event: sees each event of the
    training. 0 finished or cancelled, 1 failed, 2 wrong input, 130 interrupted.
    """
    run = Run(Path(path).resolve())
    lock = run.path / "lock"
    require(locks.acquire(lock), f"Run {run.id} is owned by another process; wait for it, or cancel it.")
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        config = RunConfig.from_dict(run.config)
        while queue and _others_first(run):
            if (run.path / "cancel").exists():
                end_run(run, "cancelled")
                return 0
            time.sleep(POLL_S)
        # The number is for people; the lock is the sign of life.
        started = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(run.path / "started.json", {"started": started, "pid": os.getpid()})
        if trainer is None:
            from fnkd_core.training.loop import train

            trainer = train
        return _train(run, config, trainer, on_event)
    except (Interrupted, KeyboardInterrupt):
        print("Interrupted; the last finished epoch is kept and the run can be resumed.")
        return 130
    except UserError as error:
        end_run(run, "failed", error=str(error))
        print(error)
        return 2
    except Exception as error:
        text = traceback.format_exc()
        end_run(run, "failed", error=f"{type(error).__name__}: {error}", traceback=text)
        print(text)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
        locks.release(lock)


def _train(run: Run, config: RunConfig, trainer: Trainer, on_event: Callable[[Any], None] | None) -> int:
    written = 0.0
    print(f"{run.id}: {config.method} of {config.student} on {config.dataset}, {config.epochs} epochs")
    for event in trainer(config, run.path):
        values = dataclasses.asdict(event)
        if "eta_s" in values:
            if time.monotonic() - written > 0.4:
                write_json(run.path / "progress.json", values)
                written = time.monotonic()
        else:
            print("  ".join(f"{k} {v:.4g}" for k, v in values.items() if v is not None))
        if on_event:
            on_event(event)
        if (run.path / "cancel").exists():
            end_run(run, "cancelled")
            print("Cancelled.")
            return 0
    end_run(run, "finished")
    print("Finished.")
    return 0


def _others_first(run: Run) -> bool:
    """Whether an older run is waiting or any other is at work."""
    for other in list_runs():
        if other.id == run.id:
            continue
        state = other.state
        if state in ("running", "cancelling") or (state in ALIVE and other.id < run.id):
            return True
    return False


if __name__ == "__main__":
    try:
        sys.exit(work(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
