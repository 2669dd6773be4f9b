"""What processes of a cluster do. Called again after a loss, each goes on from what is in the folders. No Ray."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.data import DatasetInfo, look_again
from fnkd_core.errors import require
from fnkd_core.jobs.launch.rank import be_rank, first_error
from fnkd_core.jobs.run import Run, create_run
from fnkd_core.jobs.worker import work
from fnkd_core.locks import is_locked
from fnkd_core.machine import CORES
from fnkd_core.paths import home

LEASE_S = 180.0
"""A file server may keep the locks of a machine that is gone for so long."""


def require_shared(path: Path) -> None:
    """`UserError` where a file that whoever asks can see is not seen from here."""
    require(
        path.exists(),
        f"{path} is not there on node {socket.gethostname()}; FNKD_HOME ({home()}) must lie on storage that all nodes "
        "share, under the same path.",
    )


def train_run(path: str, config: Mapping[str, Any], comparison: str) -> None:
    """Train the run of a comparison in this folder as a local worker does, unless that has been asked to stop.

    What it prints goes into the run's `log.txt`. `UserError` where another process owns the run.
    """
    folder, run = Path(comparison), Run(Path(path))
    require_shared(folder / "spec.json")
    if (folder / "cancel").exists():
        return
    if not (run.path / "spec.json").exists():
        look_again()
        create_run(config, run.path, comparison=folder.name)
    _wait_for_release(run)
    if run.end is not None:  # by a process that was lost before it could say so
        return
    devices = int(config.get("devices", 1))
    _counting_on_own_cores(devices)
    with _printing_into(run):
        work(run.path, queue=False)


def be_one_of(config: Mapping[str, str]) -> None:
    """Be one of the processes that train the run in `config["folder"]`, as the environment of torch.distributed says.

    Raises where it fails, so that those end that wait for it, and all are begun again; they do nothing then where it
    was the run's own fault, which its owner reads.
    """
    run = Run(Path(config["folder"]))
    require_shared(run.path / "spec.json")
    if first_error(run) is not None:
        return
    _counting_on_own_cores()
    with _printing_into(run) if os.environ["RANK"] == "0" else contextlib.nullcontext():
        code = be_rank(run.path)
    if code:
        raise RuntimeError("This process of the run, or another, has ended.")


@contextlib.contextmanager
def _printing_into(run: Run) -> Iterator[None]:
    """What is printed goes to the end of the run's `log.txt`."""
    with (run.path / "log.txt").open("a", buffering=1) as log, contextlib.redirect_stdout(log):
        yield


def extract_share(checkpoint: str, info: DatasetInfo, split: str, size: int | None = None) -> None:
    """Take part in making the store of a checkpoint's file on a split, and return when it is there."""
    from fnkd_core.stores.extract import extracted

    require_shared(Path(checkpoint))
    _counting_on_own_cores()
    look_again()
    extracted(find_checkpoint(checkpoint), info, split, size=size)


def _counting_on_own_cores(processes: int = 1) -> None:
    """Tell this task's processes how many processors each has: Ray gives as many threads as there are for the task."""
    each = str(max(1, int(os.environ.get("OMP_NUM_THREADS", "1")) // processes))
    os.environ.update({"OMP_NUM_THREADS": each, CORES: each})


def _wait_for_release(run: Run) -> None:
    """Wait until the process before, which is gone, has let go of the run."""
    end = time.monotonic() + LEASE_S
    while is_locked(run.lock) and time.monotonic() < end:
        time.sleep(0.5)
