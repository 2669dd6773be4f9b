"""Waiting for what another process does."""

from __future__ import annotations

import contextlib
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path


def until(true: Callable[[], object], seconds: float = 180) -> None:
    """Return as soon as it is true; the time is only how long a test that has failed goes on."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def is_at_work(pid: str) -> bool:
    """Whether there is a process of this number that has not ended, by /proc."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # gone before it is read, or while
        return "\nState:\tZ" not in Path("/proc", pid, "status").read_text()
    return False


def until_it_serves(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the dashboard that this process starts answers on its port; its log is what is said if it ends."""

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2):
            return True
        return False

    until(answers)
