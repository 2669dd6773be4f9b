"""The slots of this machine: a run at a time in each, one for each GPU, else one, or `FNKD_SLOTS` of them. No torch."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fnkd_core.errors import UserError, require
from fnkd_core.locks import is_locked, locked_if_free
from fnkd_core.machine import cores
from fnkd_core.paths import cache_dir

DEVICE = "FNKD_DEVICE"
"""The variable that tells a run its device, such as cuda:1, where its setting leaves open which."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
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
    return _counted(os.environ.get(VISIBLE))


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


def environment_in(taken: Sequence[Slot], num_slots: int) -> dict[str, str]:
    """What to tell a process that runs in these slots: its devices, and the share of the processors that each has."""
    told = devices_of(taken)
    if num_slots > 1:
        share = max(1, cores() // num_slots)
        own = os.environ.get("OMP_NUM_THREADS", "")
        told["OMP_NUM_THREADS"] = str(min(share, int(own)) if own.isdecimal() and int(own) else share)
    return told


def devices_of(taken: Sequence[Slot]) -> dict[str, str]:
    """The variables that say the devices of these slots: of several GPUs they are all that a process sees."""
    devices = list(dict.fromkeys(slot.device for slot in taken if slot.device))
    if len(devices) < 2:
        return {DEVICE: devices[0]} if devices else {}
    seen = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    numbers = [int(device.partition(":")[2]) for device in devices]
    return {VISIBLE: ",".join(seen[number] if seen else str(number) for number in numbers)}


def wanted_by(devices: int) -> int:
    """How many slots a run on so many devices takes: one each, as far as there are any. `UserError` as `slots`."""
    return max(1, min(devices, len(slots())))


def in_turn(free: Sequence[Slot]) -> list[Slot]:
    """Free slots in the order in which they are taken: first one of each device."""
    met: Counter[str | None] = Counter()
    turns: dict[Slot, int] = {}
    for slot in free:
        turns[slot] = met[slot.device]
        met[slot.device] += 1
    return sorted(free, key=lambda slot: (turns[slot], slot.number))


def pace() -> str:
    """How many runs of many are at work at a time here, in words."""
    count = len(_slots_or_none())
    return f"{count} at a time" if count > 1 else "one after another"


def rounds(num_runs: int) -> int:
    """How many turns so many runs are, each as long as a run: those of several GPUs go on beside each other. Slots of
    one processor share it, so that their runs take as long as one after another."""
    gpus = {slot.device for slot in _slots_or_none() if str(slot.device).startswith("cuda")}
    return math.ceil(num_runs / max(1, len(gpus)))


def free_slots() -> list[Slot]:
    """Those in which nothing runs now."""
    return [slot for slot in slots() if not is_locked(slot.lock)]


@contextlib.contextmanager
def slots_if_free(count: int = 1) -> Iterator[list[Slot]]:
    """Hold so many slots as far as they are free, so that what is submitted later waits for them; go on without else.

    This process is told their devices for as long as the block runs, where it has all of them.
    """
    with contextlib.ExitStack() as held:
        mine: list[Slot] = []
        for slot in in_turn(_slots_or_none()):
            if len(mine) < count and held.enter_context(locked_if_free(slot.lock)):
                mine.append(slot)
        held.enter_context(_told(devices_of(mine) if len(mine) == count else {}))
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
