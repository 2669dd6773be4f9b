"""What the benchmarks of the dashboard share: a server in a process of its own, and how figures are summed up."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def environment(tree: Path, home: Path) -> dict[str, str]:
    return os.environ | {"FNKD_HOME": str(home), "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}


def spread_ms(seconds: Sequence[float]) -> dict[str, int]:
    """Median, 95th percentile and longest, in ms."""
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return {
        name: round(1000 * s) for name, s in (("p50", statistics.median(seconds)), ("p95", p95), ("max", max(seconds)))
    }


class Server:
    """The dashboard of a tree. up_s: seconds until it answers. It writes how long its scripts run; see `ended`."""

    def __init__(self, tree: Path, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log, self.times = home / "server.log", home / "times.jsonl"
        self.times.unlink(missing_ok=True)
        self._read = 0
        begun = time.monotonic()
        timed = str(Path(__file__).with_name("timed_server.py"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, timed, str(self.times), "app.py", "--server.port", str(self.port)],
                cwd=tree, env=environment(tree, home), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2).close()
                break
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.02)
        self.up_s = time.monotonic() - begun

    def ended(self) -> list[dict[str, Any]]:
        """The runs of scripts that have ended since this was last asked; see `timed_server`."""
        with contextlib.suppress(FileNotFoundError), self.times.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._read += len(whole)
            return [json.loads(line) for line in whole.splitlines()]
        return []

    @property
    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
