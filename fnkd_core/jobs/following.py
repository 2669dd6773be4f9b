"""Training in this process, and writing down how it goes."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fnkd_core.files import write_json
from fnkd_core.jobs.run import Run
from fnkd_core.training.config import RunConfig

Trainer = Callable[[RunConfig, Path], Iterator[Any]]
OnEvent = Callable[[Any], None]


def follow(run: Run, config: RunConfig, trainer: Trainer | None = None, on_event: OnEvent | None = None) -> bool:
    """Train here, and write down how it goes. Whether it has come to its end: else it was cancelled.

    For who owns the run, or the first of the processes that its owner has started.
    """
    cancelled = (run.path / "cancel").exists
    if trainer is None:
        from fnkd_core.training.loop import train

        trainer = functools.partial(train, cancelled=cancelled)
    written = 0.0
    for event in trainer(config, run.path):
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
