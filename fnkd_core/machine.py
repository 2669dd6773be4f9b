"""What this machine gives this process, and how the process uses it. No torch."""

from __future__ import annotations

import atexit
import functools
import gc
import os
import platform
from pathlib import Path

from fnkd_core.errors import require

CORES = "FNKD_CORES"
"""The variable that tells a process how many cores it may count on, where others of ours have the rest."""


def cores() -> int:
    """How many processor cores this process may count on: what `FNKD_CORES` says, else its share of those that it may
    use among the processes of `torch.distributed` on this machine. `UserError` as `told_number`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return told_number(CORES) or max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def told_number(variable: str) -> int | None:
    """The number >= 1 that this variable of the environment says, None where it is not set. `UserError` for another."""
    text = os.environ.get(variable, "")
    require(not text or (text.isdecimal() and int(text) > 0), f"{variable} must be a whole number >= 1, got {text!r}.")
    return int(text) if text else None


@functools.cache
def processor() -> str:
    """The kind of processor, by its name; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor()


@functools.cache
def collect_seldom() -> None:
    """Have the garbage collector pass less often over this process, and not over all of it at its end.

    For a process of ours, before it imports torch: that makes some hundred thousand objects which stay, and a
    collector that goes through them again and again takes a fifth of the import's time. All of it is still passed over
    after 660,000 new objects, as what a server lets go of in a circle is freed by nothing else.
    """
    gc.set_threshold(20_000, 10, 2)
    atexit.register(gc.freeze)
