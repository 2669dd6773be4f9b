"""Processes that are killed while they work, and begun anew until each has come to the end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable


def killed_at_random(
    work: Callable[[float | None], None],
    processes: int,
    kills: int,
    between: tuple[float, float],
    seed: int,
    look: Callable[[], object] = lambda: None,
) -> int:
    """Have so many processes do the work beside each other, and return how many were killed.

    work is given when it is to be killed, drawn between two numbers of its own unit, and sees to that; of the processes
    that are begun after so many kills none is, and they are given None. look is called all the time. They are forks of
    this process, which is to have no threads, so that what they need is imported once.
    """
    chance, alive, killed = random.Random(seed), set[int](), 0

    def begin() -> None:
        when = chance.uniform(*between) if killed < kills else None
        if pid := os.fork():
            alive.add(pid)
            return
        try:
            work(when)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    try:
        for _ in range(processes):
            begin()
        while alive:
            time.sleep(0.002)
            look()
            for pid in list(alive):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    alive.remove(pid)
                    code = os.waitstatus_to_exitcode(status)
                    assert code in (0, -signal.SIGKILL), code
                    if code:
                        killed += 1
                        begin()
    finally:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return killed


def kill_after(seconds: float) -> None:
    """Have this process killed then, whatever it does."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
