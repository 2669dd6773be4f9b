"""Extraction in a process of its own: a server of pages that asks for it loads no torch, and answers others meanwhile.

    python -m fnkd_core.stores.apart

reads what to extract from its standard input and says on its standard output how far it is, a line of JSON each time.
"""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fnkd_core.checkpoints.fits import read_by
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.errors import UserError, require
from fnkd_core.locks import is_locked, locked_for_child
from fnkd_core.paths import environment
from fnkd_core.stores.store import lock_of, open_store, store_path

POLL_S = 0.2
Wanted = tuple[Sequence[Entry], DatasetInfo, str]


def extract_apart(entries: Sequence[Entry], info: DatasetInfo, split: str) -> Iterator[tuple[str, int, int]]:
    """`extract` of each in another process, which ends with this iterator; yields (checkpoint, samples done, in all).

    Here where torch is loaded already, since another process would have to load it first. `UserError` as in `extract`,
    and where the process ends without a word.
    """
    if "torch" in sys.modules:
        yield from _extract(entries, info, split)
        return
    total = {entry.name: read_by(entry, info).size(split) for entry in entries}
    while missing := [entry for entry in entries if open_store(entry, info, split) is None]:
        final = store_path(missing[0], info, split)
        final.parent.mkdir(parents=True, exist_ok=True)
        if is_locked(lock_of(final)) or (child := _started(final)) is None:
            yield missing[0].name, 0, total[missing[0].name]
            time.sleep(POLL_S)
            continue
        try:
            yield from _followed(child, (missing, info, split))
        finally:
            child.terminate()
            child.communicate()
        require(
            all(open_store(entry, info, split) for entry in missing),
            f"The extraction of {missing[0].name} on {info.name} ended without a word; free some memory and try again.",
        )


def _started(final: Path) -> subprocess.Popen[bytes] | None:
    """The process, which owns the store that it makes from its first moment; None where another one does."""
    try:
        with locked_for_child(lock_of(final)) as (descriptor, owning):
            return subprocess.Popen(
                [sys.executable, "-m", "fnkd_core.stores.apart"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment() | owning,
                pass_fds=(descriptor,),
            )
    except UserError:
        return None


def _followed(child: subprocess.Popen[bytes], wanted: Wanted) -> Iterator[tuple[str, int, int]]:
    assert child.stdin is not None and child.stdout is not None
    try:
        pickle.dump(wanted, child.stdin)
        child.stdin.flush()
    except BrokenPipeError:
        return
    for line in child.stdout:
        said = json.loads(line)
        require("error" not in said, str(said.get("error")))
        yield said["of"], said["done"], said["total"]


def _extract(entries: Sequence[Entry], info: DatasetInfo, split: str) -> Iterator[tuple[str, int, int]]:
    from fnkd_core.stores.extract import extract

    for entry in entries:
        for done, total in extract(entry, info, split):
            yield entry.name, done, total


def _answer() -> None:
    # What is half made is removed when the one that asked has gone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted: Wanted = pickle.load(sys.stdin.buffer)
    # Whatever a library prints is not for the one that listens.
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        for name, done, total in _extract(*wanted):
            print(json.dumps({"of": name, "done": done, "total": total}), file=answers, flush=True)
    except BrokenPipeError:
        sys.exit(1)
    except (UserError, OSError) as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)


if __name__ == "__main__":
    _answer()
