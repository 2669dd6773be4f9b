"""The slots of this machine: a run at a time in each, one for each GPU, else one, or `FNKD_SLOTS` of them. No torch."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fnkd_core.errors import UserError, require
from fnkd_core.locks import is_locked, locked_if_free
from fnkd_core.machine import cores
from fnkd_core.paths import cache_dir

DEVICE = "FNKD_DEVICE"
"""The variable that tells a run its device, such as cuda:1, where its setting leaves open which."""
_COUNT = "import ctypes\nc, n = ctypes.CDLL({library!r}), ctypes.c_int()\n"
_COUNT += "print(n.value if c.cuInit(0) == 0 and c.cuDeviceGetCount(ctypes.byref(n)) == 0 else 0)"


@dataclass(frozen=True)
class Slot:
    """A place for one run. device: what the run in it is told, or None to let it find its own."""

    number: int
    device: str | None

    @property
    def lock(self) -> Path:
        """Owned by the run in it. A home that machines share has slots of each."""
        folder = cache_dir() / "slots"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{re.sub('[^A-Za-z0-9.-]', '-', platform.node())}-{self.number}"


def slots() -> list[Slot]:
    """Those of this machine. `UserError` where `FNKD_SLOTS` is no number of them."""
    text = os.environ.get("FNKD_SLOTS", "")
    require(not text or (text.isdecimal() and int(text) > 0), f"FNKD_SLOTS must be a whole number >= 1, got {text!r}.")
    given = os.environ.get(DEVICE)
    gpus: list[str | None] = [f"cuda:{i}" for i in range(num_gpus())]
    devices = [given] if given else gpus or [None]
    return [Slot(i, devices[i % len(devices)]) for i in range(int(text) if text else len(devices))]


def num_gpus() -> int:
    """How many GPUs a process that is started now may use, as their driver counts them: 0 without one."""
    return _counted(os.environ.get("CUDA_VISIBLE_DEVICES"))


@functools.lru_cache(maxsize=8)
def _counted(_visible: str | None) -> int:
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
        # In a process of its own: who has asked the driver cannot be forked any more.
        command = [sys.executable, "-I", "-c", _COUNT.format(library=library)]
        return int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def environment_in(slot: Slot, num_slots: int) -> dict[str, str]:
    """What to tell a process that runs in this slot: its device, and its share of the processors for torch."""
    told = {DEVICE: slot.device} if slot.device else {}
    if num_slots > 1:
        share = max(1, cores() // num_slots)
        own = os.environ.get("OMP_NUM_THREADS", "")
        told["OMP_NUM_THREADS"] = str(min(share, int(own)) if own.isdecimal() and int(own) else share)
    return told


def pace() -> str:
    """How many runs of many are at work at a time here, in words."""
    count = len(_slots_or_none())
    return f"{count} at a time" if count > 1 else "one after another"


def free_slots() -> list[Slot]:
    """Those in which nothing runs now."""
    return [slot for slot in slots() if not is_locked(slot.lock)]


@contextlib.contextmanager
def slot_if_free() -> Iterator[Slot | None]:
    """Hold a slot if one is free, so that what is submitted later waits for it; go on without one otherwise.

    This process is told the slot's device for as long as the block runs.
    """
    with contextlib.ExitStack() as held:
        mine = next((slot for slot in _slots_or_none() if held.enter_context(locked_if_free(slot.lock))), None)
        if mine is not None:
            held.enter_context(_told({DEVICE: mine.device} if mine.device else {}))
        yield mine


def _slots_or_none() -> list[Slot]:
    try:
        return slots()
    except UserError:
        return []


@contextlib.contextmanager
def _told(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
