"""What this machine gives this process, and how the process uses it. No torch."""

from __future__ import annotations

import atexit
import functools
import gc
import os
import platform
from pathlib import Path


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
