"""A run is a folder; what state it is in follows from its files.

spec.json       what to do: the run's configuration
lock            held by the process that owns the run, for its whole life
started.json    when work on it began, once its turn had come
progress.json   where it is now
metrics.jsonl   a line per finished epoch
state.pt        weights and optimiser after the last finished epoch
log.txt         what the process printed
cancel          somebody asked it to stop
end.json        how it ended: finished, failed or cancelled
model.*, best.* the student, last and best epoch
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fnkd_core.checkpoints.library import find_checkpoint
from fnkd_core.errors import UserError, require
from fnkd_core.files import read_json, write_json
from fnkd_core.jobs import locks
from fnkd_core.paths import runs_dir

State = Literal["queued", "running", "cancelling", "finished", "failed", "cancelled", "interrupted", "broken"]
ALIVE: tuple[State, ...] = ("queued", "running", "cancelling")
GRACE_S = 10.0
"""A new run without a lock counts as queued for this long: its process is still starting."""


@dataclass(frozen=True)
class Run:
    """A handle on a run's folder. Nothing is kept: every question is answered from the files."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def spec(self) -> dict[str, Any]:
        """id, name, created, comparison, teacher_sha256 and config. `UserError` where the file is missing or broken."""
        spec = read_json(self.path / "spec.json")
        require(
            isinstance(spec, dict) and isinstance(spec.get("config"), dict),
            f"{self.path / 'spec.json'} holds no configuration; delete the run.",
        )
        return dict(spec)

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.spec["config"])

    @property
    def state(self) -> State:
        end = self.end
        if end is not None:
            return end["status"] if end.get("status") in ("finished", "failed", "cancelled") else "broken"
        try:
            self.spec  # noqa: B018
        except UserError:
            return "broken"
        if locks.is_held(self.path / "lock"):
            if not (self.path / "started.json").exists():
                return "queued"
            return "cancelling" if (self.path / "cancel").exists() else "running"
        submitted = self.path / "submitted"
        waiting = not (self.path / "started.json").exists()
        if waiting and submitted.exists() and time.time() - submitted.stat().st_mtime < GRACE_S:
            return "queued"
        return "interrupted"

    @property
    def end(self) -> dict[str, Any] | None:
        """status, error, traceback and ended, or None while it has not ended."""
        return self._read("end.json")

    @property
    def progress(self) -> dict[str, Any] | None:
        """epoch, epochs, step, steps, elapsed_s, eta_s and samples_per_s as last written, or None."""
        return self._read("progress.json")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def metrics(self) -> list[dict[str, Any]]:
        """One mapping per finished epoch. A last line that is still being written is left out."""
        lines = []
        try:
            text = (self.path / "metrics.jsonl").read_text()
        except OSError:
            return []
        for line in text.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        return lines

    def log_tail(self, num_lines: int = 200) -> str:
        """The last lines the process printed; only the end of the file is read."""
        try:
            with (self.path / "log.txt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 400 * num_lines))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-num_lines:])


def new_id(method: str) -> str:
    """An id that sorts by time and names the method."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{method}-{secrets.token_hex(2)}"


def create_run(config: Mapping[str, Any], path: str | Path | None = None, comparison: str | None = None) -> Run:
    """A new run's folder, whole at once. path: where, instead of among the runs. comparison: whose run it is.

    `UserError` where that folder already holds a run.
    """
    target = Path(path).expanduser().resolve() if path else runs_dir() / new_id(str(config["method"]))
    if (target / "spec.json").exists():
        raise UserError(f"{target} already holds a run; continue it with `fnkd runs resume`, or use another folder.")
    spec = {
        "id": target.name,
        "name": config.get("name"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "comparison": comparison,
        "teacher_sha256": sha256_of(config.get("teacher")),
        "config": dict(config),
    }
    if target.exists():
        require(target.is_dir(), f"{target} is a file; a run needs a folder.")
        write_json(target / "spec.json", spec)
        return Run(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    temporary.chmod(0o755)
    write_json(temporary / "spec.json", spec)
    os.replace(temporary, target)
    return Run(target)


def sha256_of(teacher: str | None) -> str | None:
    """The fingerprint of the teacher's weights as they are now, None where there is none to find.

    A run keeps it, so that a teacher made anew under its old name is not taken for the one that taught.
    """
    try:
        entry = find_checkpoint(teacher) if teacher else None
    except UserError:
        return None
    return entry.card.sha256 if entry and entry.card else None


def list_runs() -> list[Run]:
    """All runs among the runs, newest first."""
    if not runs_dir().is_dir():
        return []
    folders = [p for p in runs_dir().iterdir() if p.is_dir() and not p.name.startswith(".")]
    return [Run(p) for p in sorted(folders, key=lambda p: p.name, reverse=True)]


def find_run(ref: str | Path) -> Run:
    """The run of this id, unique beginning of an id, or folder. `UserError` otherwise."""
    text = str(ref)
    path = Path(text).expanduser()
    if path.is_dir() and (path / "spec.json").exists():
        return Run(path.resolve())
    matches = [run for run in list_runs() if run.id.startswith(text)]
    exact = [run for run in matches if run.id == text]
    if exact or len(matches) == 1:
        return (exact or matches)[0]
    if matches:
        raise UserError(f"{text!r} begins {len(matches)} run ids ({', '.join(r.id for r in matches[:4])}); give more.")
    raise UserError(f"No run {text!r}; `fnkd runs list` shows those there are.")


def delete_run(run: Run) -> None:
    """Remove a run's folder and all in it. `UserError` while its process lives."""
    require(run.state not in ALIVE, f"Run {run.id} is {run.state}; cancel it before deleting it.")
    # Out of the list in one step, whatever happens to the rest.
    gone = run.path.with_name(f".{run.path.name}.deleted")
    os.replace(run.path, gone)
    shutil.rmtree(gone, ignore_errors=True)
