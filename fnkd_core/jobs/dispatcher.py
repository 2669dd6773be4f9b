"""The process that gives runs to slots: one at most, started by whoever hands a run in, ended when nothing is left.

It starts a process for the run that waits longest as soon as a slot is free, and sleeps in between. Its end ends no
run: each is owned by its own process, and those that wait go on waiting until somebody starts it again.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from fnkd_core.errors import UserError, sentence
from fnkd_core.files import stamp, write_json
from fnkd_core.jobs import queue
from fnkd_core.jobs.control import end_run, spawn
from fnkd_core.jobs.run import Run
from fnkd_core.jobs.slots import Slot, environment_in, fitting, free_slots, in_turn, slots, wanted_by
from fnkd_core.locks import locked, locked_for_child
from fnkd_core.machine import collect_seldom

LOOK_S = 1.0
"""It looks so often at what cannot wake it: slots of others, and runs that were cancelled."""
WORKER = (sys.executable, "-m", "fnkd_core.jobs.worker")


class Dispatcher:
    """command: what to run for each run instead of the worker, followed by its folder."""

    def __init__(self, command: Sequence[str] = ()) -> None:
        self.command = tuple(command) or WORKER
        self.waiting: list[Run] = []
        self.at_work: set[subprocess.Popen[bytes]] = set()
        self.seen: object = None

    def serve(self) -> None:
        """Own the queue, and start what waits until nothing waits and all that was started has ended.

        `UserError` where another dispatcher owns it.
        """
        pipe = _pipe()
        with contextlib.ExitStack() as owned:
            owned.enter_context(locked(queue.lock(), wait=False, busy="There is a dispatcher already."))
            while True:
                self.look()
                if not self.waiting and not self.at_work:
                    with queue.unchanged():
                        self.look()
                        if not self.waiting:
                            owned.close()  # within the block: who hands in after it finds no dispatcher
                            return
                _sleep(pipe)

    def look(self) -> None:
        """Read the queue, if it has changed, and start what there are slots for."""
        self.at_work = {child for child in self.at_work if child.poll() is None}
        now = stamp(queue.folder() / "last")
        if now is None or now != self.seen:
            self.seen, self.waiting = now, queue.waiting()
        free = in_turn(free_slots()) if self.waiting else []
        if not free:
            return
        for run in self.waiting:
            if not run.waits:
                continue
            (wanted, device), taken = _wanted(run), dict[Slot, int]()
            with contextlib.ExitStack() as held:
                for slot in fitting(free, device):
                    if len(taken) == wanted:
                        break
                    free.remove(slot)
                    with contextlib.suppress(UserError):  # somebody's by now
                        taken[slot] = held.enter_context(locked_for_child(slot.lock))[0]
                if len(taken) < wanted:
                    break  # who came later waits behind it
                if not self.start(run, taken):
                    free = [*taken, *free]
        self.waiting = [run for run in self.waiting if run.waits]

    def start(self, run: Run, taken: Mapping[Slot, int]) -> bool:
        """Start the run's process, which owns the run and its slots before it has run a line; whether it did.

        taken: each slot, and the descriptor by which it is owned.
        """
        try:
            with locked_for_child(run.lock) as (descriptor, owning):
                if not run.waits:  # cancelled, or somebody else's by now
                    return False
                names = {"numbers": [slot.number for slot in taken], "devices": [slot.device for slot in taken]}
                write_json(run.path / "slot.json", names)
                told = owning | environment_in([*taken], len(slots()))
                child = spawn(run.path, self.command, told, (descriptor, *taken.values()))
        except (UserError, FileNotFoundError):
            return False  # owned by somebody, or deleted; with a full disk it goes on waiting
        except OSError as error:
            with contextlib.suppress(UserError, OSError):
                end_run(run, "failed", error=f"Its process could not be started: {sentence(error) or error}")
            return False
        self.at_work.add(child)
        threading.Thread(target=_wake_at_end, args=(child,), daemon=True).start()
        return True


def _wanted(run: Run) -> tuple[int, str]:
    """How many slots it takes, and its device's setting."""
    try:
        config = run.config
    except (UserError, OSError):
        config = {}  # what is wrong with it, its own process says
    devices = config.get("devices", 1)
    return wanted_by(devices if isinstance(devices, int) else 1), str(config.get("device", "auto"))


def _wake_at_end(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    queue.wake()


def _pipe() -> int | None:
    """What `queue.wake` writes to, or None where the disk has no pipes."""
    path = queue.folder() / "wake"
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None


def _sleep(pipe: int | None) -> None:
    if select.select([pipe] if pipe is not None else [], [], [], LOOK_S)[0]:
        assert pipe is not None
        with contextlib.suppress(BlockingIOError):
            os.read(pipe, 4096)


def main(arguments: Sequence[str]) -> int:
    """Start what waits in the queue, for as long as something does."""
    *command, _ = arguments  # the last one is the queue's folder
    Dispatcher(command).serve()
    return 0


if __name__ == "__main__":
    collect_seldom()
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
