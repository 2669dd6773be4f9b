"""Extractions, layouts, spreads and imports, each in a process and a folder of its own, whose files say how far it is.

No torch.

ask.json       what was asked
lock           owned by the process that works on it, for as long as it does
progress.json  where it is now
result.json    what came of an import
log.txt        what the process printed
cancel         somebody asked it to stop
end.json       how it ended: finished, failed or cancelled
upload/        the file of an import that was uploaded, until it has been read

Who looks at it may leave: it goes on. An extraction, a layout or a spread that has ended well
leaves what it made and no folder.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fnkd_core.checkpoints.importing.request import require_file
from fnkd_core.checkpoints.library import Entry
from fnkd_core.data import DatasetInfo
from fnkd_core.errors import UserError, require
from fnkd_core.files import discard, expanded, making, write_json
from fnkd_core.jobs.contents import End
from fnkd_core.jobs.control import detached, write_end
from fnkd_core.locks import is_locked, locked
from fnkd_core.paths import tasks_dir
from fnkd_core.records import read_json, recall
from fnkd_core.stores.store import Store, store_path
from fnkd_core.training import spread

State = Literal["running", "cancelling", "finished", "failed", "cancelled", "interrupted", "gone"]
REMEDY = "delete the folder it lies in"


@dataclass(frozen=True)
class Task:
    """A handle on a task's folder. Nothing is kept: every question is answered from the files."""

    path: Path

    @property
    def id(self) -> str:
        """Its folder's name."""
        return self.path.name

    @property
    def lock(self) -> Path:
        """The file that is owned while somebody works on it."""
        return self.path / "lock"

    @property
    def ask(self) -> dict[str, Any]:
        """What was asked. `UserError` where the file is missing or damaged."""
        return read_json(self.path / "ask.json", dict[str, Any], REMEDY)

    @property
    def state(self) -> State:
        """What its files say of it: "interrupted" where its process ended without a word, "gone" without a folder."""
        if not (self.path / "ask.json").exists():
            return "gone"
        end = self.end
        if end is not None:
            status: State = end["status"]
            return status
        if not is_locked(self.lock):
            return "interrupted"
        return "cancelling" if (self.path / "cancel").exists() else "running"

    @property
    def end(self) -> dict[str, Any] | None:
        """How it ended, or None while it has not; one that cannot be read is a failure that says so."""
        path = self.path / "end.json"
        if not path.exists():
            return None
        try:
            shape: Any = End
            return dict(read_json(path, shape, REMEDY))
        except UserError as error:
            return {"status": "failed", "error": str(error)}

    @property
    def progress(self) -> dict[str, Any]:
        """Where it is, as last written: done, total and left_s of an extraction; said, some lines, of an import."""
        return recall(self.path / "progress.json")

    @property
    def result(self) -> dict[str, Any]:
        """The name and the findings of what was imported; empty before it is."""
        return recall(self.path / "result.json")


def extraction_of(entry: Entry, info: DatasetInfo, split: str) -> Task:
    """The task that makes this store, whether or not there is one now."""
    return Task(tasks_dir() / f"extraction-{store_path(entry, info, split).name}")


def start_extraction(entry: Entry, info: DatasetInfo, split: str, size: int | None = None) -> Task:
    """Have the store made, unless somebody already has it made. Returns at once. size: images at once, or as suits."""
    task = extraction_of(entry, info, split)
    ask = {
        "kind": "extraction",
        "checkpoint": str(entry.path),
        "name": entry.name,
        "dataset": info.name,
        "root": info.root,
        "labels": info.label_space,
        "split": split,
        "store": store_path(entry, info, split).name,
        "size": size,
    }
    return _begun(task, ask)


def map_of(store: Store) -> Task:
    """The task that lays this store's features out in the plane, whether or not there is one now."""
    return Task(tasks_dir() / f"map-{store.path.name}")


def start_map(store: Store) -> Task:
    """Have the layout of `fnkd_core.stores.maps` made, unless somebody already has it made. Returns at once."""
    return _begun(map_of(store), {"kind": "map", "store": store.path.name})


def spread_of(entry: Entry, info: DatasetInfo, draws: int = spread.DRAWS) -> Task:
    """The task that measures which augmentation suits this teacher, whether or not there is one now."""
    return Task(tasks_dir() / f"augmentations-{spread.path_of(entry, info, draws).parent.name}")


def start_spread(entry: Entry, info: DatasetInfo, draws: int = spread.DRAWS) -> Task:
    """Have `fnkd_core.training.spread` measured, unless somebody already has it measured. Returns at once."""
    where = {"dataset": info.name, "root": info.root, "labels": info.label_space}
    ask = {"kind": "augmentations", "checkpoint": str(entry.path), "name": entry.name, "draws": draws, **where}
    return _begun(spread_of(entry, info, draws), ask)


def _begun(task: Task, ask: dict[str, Any]) -> Task:
    if not task.path.exists():
        try:
            with making(task.path) as folder:
                write_json(folder / "ask.json", ask)
        except OSError:
            require(task.path.exists(), f"{task.path} cannot be written; check who may write there.")
    start(task, ask)
    return task


def start_import(request: Mapping[str, Any], upload: tuple[str, bytes | memoryview] | None = None) -> Task:
    """Have a checkpoint imported; see `ImportRequest`. upload: name and bytes of its file, in place of a path.
    `UserError` where there is no file.

    Paths are those of who asks, wherever the process that reads them works.
    """
    task = Task(tasks_dir() / f"import-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}")
    asked = dict(request)
    for name in ("data_root",) if upload else ("path", "data_root"):
        if asked.get(name):
            asked[name] = os.path.abspath(expanded(asked[name]))
    if upload is None:  # said at once, and not by a process that has to begin first
        require_file(request["path"])
    with making(task.path) as folder:
        if upload is not None:
            (folder / "upload").mkdir()
            (folder / "upload" / upload[0]).write_bytes(upload[1])
            asked["path"] = str(task.path / "upload" / upload[0])
        write_json(folder / "ask.json", {"kind": "import", "request": asked})
    start(task)
    return task


def start(task: Task, ask: Mapping[str, Any] | None = None) -> None:
    """Start the process that does it, where none does: for the first time, or again. ask: what is asked from now on.

    `UserError` where it is gone, or its folder cannot be owned.
    """
    if task.state in ("running", "cancelling"):
        return
    try:
        with locked(task.lock, wait=False):
            for name in ("cancel", "end.json", "progress.json"):
                (task.path / name).unlink(missing_ok=True)
            if ask is not None:
                write_json(task.path / "ask.json", ask)
        detached(task.path, task.lock, (sys.executable, "-m", "fnkd_core.jobs.tasking"))
    except FileNotFoundError:
        raise UserError(f"{task.id} is gone; ask for it again.") from None
    except UserError:
        if task.state not in ("running", "cancelling", "finished", "gone"):  # else another one has been faster
            raise


def cancel(task: Task) -> None:
    """Ask it to stop; what is done of an extraction stays for the next time."""
    try:
        (task.path / "cancel").touch()
        with locked(task.lock, wait=False):
            if task.end is None:
                end_task(task, "cancelled")
    except (FileNotFoundError, UserError):
        return  # it has ended well, or its owner sees the mark


def end_task(
    task: Task, status: str, error: str | None = None, traceback: str | None = None, kind: str | None = None
) -> None:
    """Write how it ended; for its owner alone. kind: name of the error's class."""
    write_end(task.path, status, error, traceback, kind)


def forget(task: Task) -> None:
    """Remove its folder; what it has made stays. `UserError` while its process lives."""
    try:
        with locked(task.lock, wait=False, busy=f"{task.id} is running; cancel it first."):
            discard(task.path)
    except FileNotFoundError:
        return


def list_imports() -> list[Task]:
    """All imports that are under way or whose outcome nobody has taken note of, newest first."""
    return [Task(path) for path in sorted(tasks_dir().glob("import-*"), reverse=True)]
