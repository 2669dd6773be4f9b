"""Training in this process, and writing down how it goes."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fnkd_core.files import append_json, write_json
from fnkd_core.jobs.run import Run
from fnkd_core.machine import processor
from fnkd_core.training.config import RunConfig
from fnkd_core.training.recorded import recorded

Trainer = Callable[[RunConfig, Path], Iterator[Any]]
OnEvent = Callable[[Any], None]


def follow(run: Run, config: RunConfig, trainer: Trainer | None = None, on_event: OnEvent | None = None) -> bool:
    """Train here, and write down how it goes. Whether it has come to its end: else it was cancelled.

    For who owns the run, or the first of the processes that its owner has started.
    """
    started, cancelled = datetime.now(UTC).isoformat(timespec="seconds"), (run.path / "cancel").exists
    if trainer is None:
        from fnkd_core.training.loop import train

        trainer = functools.partial(train, cancelled=cancelled)
    written, noted = 0.0, False
    for event in trainer(config, run.path):
        if not noted and (run.path / "resolved.json").exists():
            _note_session(run, started)
            noted = True
        values = dataclasses.asdict(event)
        if "eta_s" in values:
            if time.monotonic() - written > 0.4:
                write_json(run.path / "progress.json", values)
                written = time.monotonic()
        else:
            print(_line(values))
        if on_event:
            on_event(event)
        if "last" in values:
            return True
        if cancelled() and "WORLD_SIZE" not in os.environ:  # else all processes end together
            return False
    return not cancelled()


def _note_session(run: Run, started: str) -> None:
    """Threads and the kind of processor decide bits, so that they are kept for each time a run is worked on."""
    torch = sys.modules.get("torch")
    if torch is None:  # nothing was trained
        return
    resolved = recorded(run.path) or {}
    device = resolved.get("device")
    on_card = str(device).startswith("cuda")
    session = {
        "started": started,
        "device": device,
        "processor": torch.cuda.get_device_name(device) if on_card else processor(),
        "precision": resolved.get("precision"),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    append_json(run.path / "sessions.jsonl", session)


def _line(values: dict[str, Any]) -> str:
    """An epoch's metrics, or what the student reached on the test split, in words."""
    if "last" not in values:
        shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in values.items() if v is not None}
        return "  ".join(f"{k} {v}" for k, v in shown.items())
    return "\n".join(
        f"test split, {name.replace('_', ' ')}: epoch {reached['epoch']}, accuracy {reached['accuracy']:.4f}"
        for name, reached in values.items()
        if reached
    )
