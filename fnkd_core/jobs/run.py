"""A run is a folder; what state it is in follows from its files.

spec.json       what was asked: the run's configuration, and what it would train
lock            owned by the process that works on the run, for as long as it does
submitted       its number in the queue, higher than those of all that were handed in before
slot.json       which slots of the machine a process was started for it in; before that it waits
started.json    when work on it began
resolved.json   what its names stood for when it began, before the first step
sessions.jsonl  a line for each time it was worked on: device, processor, threads, processes, precision
progress.json   where it is now
metrics.jsonl   a line per finished epoch
steps.jsonl     loss, throughput and memory between steps, see `fnkd_core.training.telemetry`
norms.jsonl     a histogram of the student's ||f|| for each epoch
tensorboard/    event files, where they were asked for
epochs/         each epoch's norms, p_label and predictions, where they were; see `fnkd_core.stores.epochs`
state.pt        weights and optimiser after the last finished epoch; gone once it is finished
log.txt         what the process printed
cancel          somebody asked it to stop
results.json    what the last and the best epoch reached on the test split
end.json        how it ended: finished, failed or cancelled
model.*, best.* the student, last and best epoch
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fnkd_core.checkpoints.library import Entry, entry_of, runs_called
from fnkd_core.checkpoints.several import chain
from fnkd_core.errors import UserError, require
from fnkd_core.files import discard, expanded, making, write_json
from fnkd_core.index import folders
from fnkd_core.jobs.contents import End, Epoch, Norms, Preparing, Progress, Results, Session, Spec, Step
from fnkd_core.kd.methods import METHODS
from fnkd_core.locks import is_locked, locked
from fnkd_core.paths import runs_dir
from fnkd_core.records import opened, read_json, read_lines, recall
from fnkd_core.shapes import misfit
from fnkd_core.stores.store import Store
from fnkd_core.stores.upkeep import let_go, stores_of
from fnkd_core.training.config import RunConfig
from fnkd_core.training.resolve import look_up

State = Literal["queued", "running", "cancelling", "finished", "failed", "cancelled", "interrupted", "broken"]
ALIVE: tuple[State, ...] = ("queued", "running", "cancelling")
REMEDY = "delete the run"


@dataclass(frozen=True)
class Run:
    """A handle on a run's folder. Nothing is kept: every question is answered from the files."""

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
    def spec(self) -> dict[str, Any]:
        """What was asked. `UserError` where the file is missing or damaged."""
        require((self.path / "spec.json").exists(), f"{self.path / 'spec.json'} is missing; {REMEDY}.")
        return dict(read_json(self.path / "spec.json", Spec, REMEDY))

    @property
    def config(self) -> dict[str, Any]:
        """The settings it was asked for with. `UserError` as in `spec`."""
        return dict(self.spec["config"])

    @property
    def identity(self) -> str | None:
        """What it trains: as recorded when it began, before that as it was when it was asked for; None if unknown."""
        recorded = recall(self.path / "resolved.json") or recall(self.path / "spec.json")
        identity = recorded.get("identity")
        return identity if isinstance(identity, str) else None

    @property
    def teacher(self) -> str | None:
        """The identity of the teacher that it learnt from, of several all with + between, or None."""
        identities: Any = recall(self.path / "resolved.json").get("identities")
        return identities.get("teacher") if misfit(identities, dict[str, str | None]) is None else None

    @property
    def taught_by(self) -> str:
        """Its teachers and those above them, as a sentence goes on after "taught by"; "" where it learns from none."""
        config, above = self.config, recall(self.path / "resolved.json").get("ancestry", {})
        method = METHODS.get(str(config.get("method")))
        if not isinstance(config.get("teacher"), str) or (method is not None and not method.needs_teacher):
            return ""
        known: dict[str, str] = above if misfit(above, dict[str, str]) is None else {}
        return chain(config["teacher"], known)

    @property
    def parameters(self) -> dict[str, Any]:
        """The method's parameters: as they were completed when the run began, before that as they were given."""
        values = recall(self.path / "resolved.json").get("parameters")
        return values if isinstance(values, dict) else dict(self.spec["config"]["parameters"])

    @property
    def state(self) -> State:
        """What its files say of it. Never raises: "broken" where they cannot be read."""
        try:
            self.spec  # noqa: B018
            end = self.end
            if end is not None:
                return end["status"]
            if self.waits:
                return "queued"
            if not is_locked(self.lock):
                return "interrupted"
        except (UserError, OSError):
            return "broken"
        if not (self.path / "started.json").exists():
            return "queued"
        return "cancelling" if (self.path / "cancel").exists() else "running"

    @property
    def waits(self) -> bool:
        """Whether it is in the queue, and nobody has begun with it or wants it no more."""
        gone = ("slot.json", "started.json", "end.json", "cancel")
        return (self.path / "submitted").exists() and not any((self.path / name).exists() for name in gone)

    @property
    def place(self) -> tuple[int, str]:
        """Sorts runs in the order in which they were handed to the queue."""
        try:
            with opened(self.path / "submitted") as file:
                return int(file.read(32) or 0), self.id
        except (OSError, ValueError):
            return 0, self.id

    @property
    def end(self) -> dict[str, Any] | None:
        """How it ended, or None while it has not. `UserError` where the file is damaged."""
        return self._read("end.json", End)

    @property
    def progress(self) -> dict[str, Any] | None:
        """Where it is, as last written; None where that was never or cannot be read: it is written again soon."""
        return self._now(Progress)

    @property
    def preparing(self) -> dict[str, Any] | None:
        """How far what it needs before its first step has come: what, done, total, eta_s; None once that is past."""
        return self._now(Preparing)

    def _now(self, shape: Any) -> dict[str, Any] | None:
        try:
            return self._read("progress.json", shape)
        except UserError:
            return None

    @property
    def results(self) -> dict[str, Any]:
        """What it reached on the test split, empty before it is finished. `UserError` where the file is damaged."""
        return self._read("results.json", Results) or {}

    def _read(self, name: str, shape: Any) -> dict[str, Any] | None:
        path = self.path / name
        return dict(read_json(path, shape, REMEDY)) if path.exists() else None

    def metrics(self) -> list[dict[str, Any]]:
        """A mapping for each finished epoch. `UserError` where a line is damaged; one being written is left out."""
        shape: Any = Epoch
        done = recall(self.path / "end.json").get("status") == "finished"
        remedy = "restore this file from a copy, or delete it: the student stays" if done else REMEDY
        return read_lines(self.path / "metrics.jsonl", shape, remedy, whole=done)

    def steps(self) -> list[dict[str, Any]]:
        """How it went between its steps, a mapping for every few. `UserError` where a line is damaged."""
        shape: Any = Step
        return read_lines(self.path / "steps.jsonl", shape, "delete this file", whole=False)

    def norms(self) -> list[dict[str, Any]]:
        """Histograms of its student's ||f||, a mapping for each epoch. `UserError` where a line is damaged."""
        shape: Any = Norms
        lines = read_lines(self.path / "norms.jsonl", shape, "delete this file", whole=False)
        return [line for line in lines if line["low"] < line["high"] and any(line["counts"])]

    def sessions(self) -> list[dict[str, Any]]:
        """Where and how it was worked on: a mapping for each time. `UserError` where a line is damaged."""
        shape: Any = Session
        return read_lines(self.path / "sessions.jsonl", shape, "delete this file", whole=False)

    def log_tail(self, num_lines: int = 200) -> str:
        """The last lines the process printed; only the end of the file is read."""
        try:
            with opened(self.path / "log.txt") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 400 * num_lines))
                text = file.read(400 * num_lines).decode(errors="replace")
        except (OSError, UserError):
            return ""
        return "\n".join(text.splitlines()[-num_lines:])


def new_id(method: str) -> str:
    """An id that sorts by time and names the method; nobody else draws it, though a grid draws hundreds."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{method}-{secrets.token_hex(4)}"


def create_run(config: Mapping[str, Any], path: str | Path | None = None, comparison: str | None = None) -> Run:
    """A new run's folder, whole at once. path: where, instead of among the runs. comparison: whose run it is.

    `UserError` where that folder already holds a run, or the configuration names what there is not.
    """
    target = expanded(path).resolve() if path else runs_dir() / new_id(str(config["method"]))
    require_no_run(target)
    spec = {
        "id": target.name,
        "name": config.get("name"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "comparison": comparison,
        "identity": look_up(RunConfig.from_dict(config)).identity,
        "config": dict(config),
    }
    try:
        if target.exists():
            require(target.is_dir(), f"{target} is a file; a run needs a folder.")
            write_json(target / "spec.json", spec, new=True)
        else:
            with making(target) as folder:
                write_json(folder / "spec.json", spec)
    except FileExistsError:  # another process has made it since it was looked for
        require_no_run(target)
        raise
    return Run(target)


def require_no_run(target: Path) -> None:
    """`UserError` where this folder holds a run, which may be gone on with."""
    if (target / "spec.json").exists():
        raise UserError(f"{target} already holds a run; continue it with {resuming(target)}, or use another folder.")


def resuming(path: Path) -> str:
    """The command that goes on with the run in this folder."""
    return f"`fnkd runs resume {path.name if path.parent == runs_dir() else shlex.quote(str(path))}`"


def list_runs() -> list[Run]:
    """All runs among the runs, newest first, the broken ones among them."""
    where = runs_dir()
    return [Run(where / name) for name in folders()]


def find_run(ref: str | Path) -> Run:
    """The run of this id, unique beginning of an id, folder, or name that no other was given. `UserError` otherwise."""
    text = str(ref)
    path = expanded(text)
    if path.is_dir() and (path / "spec.json").exists():
        return Run(path.resolve())
    matches = [run for run in list_runs() if run.id.startswith(text)]
    exact = [run for run in matches if run.id == text]
    if exact or len(matches) == 1:
        return (exact or matches)[0]
    if matches:
        raise UserError(f"{text!r} begins {len(matches)} run ids ({', '.join(r.id for r in matches[:4])}); give more.")
    called = runs_called(text)
    if len(called) == 1:
        return Run(called[0])
    if called:
        ids = ", ".join(run.name for run in called[:4])
        raise UserError(f"{text!r} is the name of {len(called)} runs ({ids}); give an id.")
    raise UserError(f"No run {text!r}; `fnkd runs list` shows those there are.")


def students(run: Run) -> list[Entry]:
    """The checkpoints that lie in the run's folder, whatever state it is in."""
    entries = (entry_of(run.path / f"{name}.safetensors", run.id) for name in ("model", "best"))
    return [entry for entry in entries if entry.card is not None]


def stores_of_run(run: Run) -> list[Store]:
    """What was extracted from the run's students."""
    return list({store.path: store for entry in students(run) for store in stores_of(entry)}.values())


def delete_run(run: Run) -> None:
    """Remove a run's folder and all in it, and the stores of its students. `UserError` while its process lives."""
    require(run.state not in ALIVE, f"Run {run.id} is {run.state}; cancel it before deleting it.")
    stores = stores_of_run(run)
    # Owned while it goes, so that a process that is just starting finds a folder that is gone, and makes none.
    with locked(run.lock, wait=False, busy=f"Run {run.id} is owned by a process; cancel it before deleting it."):
        discard(run.path)
    let_go(stores)
