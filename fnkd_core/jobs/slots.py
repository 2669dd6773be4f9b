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

from fnkd_core.errors import UserError
from fnkd_core.locks import is_locked, locked_if_free
from fnkd_core.machine import CORES, cores, told_number
from fnkd_core.paths import cache_dir

DEVICE = "FNKD_DEVICE"
"""The variable that tells a run its device, such as cuda:1, where its setting leaves open which."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
PROCESSOR = "processor"
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_ASK = """
import ctypes, sys, uuid
driver, n, device, name = ctypes.CDLL(sys.argv[1]), ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(16)
named = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid  # the older one of a part names the whole
if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(n)) == 0:
    for i in range(n.value):
        assert driver.cuDeviceGet(ctypes.byref(device), i) == 0 and named(name, device) == 0
        print(uuid.UUID(bytes=name.raw))
"""


@dataclass(frozen=True)
class Slot:
    """A place for one run. device: what the run in it is told, or None to let it find its own. of: what it is a place
    on, by a name that is the same for whoever asks: a GPU's own, since its number depends on which ones are visible.
    """

    number: int
    device: str | None
    of: str = f"{PROCESSOR}-0"

    @property
    def lock(self) -> Path:
        """Owned by the run in it. A home that machines share has slots of each."""
        folder = cache_dir() / "slots"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / re.sub("[^A-Za-z0-9.-]", "-", f"{platform.node()}-{self.of}")


def slots() -> list[Slot]:
    """Those of this machine. `UserError` where `FNKD_SLOTS` is no number of them."""
    given = os.environ.get(DEVICE)
    there = gpus()
    names: dict[str | None, str] = {f"cuda:{i}": name for i, name in enumerate(there)}
    names["cuda"] = names.get("cuda:0", "cuda")
    devices: list[str | None] = [given] if given else [f"cuda:{i}" for i in range(len(there))] or [None]

    def slot(i: int) -> Slot:
        turn, place = divmod(i, len(devices))
        return Slot(i, devices[place], f"{names.get(devices[place], PROCESSOR)}-{turn}")

    return [slot(i) for i in range(told_number("FNKD_SLOTS") or len(devices))]


def gpus() -> Sequence[str]:
    """The GPUs that a process which is started now may use, in its order, by the names that their driver has for them;
    none without one."""
    return _named(os.environ.get(VISIBLE))


@functools.lru_cache(maxsize=8)
def _named(_visible: str | None) -> Sequence[str]:
    try:
        ctypes.CDLL(_DRIVER)
        # In a process of its own: who has asked the driver cannot be forked any more.
        command = [sys.executable, "-I", "-c", _ASK, _DRIVER]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ()


def environment_in(taken: Sequence[Slot], num_slots: int) -> dict[str, str]:
    """What to tell a process that runs in these slots: its devices, and the share of the processors that each has."""
    told = devices_of(taken)
    if num_slots > 1:
        share = max(1, cores() // num_slots)
        own = os.environ.get("OMP_NUM_THREADS", "")
        told["OMP_NUM_THREADS"] = str(min(share, int(own)) if own.isdecimal() and int(own) else share)
        told[CORES] = str(share)
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


def fitting(free: Sequence[Slot], device: str) -> list[Slot]:
    """Those of them that a run may take whose setting of its device is this one: of a certain GPU, where it names one
    that has slots here."""
    named = {slot.device for slot in _slots_or_none()} & {device}
    return [slot for slot in free if not named or slot.device == device]


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
def slots_if_free(count: int = 1, device: str = "auto") -> Iterator[list[Slot]]:
    """Hold so many slots as far as they are free, so that what is submitted later waits for them; go on without else.

    device: a run's setting. This process is told their devices for as long as the block runs, where it has all of them.
    """
    with contextlib.ExitStack() as held:
        mine: list[Slot] = []
        for slot in fitting(in_turn(_slots_or_none()), device):
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
