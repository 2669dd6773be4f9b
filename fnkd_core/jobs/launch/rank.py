"""One of the processes that share a run. Whatever starts it sets the environment of `torch.distributed`.

    torchrun --nproc-per-node 2 -m fnkd_core.jobs.launch.rank FOLDER

The first writes what a run's process writes; how the run ended is for who owns it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NotRequired, TypedDict

from fnkd_core.errors import BrokenImages, UserError, one_line, sentence
from fnkd_core.files import append_json
from fnkd_core.jobs.run import Run
from fnkd_core.locks import locked
from fnkd_core.machine import collect_seldom
from fnkd_core.records import read_lines
from fnkd_core.training.config import RunConfig

WATCH_S = 0.5
MOST_WORDS = 200
"""Of what a library says."""
_PEER_GONE = re.compile(r"gloo|nccl|TCPStore|connection (reset|closed)", re.IGNORECASE)
"""How a collective says that another process has ended."""


class RankError(TypedDict):
    """A line of `errors.jsonl`. peer_gone: it failed because another process had ended, which is no reason. kind: name
    of the error's class."""

    rank: int
    peer_gone: bool
    error: str
    kind: NotRequired[str]


def ranks_lock(run: Run) -> Path:
    """Shared by all processes that work in the run's folder."""
    return run.path / "ranks.lock"


def _errors(run: Run) -> Path:
    return run.path / "errors.jsonl"


def forget_errors(run: Run) -> None:
    """Let go of what earlier ranks said."""
    _errors(run).unlink(missing_ok=True)


def _lines(run: Run) -> list[RankError]:
    if not _errors(run).exists():
        return []
    return read_lines(_errors(run), RankError, "delete this file", whole=False)


def words_of_others(run: Run) -> str:
    """What the first rank said that ended as one does whose peer is gone; empty where none did."""
    found = next((line["error"] for line in _lines(run) if line["peer_gone"]), "")
    return one_line(found)[:MOST_WORDS]


def first_error(run: Run) -> UserError | None:
    """The error of the first rank that failed of itself, or None."""
    found = next((line for line in _lines(run) if not line["peer_gone"]), None)
    if found is None:
        return None
    return (BrokenImages if found.get("kind") == BrokenImages.__name__ else UserError)(found["error"])


def be_rank(folder: str | Path) -> int:
    """Train as one of several processes; returns a process exit code."""
    run = Run(Path(folder).resolve())
    with locked(ranks_lock(run), shared=True):
        try:
            config = RunConfig.from_dict(run.config)
            if int(os.environ.get("RANK", "0")) == 0:
                from fnkd_core.jobs.following import follow

                follow(run, config)
            else:
                from fnkd_core.training.loop import train

                for _ in train(config, run.path, (run.path / "cancel").exists):
                    pass
            return 0
        except Exception as error:
            said = sentence(error)
            if said is None:
                traceback.print_exc()
            append_json(
                _errors(run),
                {
                    "rank": int(os.environ.get("RANK", "0")),
                    "peer_gone": said is None and _PEER_GONE.search(str(error)) is not None,
                    "error": said or f"{type(error).__name__}: {error}",
                    "kind": type(error).__name__,
                },
            )
            return 1


def _end_with_parent() -> None:
    """A rank whose launcher was killed has nobody to end it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    collect_seldom()
    _end_with_parent()
    code = be_rank(sys.argv[1])
    sys.stdout.flush()
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(code)
