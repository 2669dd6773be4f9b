"""One run on several devices: torchrun starts a process for each, and this one waits for them.

    python -m fnkd_core.jobs.launch.torchrun FOLDER DEVICES [NODES ENDPOINT]

is torchrun itself, which ends with the process that has started it: on Linux the system sees to that, and each rank
looks whether its parent lives. Whoever has started it owns the run; each rank holds a lock of the ranks, which the next
owner waits for, so that it begins only once no rank works in the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from fnkd_core.errors import UserError, require
from fnkd_core.files import expanded
from fnkd_core.jobs.launch.rank import first_error, forget_errors, ranks_lock, words_of_others
from fnkd_core.jobs.run import Run
from fnkd_core.locks import in_use
from fnkd_core.machine import collect_seldom, cores
from fnkd_core.paths import environment
from fnkd_core.training.config import RunConfig

GRACE_S = 60.0
"""How long ranks may take to end."""
POLL_S = 0.1


@dataclass(frozen=True)
class Nodes:
    """The machines that share a run. count: how many. endpoint: host:port of one of them, where they meet."""

    count: int = 1
    endpoint: str = ""

    def __post_init__(self) -> None:
        require(self.count >= 1, f"nodes must be >= 1, got {self.count}.")
        require(
            self.count == 1 or bool(self.endpoint),
            f"{self.count} nodes need a place to meet; give --rdzv-endpoint HOST:PORT, the same on each of them.",
        )


def train_together(run: Run, devices: int, nodes: Nodes = Nodes(), owned: bool = True) -> None:
    """Train the run in a process a device, and wait until they have ended.

    owned: whether this process owns the run; on the other machines nobody does. `UserError` with what the first rank
    that failed had to say.
    """
    if owned:
        forget_ranks(run)
    threads = max(1, cores() // devices)
    command = [sys.executable, "-m", __name__, str(run.path), str(devices), str(nodes.count), nodes.endpoint]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=_where_is_printed(),
        env={"OMP_NUM_THREADS": str(threads)} | environment() | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        code = child.wait()
    except BaseException:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
        child.kill()
        child.wait()
        raise
    finally:
        wait_for_ranks(run)
    if error := first_error(run):
        raise error
    if code and not (run.path / "cancel").exists():
        # What looks like a peer that is gone may be the library's own failure, so that it is said.
        words = words_of_others(run)
        told = f"torchrun ended with {code}" + (f", one of the others with: {words}" if words else "")
        raise UserError(
            f"A process of this run was killed ({told}); resume the run to go on from its last finished epoch."
        )


def _where_is_printed() -> int | None:
    """The file to which this process prints, where that is one, be it another than its standard output."""
    try:
        return sys.stdout.fileno()
    except (AttributeError, OSError):  # a text in memory
        return None


def settled(config: RunConfig, folder: str) -> Run:
    """The run that another of the machines has made in this folder. `UserError` where it is of other settings."""
    run = Run(expanded(folder).resolve())
    require(
        RunConfig.from_dict(run.config).deciding() == config.deciding(),
        f"{run.path} holds a run with other settings; give the same command on each node, or another --run-dir.",
    )
    return run


def forget_ranks(run: Run) -> None:
    """Wait until no earlier rank works in the run's folder, and let go of what they have left. For the run's owner."""
    wait_for_ranks(run)
    ranks_lock(run).unlink(missing_ok=True)
    forget_errors(run)


def wait_for_ranks(run: Run) -> None:
    """Wait until no rank works in the run's folder. `UserError` where they do not end."""
    end = time.monotonic() + GRACE_S
    while in_use(ranks_lock(run)):
        require(time.monotonic() < end, f"Processes of {run.id} still work in its folder; end them, then go on.")
        time.sleep(POLL_S)


def _elastic(folder: str, devices: str, nodes: str, endpoint: str) -> None:
    """Be torchrun, and end with the parent."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    from torch.distributed.run import main

    meet = ["--standalone"]
    if int(nodes) > 1:
        meet = ["--nnodes", nodes, "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint]
        meet += ["--rdzv-id", os.path.basename(folder)]
    # It makes folders for logs that it does not keep, and leaves them.
    with tempfile.TemporaryDirectory(prefix="fnkd-elastic-") as logs:
        options = [*meet, "--nproc-per-node", devices, "--max-restarts", "0", "--log-dir", logs]
        main([*options, "-m", "fnkd_core.jobs.launch.rank", folder])


if __name__ == "__main__":
    collect_seldom()
    _elastic(*[*sys.argv[1:], "1", ""][:4])
