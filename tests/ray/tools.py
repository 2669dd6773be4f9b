"""A Ray cluster on this machine, and `fnkd` on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fnkd_core.paths import import_root
from tests.waiting import until

MEMORY = 100_000_000
QUICK = ("--teacher", "digits-teacher", "--per-class", "4", "--threads", "1")


class Cluster:
    """Nodes of a cluster, each a process with all that it has started: one processor each, the head's first."""

    def __init__(self) -> None:
        # Sockets lie in it, whose paths may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        # Its ports listen on all interfaces of this machine.
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
        }
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.address = ""
        said = self.add("--head", "--port=0", "--include-dashboard=false", f"--temp-dir={self.folder}")
        port = re.search(r"ray start --address='[^']+:(\d+)'", said)
        assert port, said
        self.address = f"127.0.0.1:{port[1]}"

    def add(self, *options: str, cpus: int = 1) -> str:
        """Start a node; what it has said once it is there."""
        log = self.folder / f"node{len(self.nodes)}.txt"
        where = options or (f"--address={self.address}",)
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={cpus}"]
        with log.open("wb") as out:
            node = subprocess.Popen(
                [*command, *where, f"--object-store-memory={MEMORY}", "--disable-usage-stats"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        self.nodes.append(node)
        until(lambda: "Ray runtime started" in log.read_text() or node.poll() is not None)
        assert node.poll() is None, log.read_text()
        return log.read_text()

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """End a node as a power cut does, with every process that it has started."""
        for pid in self.processes(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait(60)
        until(lambda: not self.processes(node))
        self.nodes.remove(node)

    def node_of(self, pid: int) -> subprocess.Popen[bytes]:
        """The node on which a process runs."""
        return next(node for node in self.nodes if pid in self.processes(node))

    def processes(self, node: subprocess.Popen[bytes]) -> list[int]:
        """The processes of a node that have not ended."""
        return _session(node.pid)

    def named(self, name: str) -> list[int]:
        """The processes on all nodes that do what Ray names so."""
        return [pid for node in self.nodes for pid in self.processes(node) if name in _command(pid)]

    def stop(self) -> None:
        for node in list(self.nodes):
            self.kill(node)
        shutil.rmtree(self.folder)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _session(leader: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(") ")[2].split()[:4]
                if int(session) == leader and state != "Z":
                    found.append(int(entry.name))
    return found


class Fnkd:
    """`fnkd` in a process of its own, told of the cluster."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self.cluster, self.home = cluster, home
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        mine = self.cluster.environment | {"FNKD_HOME": str(self.home), "PYTHONPATH": str(import_root())} | environment
        child = subprocess.Popen(
            [sys.executable, "-m", "fnkd_core", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=mine,
        )
        self.started.append(child)
        return child

    def compare(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        where = () if "--address" in arguments else ("--address", self.cluster.address)
        return self.start("compare", *QUICK, "--engine", "ray", *where, *arguments, "--json", **environment)


def answer(child: subprocess.Popen[str]) -> dict[str, Any]:
    """What the command ends with. It has to end well."""
    out, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors + out
    return json.loads(out)  # type: ignore[no-any-return]
