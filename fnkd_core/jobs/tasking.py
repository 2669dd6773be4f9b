"""The process that does one task: extracts or imports, says how far it is, and writes how it ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fnkd_core.errors import UserError, require, sentence
from fnkd_core.files import discard, write_json
from fnkd_core.jobs.tasks import Task, end_task
from fnkd_core.jobs.worker import Interrupted, told_to_end
from fnkd_core.locks import locked
from fnkd_core.machine import collect_seldom

ROOM_BYTES = 32 * 2**10
"""Kept in a file of the task's while it runs, so that on a full disk there is room to write how it ended."""
EVERY_S = 0.25
"""How often progress is written, and whether to stop is looked for."""


def work(path: str | Path) -> int:
    """Own the task in this folder until it ends; returns a process exit code.

    0 finished or cancelled, 1 failed, 2 wrong input, 130 interrupted. `UserError` where another process owns it.
    """
    task = Task(Path(path).resolve())
    with locked(task.lock, wait=False, busy=f"{task.id} is owned by another process; wait for it."):
        with told_to_end():
            try:
                with _room(task), _cancelled_when_asked(task):
                    ask = task.ask
                    KINDS[ask["kind"]](task, ask)
            except (Interrupted, KeyboardInterrupt):
                if not (task.path / "cancel").exists():
                    print("Interrupted; started again, it goes on from what is done; a layout begins anew.")
                    return 130
                end_task(task, "cancelled")
            except Exception as error:
                said, text = sentence(error), traceback.format_exc()
                print(said or text)
                end_task(
                    task,
                    "failed",
                    said or f"{type(error).__name__}: {error}",
                    None if said else text,
                    type(error).__name__,
                )
                return 2 if said else 1
    return 0


@contextlib.contextmanager
def _room(task: Task) -> Iterator[None]:
    room = task.path / "room"
    try:
        room.write_bytes(bytes(ROOM_BYTES))
        yield
    finally:
        room.unlink(missing_ok=True)


@contextlib.contextmanager
def _cancelled_when_asked(task: Task) -> Iterator[None]:
    """Ends the block as Ctrl-C does once somebody asks, whatever it is at; in a process's main thread alone."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_S):
            if (task.path / "cancel").exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _extract(task: Task, ask: dict[str, Any]) -> None:
    from fnkd_core.checkpoints.library import entry_of
    from fnkd_core.data import dataset_info
    from fnkd_core.stores.extract import extract
    from fnkd_core.stores.store import open_store, store_path

    entry = entry_of(Path(ask["checkpoint"]), ask["name"])
    require(entry.card is not None, f"{entry.name} cannot be read: {entry.problem}")
    info = dataset_info(ask["dataset"], root=ask["root"], labels=ask["labels"])
    require(
        store_path(entry, info, ask["split"]).name == ask["store"],
        f"{entry.name} or the {ask['split']} images of {info.title} have changed since they were listed; extract them "
        "again.",
    )
    report = _reporter(task)
    for done, total in extract(entry, info, ask["split"], size=ask.get("size")):
        report(done, total)
    if open_store(entry, info, ask["split"]) is not None:
        discard(task.path)  # the store says all


def _map(task: Task, ask: dict[str, Any]) -> None:
    from fnkd_core.paths import stores_dir
    from fnkd_core.stores.maps import make_map
    from fnkd_core.stores.store import Store

    report = _reporter(task)
    for done, total in make_map(Store(stores_dir() / ask["store"])):
        report(done, total)
    discard(task.path)  # the layout lies with its store


def _augmentations(task: Task, ask: dict[str, Any]) -> None:
    from fnkd_core.checkpoints.library import entry_of
    from fnkd_core.data import dataset_info
    from fnkd_core.training.spread import measure

    entry = entry_of(Path(ask["checkpoint"]), ask["name"])
    require(entry.card is not None, f"{entry.name} cannot be read: {entry.problem}")
    report = _reporter(task)
    info = dataset_info(ask["dataset"], root=ask["root"], labels=ask["labels"])
    for done, total in measure(entry, info, ask["draws"]):
        report(done, total)
    discard(task.path)  # what was found is kept


def _import(task: Task, ask: dict[str, Any]) -> None:
    from fnkd_core.checkpoints.importing.importer import Imported, import_checkpoint
    from fnkd_core.checkpoints.importing.request import ImportRequest

    said: list[str] = []
    for event in import_checkpoint(ImportRequest(**ask["request"] | {"path": Path(ask["request"]["path"])})):
        if isinstance(event, Imported):
            write_json(task.path / "result.json", {"name": event.name, "findings": list(event.card.findings)})
        else:
            said.append(event)
            write_json(task.path / "progress.json", {"said": said})
    end_task(task, "finished")
    shutil.rmtree(task.path / "upload", ignore_errors=True)


def _reporter(task: Task) -> Callable[[int, int], None]:
    """Writes where it is, not more often than anybody looks, and how long it will take at the rate so far."""
    begun, first, last = time.monotonic(), -1, 0.0

    def report(done: int, total: int) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = done if first < 0 else first
        if now - last >= EVERY_S:
            left = (total - done) * (now - begun) / (done - first) if done > first else None
            write_json(task.path / "progress.json", {"done": done, "total": total, "left_s": left})
            last = now

    return report


KINDS: dict[str, Callable[[Task, dict[str, Any]], None]] = {
    "extraction": _extract, "map": _map, "augmentations": _augmentations, "import": _import,
}  # fmt: skip

if __name__ == "__main__":
    collect_seldom()
    try:
        sys.exit(work(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
